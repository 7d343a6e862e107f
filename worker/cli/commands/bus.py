"""`onboard bus`: take events from the message bus; and its dead queue."""

import dataclasses
import json
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Column, Table

from worker.cli.commands.decide import JSON, YES, confirm
from worker.cli.exits import CannotStart, Stopped
from worker.cli.invocation import Invocation, start_logging
from worker.cli.opening import wake_ups_of
from worker.domain.model.wakeups import Wake
from worker.foundation.clock import system_clock
from worker.runtime.celery_settings import why_not_with_workers
from worker.settings import Settings, SettingsError
from worker.settings.outside import Bus

if TYPE_CHECKING:  # imported where they are used: half a second that no other command needs
    from worker.inbound.bus.consumer import BusConsumer
    from worker.inbound.bus.dead_letters import Dead, DeadQueue, Place
    from worker.inbound.bus.event_sink import DatabaseInbox

log = logging.getLogger(__name__)

MOST_LISTED = 10_000


@click.group(invoke_without_command=True)
@click.pass_context
def bus(context: click.Context) -> None:
    """Take events from the message bus until ended; start as many as it takes.

    Needs [bus], PostgreSQL, and workers beside it. Waits for a broker or database that is away: events stay in the
    broker meanwhile. SIGTERM ends it: what it was handed is taken and acknowledged first.
    """
    if context.invoked_subcommand is not None:
        return
    invocation = context.ensure_object(Invocation)
    if invocation.log_level == "warning":
        invocation.log_level = "info"
        start_logging(invocation)
    settings = invocation.settings()
    configured = _configured(settings)
    if settings.database.url.startswith("sqlite"):
        raise CannotStart(
            "database.url: the bus needs postgresql+psycopg://…; SQLite is for one process, `onboard run`"
        )
    if reason := why_not_with_workers(settings):
        raise CannotStart(reason)
    consumer = consuming(settings, configured, wake_ups_of(settings).send_soon)
    told = threading.Event()

    def end(*_signal: object) -> None:
        told.set()
        consumer.stop()

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, end)
    consumer.run()
    if consumer.outdated:
        # To end would have it started over and over.
        log.error("nothing more is taken, events are left to processes of the newer release: %s", consumer.outdated)
        told.wait()


def consuming(settings: Settings, configured: Bus, wake: Wake) -> "Consuming":
    """What takes events from the bus. `wake` is called after a commit, and must not wait."""
    from worker.inbound.bus.connection import connection_to
    from worker.inbound.bus.consumer import BusConsumer
    from worker.inbound.bus.event_sink import DatabaseInbox

    inbox = DatabaseInbox(settings)
    return Consuming(
        BusConsumer(configured, inbox, connect=lambda: connection_to(configured), wake=wake, clock=system_clock), inbox
    )


class Consuming:
    """A consumer with the database that it takes events into."""

    def __init__(self, consumer: "BusConsumer", inbox: "DatabaseInbox") -> None:
        self._consumer = consumer
        self._inbox = inbox

    @property
    def outdated(self) -> str:
        """Why this release may not go on; "" while it may."""
        return self._consumer.outdated

    def run(self) -> None:
        """Take events until `stop`, or until outdated. Raises CannotStart where the bus or the keys do not fit."""
        from worker.inbound.bus.topology import Unfit

        try:
            self._consumer.run()
        except (Unfit, SettingsError) as error:
            raise CannotStart(str(error)) from None
        finally:
            self._inbox.close()

    def stop(self) -> None:
        """Finish the chunk at hand, and end. May be called from any thread, and by a signal."""
        self._consumer.stop()


@bus.group()
def dead() -> None:
    """Events that were refused: look at them, and put them back.

    Those of the bus, in its queue NAME.dead, and those that came as the Celery task `onboarding.request`, which are in
    the queue requests.refused of the workers' broker. Each has an ID, and is shown with the queue that it is in.
    """


@dead.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_LISTED),
    default=100,
    show_default=True,
    help="At most so many of each queue.",
)
@JSON
@click.pass_obj
def list_dead(invocation: Invocation, limit: int, as_json: bool) -> None:
    """Refused events, the oldest of each queue first, with their reasons. They stay where they are."""
    from worker.inbound.bus.dead_letters import dead_from

    with _opened(invocation) as desk:
        totals = desk.totals()
        found = [dead_from(message, name) for name, queue in desk.queues.items() for message in queue.look(limit)]
    total = sum(totals.values())
    if as_json:
        events = [dataclasses.asdict(one) for one in found]
        click.echo(json.dumps({"total": total, "queues": totals, "unreachable": [*desk.away], "events": events}))
    elif found:
        for name, number in totals.items():
            _show_queue(name, number, [one for one in found if one.queue == name])
    else:
        click.echo(f"there is no refused event in {' or '.join(totals)}")
    desk.end()


@dead.command("show")
@click.argument("id_", metavar="ID")
@JSON
@click.pass_obj
def show_dead(invocation: Invocation, id_: str, as_json: bool) -> None:
    """Why the event ID was refused, and its form: the keys, and of values only what they are."""
    from worker.inbound.bus.dead_letters import MOST_SEARCHED, dead_from, id_of, shown

    facts = None
    with _opened(invocation) as desk:
        for name, queue in desk.queues.items():
            found = next((one for one in queue.look(MOST_SEARCHED) if id_of(one) == id_), None)
            if found is not None:
                facts = {**dataclasses.asdict(dead_from(found, name)), **shown(found)}
                break
    if facts is None:
        raise CannotStart(desk.not_there(id_))
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name}: {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}")


