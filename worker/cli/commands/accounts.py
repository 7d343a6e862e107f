"""`onboard account`: the state of accounts, and trying a stopped account again."""

import json
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from worker.cli.completions import AccountName
from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation
from worker.domain.limits.budgets import BudgetRule, BudgetState, credits_left, found_in_words, silence_of
from worker.domain.model.needs import STORED, WAKING
from worker.domain.model.stops import is_at_cap, way_out
from worker.engine.container import Parts
from worker.foundation.timestamps import written_if_any
from worker.store.limits import concurrency

WORKING = "working"
JSON = click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")


@click.group()
def account() -> None:
    """Show accounts and senders: limits, pauses, stops, credits. Resume stopped ones."""


@account.command("list")
@JSON
@click.pass_obj
def list_accounts(invocation: Invocation, as_json: bool) -> None:
    """Show the limits, credits and state of each account and sender."""
    with invocation.parts(STORED, migrate=True) as parts:
        facts = _facts(parts)
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
            _status(item).partition(" ")[0],
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
        rules = parts.budget_rules.all()
        if name not in rules:
            raise CannotStart(f"there is no account {name!r}; they are {', '.join(sorted(rules))}")
        now = parts.clock()
        shared = [other for other, rule in rules.items() if rule.name == rules[name].name and other != name]
        state = parts.budgets.all()[rules[name].name]
        if state.stopped_at is not None and is_at_cap(state.stop_reason):
            raise CannotStart(
                f"{name}: {state.stop_reason}, so no call can be tried; {way_out(name, state.stop_reason)}"
            )
        ended = parts.budgets.resume(rules[name].name, by_person_at=now)
        if ended:
            parts.jobs.make_snoozed_due([name, *shared], now=now)
        if ended and name in parts.channels:
            parts.jobs.make_waiting_jobs_due(now=now)
    if as_json:
        click.echo(json.dumps({"account": name, "resumed": bool(ended), "ended": ended, "shared": shared}))
        return
    also = f" (and {', '.join(shared)}, which share its budget)" if shared else ""
    if ended:
        click.echo(f"{name}{also} is tried again with a single call: its {' and its '.join(ended)} ended")
        click.echo("running workers go on; without workers: `onboard run LIST`, or `onboard up`")
    else:
        click.echo(f"{name} was neither stopped nor paused")


def _facts(parts: Parts) -> list[dict[str, Any]]:
    states = parts.budgets.all()
    now = parts.clock()
    takers: dict[str, list[str]] = {}
    for what in parts.takeovers.possible(states):
        takers.setdefault(what.source, []).append(what.target)
    in_use = concurrency.in_use(parts.database, now=now)
    return [
        {
            "account": name,
            "provider": parts.accounts[name].provider if name in parts.accounts else "sender",
            "budget": rule.name,
            "limits": [str(limit) for limit in rule.limits],
            "limit_found": found_in_words(rule, states.get(rule.name, BudgetState())),
            "concurrency": rule.concurrency,
            # Unknown for a sender whose connections are counted in each process.
            "places_in_use": None if rule.each_process else in_use.get(rule.name, 0),
            **_state(states.get(rule.name, BudgetState()), rule, now=now),
            **({} if name in parts.accounts else {"credits_used": None}),  # a sender's messages are not counted
            "taken_over_by": takers.get(name, []),
        }
        for name, rule in parts.budget_rules.all().items()
    ]


def _state(state: BudgetState, rule: BudgetRule, *, now: datetime) -> dict[str, Any]:
    paused = state.blocked_until is not None and state.blocked_until > now
    return {
        "credits_used": state.credits_used,
        "credits_left": credits_left(state, rule),
        "paused_until": written_if_any(state.blocked_until) if paused else None,
        "pause_reason": state.pause_reason if paused else None,
        "stopped_at": written_if_any(state.stopped_at),
        "stop_reason": state.stop_reason or None,
        "asks_again_at": written_if_any(state.asks_again_at),
        "no_answer": silence_of(state, now=now) or None,
        "failures": state.failures,
        "breaker_opened_at": written_if_any(state.opened_at),
    }


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
    return _status(item) + (f"; {' and '.join(takers)} may take its rows over" if takers else "")


def _status(item: dict[str, Any]) -> str:
    if item["stopped_at"]:
        again = f"; a worker asks again at {item['asks_again_at']}" if item["asks_again_at"] else ""
        return f"stopped: {item['stop_reason']}{again}"
    if item["paused_until"]:  # the reason names the breaker if the breaker paused it
        return f"paused until {item['paused_until']}: {item['pause_reason']}"
    if item["no_answer"]:
        return f"silent: no answer at the last call: {item['no_answer']}"
    return WORKING
