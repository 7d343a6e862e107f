"""`onboard outbox`: outgoing events that wait or were given up."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation
from worker.domain.model.needs import STORED
from worker.engine.container import Parts
from worker.foundation.plural import counted
from worker.foundation.timestamps import written, written_if_any
from worker.store.outbox import relay

JSON = click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
SHOWN = 100  # events that were given up


@click.group()
def outbox() -> None:
    """Show outgoing events that are not published yet, and retry those that were given up.

    Outgoing events are the worker's own events for other systems: a TARGET is the bus of `[bus]`, or a name of
    `[subscribers]`. docs/outgoing.md describes them.
    """


@outbox.command("list")
@JSON
@click.pass_obj
def list_outbox(invocation: Invocation, as_json: bool) -> None:
    """Show how many events wait for each target, and why.

    Also lists the newest 100 events that were given up, with their numbers.
    """
    with invocation.parts(STORED, migrate=True) as parts:
        targets, given_up = _targets(parts), _given_up(parts)
    if as_json:
        click.echo(json.dumps({"targets": targets, "given_up": given_up}))
        return
    table = Table(*(Column(name, overflow="fold") for name in ("target", "waiting", "given up", "now")), box=None)
    for item in targets:
        table.add_row(item["target"], f"{item['waiting']:,}", f"{item['given_up']:,}", _now(item))
    Console(highlight=False, markup=False).print(table)
    for item in given_up:
        at = f"{item['kind']} of {item['customer_id']}, {item['occurred_at']}"
        click.echo(f"{item['target']} {item['number']}: {at}: {item['detail']} ({item['attempts']} attempts)")


@outbox.command("retry")
@click.argument("target", required=False)
@click.option("--number", type=int, help="Only the event with this number (see `onboard outbox list`).")
@JSON
@click.pass_obj
def retry_outbox(invocation: Invocation, target: str | None, number: int | None, as_json: bool) -> None:
    """Publish given-up events again: of TARGET, or of all targets.

    They are then retried for as long as a new event is. `onboard outbox list` shows the targets.
    """
    with invocation.parts(STORED, migrate=True) as parts:
        known = sorted(parts.subscriptions.targets)
        if target is not None and target not in known:
            raise CannotStart(f"there is no target {target!r}; they are {', '.join(known) or 'none'}")
        rows = relay.retry(parts.database, target=target, number=number, now=parts.clock())
    click.echo(json.dumps({"events": rows}) if as_json else f"{counted(rows, 'event')} will be published again")


def _targets(parts: Parts) -> list[dict[str, Any]]:
    found, states, now = relay.status(parts.database), parts.budgets.all(), parts.clock()
    facts = []
    for name in sorted({*parts.subscriptions.targets, *found}):
        counts = found.get(name, relay.TargetStatus(0, 0, None))
        state = states.get(name)
        paused = state is not None and state.blocked_until is not None and state.blocked_until > now
        facts.append(
            {
                "target": name,
                "configured": name in parts.subscriptions.targets,
                "waiting": counts.waiting,
                "oldest": written_if_any(counts.oldest),
                "given_up": counts.given_up,
                "paused_until": written_if_any(state.blocked_until) if paused and state else None,
                "pause_reason": state.pause_reason if state and state.pauses else None,
            }
        )
    return facts


def _given_up(parts: Parts) -> list[dict[str, Any]]:
    return [
        {
            "target": row.target,
            "number": row.id,
            "event": str(row.event_id),
            "kind": row.kind,
            "customer_id": row.customer_id,
            "occurred_at": written(row.occurred_at),
            "given_up_at": written(row.since),
            "attempts": row.attempts,
            "detail": row.detail,
        }
        for row in relay.given_up(parts.database, most=SHOWN)
    ]


def _now(item: dict[str, Any]) -> str:
    if not item["configured"]:
        return "no longer configured: its events are deleted after 30 days"
    if item["pause_reason"]:
        until = f"until {item['paused_until']}" if item["paused_until"] else "then one event is tried first"
        return f"paused, {until}: {item['pause_reason']}"
    return f"oldest: {item['oldest']}" if item["waiting"] else "nothing waits"
