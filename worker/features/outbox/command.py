"""`onboard events outgoing`: outgoing events that wait or were given up."""

import click
from rich.console import Console
from rich.table import Column, Table

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.invocation import Invocation
from onboarding_worker.cli.shared_options import JSON, print_json, print_json_or
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.features.outbox.outbox_targets import OutboxReport, target_in_words
from onboarding_worker.features.outbox.store import relay
from onboarding_worker.settings.needs import STORED


@click.group()
def outgoing() -> None:
    """Show outgoing events that are not published yet, and retry those that were given up.

    Outgoing events are the worker's own events for other systems: a TARGET is the bus of `[bus]`, or a name of
    `[subscribers]`. docs/features/outbox.md describes them.
    """


@outgoing.command("list")
@JSON
@click.pass_obj
def list_outbox(invocation: Invocation, as_json: bool) -> None:
    """Show how many events wait for each target, and why.

    Also lists the newest 100 events that were given up, with their numbers.
    """
    with invocation.parts(STORED, migrate=True) as parts:
        report = OutboxReport(parts.settings, parts.database)
        targets, given_up = report.targets(now=parts.clock()), report.given_up()
    if as_json:
        print_json({"targets": targets, "given_up": given_up})
        return
    table = Table(*(Column(name, overflow="fold") for name in ("target", "waiting", "given up", "now")), box=None)
    for item in targets:
        table.add_row(item["target"], f"{item['waiting']:,}", f"{item['given_up']:,}", target_in_words(item))
    Console(highlight=False, markup=False).print(table)
    for item in given_up:
        at = f"{item['kind']} of {item['customer_id']}, {item['occurred_at']}"
        click.echo(f"{item['target']} {item['number']}: {at}: {item['detail']} ({item['attempts']} attempts)")


@outgoing.command("retry")
@click.argument("target", required=False)
@click.option("--number", type=int, help="Only the event with this number (see `onboard events outgoing list`).")
@JSON
@click.pass_obj
def retry_outbox(invocation: Invocation, target: str | None, number: int | None, as_json: bool) -> None:
    """Publish given-up events again: of TARGET, or of all targets.

    They are then retried for as long as a new event is. `onboard events outgoing list` shows the targets.
    """
    with invocation.parts(STORED, migrate=True) as parts:
        known = sorted(parts.targets)
        if target is not None and target not in known:
            raise CannotStart(f"there is no target {target!r}; they are {', '.join(known) or 'none'}")
        rows = relay.retry(parts.database, target=target, number=number, now=parts.clock())
    print_json_or({"events": rows}, f"{counted(rows, 'event')} will be published again", as_json=as_json)
