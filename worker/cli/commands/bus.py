"""`onboard bus`: receives events from the message bus, and shows its dead queue."""

import json
import logging
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from worker.cli.commands.decide import JSON, YES, confirm
from worker.cli.exits import CannotStart, Stopped
from worker.cli.invocation import Invocation, act_of_command, log_info
from worker.cli.opening import parts_of, wake_ups_of
from worker.domain.model.needs import STORED, WAKING, Need
from worker.domain.model.wakeups import Wake
from worker.foundation.plural import counted
from worker.foundation.timestamps import written
from worker.foundation.tls import in_words
from worker.runtime.celery_settings import why_not_with_workers
from worker.settings import Settings, SettingsError
from worker.store.audit.entries import note_alone

if TYPE_CHECKING:  # imported where they are used: half a second that no other command needs
    from worker.inbound.bus.dead_letters import DeadQueue, Place
    from worker.inbound.bus.sources import Source
    from worker.store.inbox.refused_events import KeptMessage, RefusedEvents

log = logging.getLogger(__name__)

MOST_LISTED = 10_000
LOOKING = frozenset({Need.BUS, Need.BROKER})  # to put events back
NOT_NAMED = "this configuration does not name its queue"
NOT_FOUND = "there is no refused event {}; see `onboard bus dead list`"


@click.group(invoke_without_command=True)
@click.pass_context
def bus(context: click.Context) -> None:
    """Receive events from message queues, until ended. Any number of bus processes can run.

    It consumes the queue of [bus], if there is a [bus], and the queue `requests` of the workers' broker, which other
    projects send Celery tasks to. [web.senders] says whose messages they are, and what each sender may do.

    Needs PostgreSQL, a broker and running workers. Waits for a broker or database that cannot be reached: events stay
    in the broker meanwhile. SIGTERM ends it: messages that it has received are stored and acknowledged first.
    """
    if context.invoked_subcommand is not None:
        return
    invocation = context.ensure_object(Invocation)
    log_info(invocation)
    settings = invocation.settings(WAKING | {Need.BUS})
    if settings.bus is not None and settings.bus.url.startswith("memory"):
        raise CannotStart("bus.url: no other process can reach memory://; write amqp://… or redis://…")
    if settings.database.url.startswith("sqlite"):
        raise CannotStart(
            "database.url: the bus needs postgresql+psycopg://…; SQLite is for one process, `onboard run` or `up`"
        )
    if reason := why_not_with_workers(settings):
        raise CannotStart(reason)
    from worker.inbound.bus.sources import sources_with_senders

    sources = sources_with_senders(settings)
    if not sources:
        raise CannotStart("there is no queue to consume: give a sender in [web.senders] `queues` or `users`")
    receiving = Receiving(settings, sources, wake_ups_of(settings).send_soon)
    ended = threading.Event()

    def end(*_signal: object) -> None:
        ended.set()
        receiving.stop()

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, end)
    receiving.run()
    if receiving.outdated and not ended.is_set():
        # If the process ended, it would be started again and again.
        log.error("idle: processes of the newer release receive the events: %s", receiving.outdated)
        ended.wait()


class Receiving:
    """Receives events from queues. `wake` is called after a commit, and must not wait."""

    def __init__(self, settings: Settings, sources: "Sequence[Source]", wake: Wake) -> None:
        from worker.inbound.bus.consumers import Consumers

        self._consumers = Consumers(settings, sources, wake)

    @property
    def outdated(self) -> str:
        """Why this release may not continue; "" while it may."""
        return self._consumers.outdated

    def run(self) -> None:
        """Receive events until `stop`, or until outdated. Raises CannotStart if a queue or the keys do not fit."""
        from worker.inbound.bus.topology import Unfit

        try:
            self._consumers.run()
        except (Unfit, SettingsError) as error:
            raise CannotStart(str(error)) from None

    def stop(self) -> None:
        """Finish the current chunks, and end. Safe from any thread and in a signal handler."""
        self._consumers.stop()


@bus.group()
def dead() -> None:
    """Show refused events, and put them back.

    A refused event is stored in the database, encrypted, for [retention] refused. The dead queue has a notice with its
    id and the reason: NAME.dead for events of the bus, and requests.dead of the workers' broker for events that came as
    the Celery task `onboarding.request`. Each has an ID. `onboard bus dead show ID` shows why it was refused.
    """


