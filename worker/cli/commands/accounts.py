"""`onboard account`: the state of accounts, and trying a stopped one again; `onboard move`: their stable links."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from worker.cli.completions import AccountName, Batch
from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation, find_kept
from worker.cli.shared_options import DRY_RUN, JSON, YES, confirm
from worker.domain.model.customers import Customer, CustomerKind
from worker.domain.model.needs import STORED, WAKING
from worker.engine.container import Parts
from worker.engine.maintenance.resume_account import NotTried, try_again
from worker.engine.prices import Prices
from worker.engine.reporting.account_report import WORKING, state_in_words
from worker.foundation.plural import counted
from worker.store.links.moves import Move, Moved


@click.group()
def account() -> None:
    """Show accounts and senders: limits, pauses, stops, credits. Resume stopped ones."""


@account.command("list")
@JSON
@click.pass_obj
def list_accounts(invocation: Invocation, as_json: bool) -> None:
    """Show the limits, credits and state of each account and sender."""
    with invocation.parts(STORED, migrate=True) as parts:
        facts = parts.account_report.facts(now=parts.clock())
    if as_json:
        click.echo(json.dumps({"accounts": facts}))
        return
    names = ("account", "provider", "limits", "in flight", "credits", "now")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None, padding=(0, 2, 0, 0))
    for item in facts:
        row = (
            item["account"],
            item["provider"],
            _limits(item),
            _permits(item),
            _credits(item),
            state_in_words(item).partition(" ")[0],
        )
        table.add_row(*(cell.rstrip(":") for cell in row))
    Console(highlight=False, markup=False).print(table)
    # Long texts have a line of their own, which fits any terminal.
    for item in facts:
        if item["budget"] not in (item["account"], f"sender/{item['account']}") and item["provider"] != "sender":
            click.echo(f"{item['account']} shares the budget {item['budget']}")
        if _now(item) != WORKING:
            click.echo(f"{item['account']} is {_now(item)}")


@account.command("resume")
@click.argument("name", type=AccountName(senders=True))
@JSON
@click.pass_obj
def resume_account(invocation: Invocation, name: str, as_json: bool) -> None:
    """Try the stopped or paused account or sender NAME again: with a single call first.

    First remove the cause, which `onboard account list` shows. If the call succeeds, the account works again. Accounts
    that share its key share its stop and its pause: they go on as well.
    """
    with invocation.parts(WAKING) as parts:
        try:
            resumed = try_again(name, parts.budget_rules, parts.channels, parts, now=parts.clock())
        except NotTried as error:
            raise CannotStart(str(error)) from None
        stopped = parts.standstills.find()
    ended, shared = resumed.ended, resumed.shared
    if as_json:
        facts = {"account": name, "resumed": bool(ended), "ended": list(ended), "shared": list(shared)}
        click.echo(json.dumps(facts))
        return
    also = f" (and {', '.join(shared)}, which share its budget)" if shared else ""
    if ended and stopped is not None:
        click.echo(f"{name}{also}: its {' and its '.join(ended)} ended")
        click.echo(f"{stopped.in_words}; after `onboard resume --all` a single call goes first")
    elif ended:
        click.echo(f"{name}{also} is tried again with a single call: its {' and its '.join(ended)} ended")
        click.echo("running workers go on; without workers: `onboard run LIST`, or `onboard up`")
    else:
        click.echo(f"{name} was neither stopped nor paused")


def _credits(item: dict[str, Any]) -> str:
    if item["credits_used"] is None:
        return ""
    left = "" if item["credits_left"] is None else f", {item['credits_left']:,} left"
    return f"{item['credits_used']:,} used{left}"


def _limits(item: dict[str, Any]) -> str:
    configured = ", ".join(item["limits"])
    if not item["limit_found"]:
        return configured
    return f"{configured} configured, {item['limit_found']} found" if configured else f"{item['limit_found']} found"


def _permits(item: dict[str, Any]) -> str:
    if item["places_in_use"] is None:
        return f"{item['concurrency']} a process"
    return f"{item['places_in_use']} of {item['concurrency']}"


def _now(item: dict[str, Any]) -> str:
    takers = item["taken_over_by"]
    return state_in_words(item) + (f"; {' and '.join(takers)} may take its rows over" if takers else "")


@click.command()
@click.option("--from", "source", required=True, type=AccountName(), help="The account that serves the rows now.")
@click.option("--to", "target", required=True, type=AccountName(), help="The account that serves them from now on.")
@click.option("--unopened", is_flag=True, help="Only links that no customer has opened; there is no other way.")
@click.option("--batch", type=Batch(), help="Only the rows of this batch (a number, or `latest`).")
@YES
@DRY_RUN
@JSON
@click.pass_obj
def move(
    invocation: Invocation,
    source: str,
    target: str,
    unopened: bool,
    batch: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let unopened stable links lead to another account's sessions. No customer gets a message.

    Nothing is bought now: each customer's next session is bought at the new account when the link is opened. Sessions
    of the old account that still live are given up; they were paid for. Links that customers have opened stay, and so
    do those that led a visitor to a session within the last hour.

    \b
    onboard move --from kyc-eu --to kyc-us --unopened --dry-run
    onboard move --from kyc-eu --to kyc-us --unopened --batch 3
    """
    if not unopened:
        raise click.UsageError("give --unopened: links that customers have opened stay where they are")
    with invocation.parts(STORED) as parts:
        chosen = _chosen(parts, source, target, batch)
        found = parts.moves.count(chosen, now=parts.clock())
        if found.links and not dry_run:
            if not yes:
                confirm(_question(parts, chosen, found))
            found = parts.moves.move(chosen, now=parts.clock())
        _print(parts, chosen, found, dry_run=dry_run, as_json=as_json)


