"""`onboard bus`: receives events from the message bus, and shows its dead queue."""

import dataclasses
import json
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from worker.cli.commands.decide import JSON, YES, confirm
from worker.cli.exits import CannotStart, Stopped
from worker.cli.invocation import Invocation, act_of_command, log_info
from worker.cli.opening import parts_of, wake_ups_of
from worker.domain.model.needs import STORED, WAKING, Need
from worker.domain.model.wakeups import Wake
from worker.foundation.plural import counted
from worker.foundation.tls import in_words
from worker.runtime.celery_settings import why_not_with_workers
from worker.settings import Settings, SettingsError
from worker.store.audit.entries import note_alone

if TYPE_CHECKING:  # imported where they are used: half a second that no other command needs
    from worker.inbound.bus.dead_letters import Dead, DeadQueue, Place
    from worker.inbound.bus.sources import Source

log = logging.getLogger(__name__)

MOST_LISTED = 10_000
LOOKING = frozenset({Need.BUS, Need.BROKER})  # to look at the dead queues


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

    Refused events of the bus are in its queue NAME.dead. Refused events that came as the Celery task
    `onboarding.request` are in the queue requests.dead of the workers' broker. Each has an ID. `onboard bus dead
    show ID` shows why an event was refused.
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
    """List refused events with their reasons, the oldest of each queue first. They stay in their queues."""
    from worker.inbound.bus.dead_letters import dead_from

    with _opened(invocation.settings(LOOKING)) as dead_queues:
        totals = dead_queues.totals()
        found = [
            dead_from(message, name) for name, queue in dead_queues.queues.items() for message in queue.look(limit)
        ]
    total = sum(totals.values())
    if as_json:
        events = [dataclasses.asdict(one) for one in found]
        click.echo(
            json.dumps({"total": total, "queues": totals, "unreachable": [*dead_queues.unreachable], "events": events})
        )
    elif found:
        for name, number in totals.items():
            _show_queue(name, number, [one for one in found if one.queue == name])
    else:
        click.echo(f"there is no refused event in {' or '.join(totals)}")
    dead_queues.end()


@dead.command("show")
@click.argument("id_", metavar="ID")
@JSON
@click.pass_obj
def show_dead(invocation: Invocation, id_: str, as_json: bool) -> None:
    """Show why the event ID was refused, and the event's keys.

    Personal data is not shown: of each value you see only its kind and its length.
    """
    from worker.inbound.bus.dead_letters import MOST_SEARCHED, dead_from, id_of, shown

    facts = None
    with _opened(invocation.settings(LOOKING)) as dead_queues:
        for name, queue in dead_queues.queues.items():
            found = next((one for one in queue.look(MOST_SEARCHED) if id_of(one) == id_), None)
            if found is not None:
                facts = {**dataclasses.asdict(dead_from(found, name)), **shown(found)}
                break
    if facts is None:
        raise CannotStart(dead_queues.not_found(id_))
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name}: {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}")


@dead.command("requeue")
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="All events that are in the queues now.")
@YES
@JSON
@click.pass_obj
def requeue_dead(invocation: Invocation, id_: str | None, everything: bool, yes: bool, as_json: bool) -> None:
    """Put refused events back into the queue that they came from.

    Give the ID of an event (`onboard bus dead list` shows it), or --all. An event of the bus goes back into the bus's
    queue; an event that came as a Celery task goes back into the queue `requests`.

    No event is lost, whatever happens meanwhile. If an event is then there twice, it is still processed once. The audit
    log has an entry before the first event goes back.
    """
    if (id_ is None) == (not everything):
        raise click.UsageError("give an ID, or --all")
    from worker.inbound.bus.dead_letters import MOST_SEARCHED

    went: dict[str, int] = {}
    settings = invocation.settings(STORED | LOOKING)
    with parts_of(settings, act_of_command(), migrate=True) as parts, _opened(settings) as dead_queues:
        totals = dead_queues.totals()
        there = sum(totals.values())
        if everything and there and not yes:
            confirm(f"put {counted(there, 'event')} back ({_each(totals)})?")
        which = "dead events" if id_ is None else f"dead event {id_[:40]}"
        note_alone(parts.database, which, now=parts.clock(), count=1 if id_ else there, reason="to be put back")
        for name, queue in dead_queues.queues.items():
            went[name] = queue.put_back(id_, MOST_SEARCHED if id_ else totals[name])
            if id_ and went[name]:
                break
    went = {name: number for name, number in went.items() if number}
    total = sum(went.values())
    if id_ is not None and not went:
        raise CannotStart(dead_queues.not_found(id_))
    if as_json:
        click.echo(json.dumps({"requeued": total, "queues": went, "unreachable": [*dead_queues.unreachable]}))
    else:
        click.echo(f"{counted(total, 'event was', 'events were')} put back" + (f" ({_each(went)})" if went else ""))
    dead_queues.end()


@dataclass(frozen=True)
class DeadQueues:
    """The queues of refused events, by name; and why others cannot be read."""

    queues: "dict[str, DeadQueue]"
    unreachable: dict[str, str]

    def totals(self) -> dict[str, int]:
        return {name: queue.count() for name, queue in self.queues.items()}

    def not_found(self, id_: str) -> str:
        none = f"there is no refused event {id_[:40]!r} among the oldest of {' or '.join(self.queues)}"
        return "\n".join([f"{none}; see `onboard bus dead list`", *self._unread()])

    def end(self) -> None:
        """Raises Stopped if a queue could not be read: the output, or the change, is not complete."""
        if self.unreachable:
            raise Stopped("\n".join(self._unread()))

    def _unread(self) -> list[str]:
        return [f"{name} was not read: {why}" for name, why in self.unreachable.items()]


@contextmanager
def _opened(settings: Settings) -> Iterator[DeadQueues]:
    """Raises CannotStart if no queue can be read, or a broker is lost meanwhile."""
    from amqp.exceptions import MessageNacked

    from worker.inbound.bus.connection import connection_for_looking
    from worker.inbound.bus.dead_letters import dead_queue

    dead_queues, reached = DeadQueues({}, {}), []
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


def _show_queue(name: str, number: int, found: "list[Dead]") -> None:
    if not found:
        return
    rest = f", the oldest {len(found):,} of them; --limit shows more" if number > len(found) else ""
    click.echo(f"{name}: {number:,}{rest}")
    # Two lines each, never wrapped: operators copy the id, and a column of a narrow table would break every word.
    for one in found:
        click.echo(f"{one.id}  {one.refused_at}  {one.type}".rstrip())
        click.echo(f"    {_why(one)}")


def _why(one: "Dead") -> str:
    return f"{one.reason} ({one.problems})" if one.problems else one.reason


def _each(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())