@dead.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_LISTED),
    default=100,
    show_default=True,
    help="Show at most this many of each queue.",
)
@JSON
@click.pass_obj
def list_dead(invocation: Invocation, limit: int, as_json: bool) -> None:
    """List refused events with their reasons, the oldest of each queue first. They stay."""
    with invocation.parts(STORED, migrate=True) as parts:
        totals = parts.refused_events.totals()
        found = {name: parts.refused_events.oldest(name, most=limit) for name in totals}
    if as_json:
        events = [_facts(one) for some in found.values() for one in some]
        queues = {_dead(name): number for name, number in totals.items()}
        click.echo(json.dumps({"total": sum(totals.values()), "queues": queues, "events": events}))
    elif totals:
        for name, some in found.items():
            _show_queue(_dead(name), totals[name], some)
    else:
        click.echo("there is no refused event")


@dead.command("show")
@click.argument("id_", metavar="ID", type=click.UUID)
@JSON
@click.pass_obj
def show_dead(invocation: Invocation, id_: UUID, as_json: bool) -> None:
    """Show why the event ID was refused, and the event's keys.

    Personal data is not shown: of each value you see only its kind and its length.
    """
    from worker.inbound.bus.dead_lettering import message_in
    from worker.inbound.bus.dead_letters import shown

    with invocation.parts(STORED, migrate=True) as parts:
        found = parts.refused_events.find(id_)
    if found is None:
        raise CannotStart(NOT_FOUND.format(id_))
    facts = _facts(found) | ({} if found.content is None else shown(message_in(found.content)))
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name}: {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}")


@dead.command("requeue")
@click.argument("id_", metavar="[ID]", required=False, type=click.UUID)
@click.option("--all", "everything", is_flag=True, help="All events that are refused now.")
@YES
@JSON
@click.pass_obj
def requeue_dead(invocation: Invocation, id_: UUID | None, everything: bool, yes: bool, as_json: bool) -> None:
    """Put refused events back into the queue that they came from.

    Give the ID of an event (`onboard bus dead list` shows it), or --all. An event of the bus goes back into the bus's
    queue; an event that came as a Celery task goes back into the queue `requests`. An event that was too large was not
    kept: its sender must send it again.

    No event is lost, whatever happens meanwhile. If an event is then there twice, it is still processed once. The audit
    log has an entry before the first event goes back.
    """
    if (id_ is None) == (not everything):
        raise click.UsageError("give an ID, or --all")
    settings = invocation.settings(STORED | LOOKING)
    with parts_of(settings, act_of_command(), migrate=True) as parts:
        refused = parts.refused_events
        one = refused.find(id_) if id_ else None
        if id_ and one is None:
            raise CannotStart(NOT_FOUND.format(id_))
        if one is not None and one.content is None:
            raise CannotStart(f"the event {id_} cannot be put back: {one.why_not}")
        there = 1 if one else sum(refused.totals().values())
        if everything and there and not yes:
            confirm(f"put {counted(there, 'event')} back?")
        which = f"dead event {id_}" if id_ else "dead events"
        note_alone(parts.database, which, now=parts.clock(), count=there, reason="to be put back")
        with _opened(settings) as dead_queues:
            went, lost = _put_back(refused, [one] if one else refused.all_until(parts.database_clock()), dead_queues)
    if as_json:
        unreachable = [*dead_queues.missed]
        click.echo(
            json.dumps({"requeued": sum(went.values()), "queues": went, "not_kept": lost, "unreachable": unreachable})
        )
    else:
        each = f" ({_each(went)})" if went else ""
        click.echo(f"{counted(sum(went.values()), 'event was', 'events were')} put back{each}")
        if lost:
            click.echo(f"{counted(lost, 'event', 'events')} without content: the sender must send them again")
    dead_queues.end()