@dead.command("requeue")
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="All that are there now, in each queue.")
@YES
@JSON
@click.pass_obj
def requeue_dead(invocation: Invocation, id_: str | None, everything: bool, yes: bool, as_json: bool) -> None:
    """Put the event ID, or all of them, back to where they came from: the bus's queue, or the workers', as a task.

    None is lost, whatever happens meanwhile. One may be there twice then, which changes nothing: it is taken once.
    """
    if (id_ is None) == (not everything):
        raise click.UsageError("say an ID, or --all")
    from worker.inbound.bus.dead_letters import MOST_SEARCHED

    went: dict[str, int] = {}
    with _opened(invocation) as desk:
        totals = desk.totals()
        there = sum(totals.values())
        if everything and there and not yes:
            confirm(f"put {there:,} events back ({_each(totals)})?")
        for name, queue in desk.queues.items():
            went[name] = queue.put_back(id_, MOST_SEARCHED if id_ else totals[name])
            if id_ and went[name]:
                break
    went = {name: number for name, number in went.items() if number}
    total = sum(went.values())
    if id_ is not None and not went:
        raise CannotStart(desk.not_there(id_))
    if as_json:
        click.echo(json.dumps({"requeued": total, "queues": went, "unreachable": [*desk.away]}))
    else:
        click.echo(f"{total:,} events were put back" + (f" ({_each(went)})" if went else ""))
    desk.end()


def _configured(settings: Settings) -> Bus:
    if settings.bus is None:
        raise CannotStart("[bus] is missing: `onboard bus` needs at least `url`; docs/bus.md says the rest")
    if settings.bus.url.startswith("memory"):
        raise CannotStart("bus.url: nobody else can reach memory://; write amqp://… or redis://…")
    return settings.bus


@dataclass(frozen=True)
class Desk:
    """The queues of refused events that can be looked at, by name; and of those that cannot, why."""

    queues: "dict[str, DeadQueue]"
    away: dict[str, str]

    def totals(self) -> dict[str, int]:
        return {name: queue.count() for name, queue in self.queues.items()}

    def not_there(self, id_: str) -> str:
        looked = f"there is no refused event {id_[:40]!r} among the oldest of {' or '.join(self.queues)}"
        return "\n".join([f"{looked}; see `onboard bus dead list`", *self._not_looked_at()])

    def end(self) -> None:
        """Raises Stopped where a queue could not be looked at: what was shown or done is not all."""
        if self.away:
            raise Stopped("\n".join(self._not_looked_at()))

    def _not_looked_at(self) -> list[str]:
        return [f"{name} was not looked at: {why}" for name, why in self.away.items()]


@contextmanager
def _opened(invocation: Invocation) -> Iterator[Desk]:
    """Raises CannotStart where no queue can be looked at, or a broker goes away meanwhile."""
    from amqp.exceptions import MessageNacked

    from worker.inbound.bus.connection import connection_for_looking
    from worker.inbound.bus.dead_letters import dead_queue

    desk, reached = Desk({}, {}), []
    errors: tuple[type[Exception], ...] = (MessageNacked,)
    with ExitStack() as exits:
        for place, url, key in _places(invocation.settings()):
            connection = exits.enter_context(connection_for_looking(url))
            errors += (*connection.connection_errors, *connection.channel_errors)
            try:
                connection.connect()
            except errors as error:
                desk.away[place.dead] = _away(error, key)
            else:
                desk.queues[place.dead] = exits.enter_context(dead_queue(connection, place))
                reached.append(key)
        if not desk.queues:
            raise CannotStart("\n".join(desk.away.values()))
        try:
            yield desk
        except errors as error:
            raise CannotStart(_away(error, " or ".join(reached))) from None


def _places(settings: Settings) -> "list[tuple[Place, str, str]]":
    """Where refused events lie, each with its broker's URL and the setting that has it. Raises CannotStart."""
    from worker.inbound.bus.dead_letters import place_of
    from worker.inbound.bus.topology import topology_of
    from worker.runtime.refused_tasks import refused_requests_at

    found = []
    if settings.bus is not None and not settings.bus.url.startswith("memory"):
        found.append((place_of(topology_of(settings.bus)), settings.bus.url, "bus.url"))
    if not settings.broker.url.startswith("memory"):
        found.append((refused_requests_at(settings.broker.url), settings.broker.url, "broker.url"))
    if not found:
        raise CannotStart(
            "nothing can have been refused here: there is neither [bus], whose events come from other systems, nor a"
            " [broker] other than memory://, over which requests come as tasks"
        )
    return found


def _away(error: Exception, key: str) -> str:
    return f"the broker does not answer as it should ({type(error).__name__}): see {key}"


def _show_queue(name: str, number: int, found: "list[Dead]") -> None:
    if not found:
        return
    rest = f", the oldest {len(found):,} of them; --limit shows more" if number > len(found) else ""
    click.echo(f"{name}: {number:,}{rest}")
    # What is copied from here, an ID, is never broken in two.
    whole = [Column(name, no_wrap=True) for name in ("id", "refused at")]
    table = Table(*whole, *(Column(name, overflow="fold") for name in ("type", "reason")), box=None, padding=(0, 2))
    for one in found:
        table.add_row(one.id, one.refused_at, one.type, _why(one))
    Console(highlight=False, markup=False).print(table)


def _why(one: "Dead") -> str:
    return f"{one.reason} ({one.problems})" if one.problems else one.reason


def _each(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())
