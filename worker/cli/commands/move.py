"""`onboard move`: unopened stable links lead to another account's sessions from now on."""

import json

import click

from worker.cli.commands.decide import DRY_RUN, JSON, YES, confirm
from worker.cli.completions import AccountName, Batch
from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation, find_kept
from worker.domain.model.customers import Customer, CustomerKind
from worker.domain.model.needs import STORED
from worker.engine.container import Parts
from worker.engine.prices import Prices
from worker.foundation.plural import counted
from worker.store.links.moves import Move, Moved


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