def _put_back(
    refused: "RefusedEvents", messages: "Iterable[KeptMessage]", dead_queues: "DeadQueues"
) -> tuple[dict[str, int], int]:
    """Put messages back into their queues, each before its row is removed.

    Returns how many, by dead queue, and how many have no content.
    """
    from worker.inbound.bus.dead_lettering import message_in

    went: dict[str, list[UUID]] = {}
    lost = 0
    for one in messages:
        dead_queue = _dead(one.queue)
        if one.content is None:
            lost += 1
        elif dead_queue in dead_queues.queues:
            dead_queues.queues[dead_queue].put_back(message_in(one.content))
            refused.remove(one)
            went.setdefault(dead_queue, []).append(one.id)
        else:
            dead_queues.missed[dead_queue] = dead_queues.unreachable.get(dead_queue, NOT_NAMED)
    for dead_queue, ids in went.items():
        dead_queues.queues[dead_queue].forget(ids)
    return {dead_queue: len(ids) for dead_queue, ids in went.items()}, lost


def _dead(queue: str) -> str:
    """The name of a queue's dead queue."""
    return f"{queue}.dead"


def _facts(one: "KeptMessage") -> dict[str, Any]:
    from worker.inbound.bus.dead_lettering import problems_in

    return {
        "queue": _dead(one.queue),
        "id": str(one.id),
        "reason": one.reason,
        "problems": problems_in(one.content),
        "refused_at": written(one.refused_at),
        "refusals": one.refusals,
        "kept_until": written(one.due_at),
        "type": one.kind,
        "event": one.event,
        "size": one.size,
        "content": one.why_not or "kept",
    }


@dataclass(frozen=True)
class DeadQueues:
    """The queues of refused events, by name; why others cannot be reached; and those of them that have events."""

    queues: "dict[str, DeadQueue]"
    unreachable: dict[str, str]
    missed: dict[str, str]

    def end(self) -> None:
        """Raises Stopped if events could not be put back."""
        if self.missed:
            raise Stopped("\n".join(f"{name}: nothing was put back: {why}" for name, why in self.missed.items()))


@contextmanager
def _opened(settings: Settings) -> Iterator[DeadQueues]:
    """Raises CannotStart if no queue can be reached, or a broker is lost meanwhile."""
    from amqp.exceptions import MessageNacked

    from worker.inbound.bus.connection import connection_for_looking
    from worker.inbound.bus.dead_letters import dead_queue

    dead_queues, reached = DeadQueues({}, {}, {}), []
    errors: tuple[type[Exception], ...] = (MessageNacked,)
    with ExitStack() as exits:
        for place, source in _places(settings):
            key = source.setting
            connection = exits.enter_context(connection_for_looking(source.url, tls=source.tls))
            errors += (*connection.connection_errors, *connection.channel_errors)
            try:
                connection.connect()
            except errors as error:
                dead_queues.unreachable[place.dead] = _failed(error, key)
            else:
                dead_queues.queues[place.dead] = exits.enter_context(dead_queue(connection, place))
                reached.append(key)
        if not dead_queues.queues:
            raise CannotStart("\n".join(dead_queues.unreachable.values()))
        try:
            yield dead_queues
        except errors as error:
            raise CannotStart(_failed(error, " or ".join(reached))) from None


def _places(settings: Settings) -> "list[tuple[Place, Source]]":
    """The queues of refused events, each with the queue that they came from. Raises CannotStart."""
    from worker.inbound.bus.dead_letters import place_of
    from worker.inbound.bus.sources import sources_of

    sources = [source for source in sources_of(settings) if not source.url.startswith("memory")]
    found = [(place_of(source.topology), source) for source in sources]
    if not found:
        raise CannotStart(
            "this configuration has no queue of refused events: neither [bus] (events of other systems) nor a [broker]"
            " other than memory:// (requests sent as tasks)"
        )
    return found


def _failed(error: Exception, key: str) -> str:
    return f"the broker does not work as expected ({in_words(error)}): check {key}"


def _show_queue(name: str, number: int, found: "Sequence[KeptMessage]") -> None:
    rest = f", the oldest {len(found):,} of them; --limit shows more" if number > len(found) else ""
    click.echo(f"{name}: {number:,}{rest}")
    # Two lines each, never wrapped: operators copy the id, and a column of a narrow table would break every word.
    for one in map(_facts, found):
        click.echo(f"{one['id']}  {one['refused_at']}  {one['type']}".rstrip())
        not_kept = "" if one["content"] == "kept" else f"; {one['content']}"
        click.echo(f"    {one['reason']}" + (f" ({one['problems']})" if one["problems"] else "") + not_kept)


def _each(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())