def _chosen(parts: Parts, source: str, target: str, batch: str | None) -> Move:
    """Raises CannotStart if the accounts cannot be those of a move."""
    if parts.settings.links.mode != "stable":
        raise CannotStart('only stable links can be moved: [links] mode = "stable"')
    if target not in parts.accounts:
        raise CannotStart(f"there is no account {target!r}; they are {', '.join(sorted(parts.accounts))}")
    if source == target:
        raise CannotStart(f"the rows of {source} are there already")
    provider = parts.providers[target]
    batch_id = find_kept(parts, batch).id if batch is not None else None
    name = parts.accounts[target].provider
    is_for_companies = name == "idenfy-kyb"

    def fits(customer: Customer) -> bool:
        return (customer.kind is CustomerKind.COMPANY) == is_for_companies and not provider.refuses(customer)

    return Move(source, target, name, fits, batch_id)


def _question(parts: Parts, chosen: Move, found: Moved) -> str:
    links = counted(found.links, "unopened link")
    return f"move {links} from {chosen.source} to {chosen.target}? {_cost(parts, chosen, found)}"


def _cost(parts: Parts, chosen: Move, found: Moved) -> str:
    """What it costs, in a sentence or two."""
    price = Prices.of(parts.settings).total({chosen.target: found.links}, {})
    money = "".join(f", {amount} {currency}" for currency, amount in price.items())
    given_up = f" {counted(found.given_up, 'paid session')} at {chosen.source} are given up." if found.given_up else ""
    at_worst = f"{counted(found.links, 'session')} at {chosen.target}{money}"
    return f"Nothing is bought now; if all are opened, {at_worst}.{given_up}"


def _print(parts: Parts, chosen: Move, found: Moved, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        at_most = Prices.of(parts.settings).total({chosen.target: found.links}, {})
        facts = {
            "action": "move",
            "from": chosen.source,
            "to": chosen.target,
            "batch": chosen.batch_id,
            "dry_run": dry_run,
            "links": found.links,
            "given_up": found.given_up,
            "refused": found.refused,
            "credits": {chosen.target: found.links},
            "cost": {"now": {}, "at_most": {name: str(amount) for name, amount in at_most.items()}},
        }
        click.echo(json.dumps(facts))
        return
    done = "would lead" if dry_run else "lead"
    click.echo(f"{counted(found.links, 'unopened link')} {done} to {chosen.target} from now on")
    if found.links:
        click.echo(_cost(parts, chosen, found))
    if found.refused:
        click.echo(f"{counted(found.refused, 'link')} stayed: {chosen.target} cannot serve the customer")
