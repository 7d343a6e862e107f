"""`onboard account`: the state of accounts, and trying a stopped one again."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from onboarding_worker.cli.completions import AccountName
from onboarding_worker.cli.exits import refusing
from onboarding_worker.cli.invocation import Said, saying
from onboarding_worker.cli.shared_options import in_columns
from onboarding_worker.core.foundation.notation import are, listed_in_words
from onboarding_worker.reporting.operation_report import WORKING, state_in_words
from onboarding_worker.settings.needs import STORED, WAKING
from onboarding_worker.wiring.account_budgets import NotTried, try_again
from onboarding_worker.wiring.container import Parts


@click.group()
def account() -> None:
    """Show accounts and senders: limits, pauses, stops, credits. Resume stopped ones."""


@account.command("list")
@saying(STORED, migrate=True)
def list_accounts(parts: Parts) -> Said:
    """Show the limits, credits and state of each account and sender."""
    facts, stopped = parts.operation.of_accounts(now=parts.clock()), parts.emergency_stops.find()
    lines = [f"{stopped.in_words}; `onboard resume --all` goes on"] if stopped is not None else []
    table = [("account", "provider", "limits", "in flight", "credits", "now")]
    # Accounts that share a budget have its numbers together: they are one line, and are named alike everywhere.
    together: dict[str, list[dict[str, Any]]] = {}
    for item in facts:
        together.setdefault(item["budget"], []).append(item)
    for each in together.values():
        item, places = each[0], each[0]["places_in_use"]
        in_flight = f"{item['concurrency']} a process" if places is None else f"{places} of {item['concurrency']}"
        state = state_in_words(item).partition(" ")[0].rstrip(":")
        table.append(
            (_each_once(each, "account"), _each_once(each, "provider"), _limits(item), in_flight, _credits(item), state)
        )
    lines += in_columns(table)
    for each in together.values():  # long texts have a line of their own
        if (state := state_in_words(each[0])) != WORKING:
            lines.append(f"{_each_once(each, 'account')} {are(len(each))} {state}")
        for one in each:
            if takers := one["taken_over_by"]:
                lines.append(f"{' and '.join(takers)} may take the rows of {one['account']} over")
    return Said({"accounts": facts, **({"stopped": stopped.as_facts()} if stopped is not None else {})}, lines)


def _each_once(each: Sequence[dict[str, Any]], what: str) -> str:
    return ", ".join(dict.fromkeys(one[what] for one in each))


@account.command("resume")
@click.argument("name", type=AccountName(senders=True))
@saying(WAKING)
def resume_account(parts: Parts, name: str) -> Said:
    """Try the stopped or paused account or sender NAME again: with a single call first.

    First remove the cause, which `onboard account list` shows. If the call succeeds, the account works again. Accounts
    that share its key share its stop and its pause: they go on as well.
    """
    with refusing(NotTried):
        ended, shared = try_again(name, parts, now=parts.clock())
    stopped, kept = parts.emergency_stops.find(), _from_variables(parts.settings.sources, name)
    also = f" (and {', '.join(shared)}, which share its budget)" if shared else ""
    tried = "" if stopped is not None else " is tried again with a single call"
    lines = [f"{name}{also}{tried}: its {' and its '.join(ended)} ended"]
    if stopped is not None:
        lines.append(f"{stopped.in_words}; after `onboard resume --all` a single call goes first")
    else:
        lines.append("running workers go on; without workers: `onboard run LIST`, or `onboard up`")
    if "stop" in ended and kept:
        lines.append(f"if you changed {kept}: a running process keeps the value it started with; restart it")
    facts = {"account": name, "resumed": bool(ended), "ended": ended, "shared": shared}
    return Said(facts, lines if ended else [f"{name} was neither stopped nor paused"])


def _from_variables(sources: Mapping[str, str], name: str) -> str:
    """The keys of the account or sender whose values no file has: no process reads these again."""
    kept = [(key, source) for key, source in sources.items() if key.startswith((f"accounts.{name}.", f"{name}."))]
    return listed_in_words([f"{key} ({source})" for key, source in kept if not source.startswith("the file ")])


def _credits(item: dict[str, Any]) -> str:
    if item["credits_used"] is None:
        return ""
    left = "" if item["credits_left"] is None else f", {item['credits_left']:,} left"
    caps = "".join(f"; {cap['used']:,} of {cap['cap']}" for cap in item.get("credit_caps", ()))
    return f"{item['credits_used']:,} used at most{left}{caps}"


def _limits(item: dict[str, Any]) -> str:
    configured = ", ".join(item["limits"])
    if not item["limit_found"]:
        return configured
    return f"{configured} configured, {item['limit_found']} found" if configured else f"{item['limit_found']} found"
