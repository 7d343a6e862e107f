"""`onboard events outgoing`: outgoing events that wait or were given up."""

import click

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.invocation import Said, saying
from onboarding_worker.cli.shared_options import in_columns
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.features.outbox.outbox_targets import OutboxTargets, target_in_words
from onboarding_worker.features.outbox.store import relay
from onboarding_worker.settings.needs import STORED
from onboarding_worker.wiring.container import Parts


@click.group()
def outgoing() -> None:
    """Show outgoing events that are not published yet, and retry those that were given up.

    Outgoing events are the worker's own events for other systems: a TARGET is the bus of `[bus]`, or a name of
    `[subscribers]`. docs/features/outbox.md describes them.
    """


@outgoing.command("list")
@saying(STORED, migrate=True)
def list_outbox(parts: Parts) -> Said:
    """Show how many events wait for each target, and why.

    Also lists the newest 100 events that were given up, with their numbers.
    """
    outbox = OutboxTargets(parts.settings, parts.database, parts.clock)
    targets, given_up = outbox.status(), outbox.given_up()
    table = [("target", "waiting", "given up", "now")]
    table += [(one["target"], f"{one['waiting']:,}", f"{one['given_up']:,}", target_in_words(one)) for one in targets]
    lines = in_columns(table)
    for item in given_up:
        at = f"{item['kind']} of {item['customer_id']}, {item['occurred_at']}"
        lines.append(f"{item['target']} {item['number']}: {at}: {item['detail']} ({item['attempts']} attempts)")
    return Said({"targets": targets, "given_up": given_up}, lines)


@outgoing.command("retry")
@click.argument("target", required=False)
@click.option("--number", type=int, help="Only the event with this number (see `onboard events outgoing list`).")
@saying(STORED, migrate=True)
def retry_outbox(parts: Parts, target: str | None, number: int | None) -> Said:
    """Publish given-up events again: of TARGET, or of all targets.

    They are then retried for as long as a new event is. `onboard events outgoing list` shows the targets.
    """
    known = sorted(parts.targets)
    if target is not None and target not in known:
        raise CannotStart(f"there is no target {target!r}; they are {', '.join(known) or 'none'}")
    rows = relay.retry(parts.database, target=target, number=number, now=parts.clock())
    return Said({"events": rows}, [f"{counted(rows, 'event')} will be published again"])
