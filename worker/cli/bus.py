"""`onboard bus`: take events from the message bus; and its dead queue."""

import dataclasses
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Column, Table

from worker.celery_settings import why_not_with_workers
from worker.cli.decide import JSON, YES, confirm
from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation, start_logging
from worker.clock import system_clock
from worker.settings import Settings, SettingsError
from worker.settings.outside import Bus

if TYPE_CHECKING:  # imported where they are used: half a second that no other command needs
    from worker.bus.consumer import BusConsumer
    from worker.bus.dead import Dead, DeadQueue
    from worker.bus.inbox import DatabaseInbox

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
    # What rings reads the configuration for itself: the one that this command was given.
    os.environ["ONBOARDING_CONFIG"] = str(Path(settings.path).resolve())
    from worker.bells import ring_soon

    consumer = consuming(settings, configured, ring_soon)
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


def consuming(settings: Settings, configured: Bus, ring: Callable[[str, str], object]) -> "Consuming":
    """What takes events from the bus. `ring(step, name)` is called after a commit, and must not wait."""
    from worker.bus.connection import connection_to
    from worker.bus.consumer import BusConsumer
    from worker.bus.inbox import DatabaseInbox

    inbox = DatabaseInbox(settings)
    return Consuming(
        BusConsumer(configured, inbox, connect=lambda: connection_to(configured), ring=ring, clock=system_clock), inbox
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
        from worker.bus.topology import Unfit

        try:
            self._consumer.run()
        except (Unfit, SettingsError) as error:
            raise CannotStart(str(error)) from None
        finally:
            self._inbox.close()

    def stop(self) -> None:
        """Finish the lot at hand, and end. May be called from any thread, and by a signal."""
        self._consumer.stop()


@bus.group()
def dead() -> None:
    """Events that were refused: look at them, and put them back."""


@dead.command("list")
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=100, show_default=True, help="At most so many.")
@JSON
@click.pass_obj
def list_dead(invocation: Invocation, limit: int, as_json: bool) -> None:
    """Refused events, the oldest first, with their reasons. They stay where they are."""
    from worker.bus.dead import dead_from

    with _opened(invocation) as queue:
        total = queue.count()
        found = [dead_from(message) for message in queue.look(limit)]
    if as_json:
        click.echo(json.dumps({"total": total, "events": [dataclasses.asdict(one) for one in found]}))
        return
    if not found:
        click.echo("there is no refused event")
        return
    names = ("id", "refused at", "type", "reason")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None, padding=(0, 2))
    for one in found:
        table.add_row(one.id, one.refused_at, one.type, _why(one))
    Console(highlight=False, markup=False).print(table)
    if total > len(found):
        click.echo(f"{total:,} in all; --limit shows more")


@dead.command("show")
@click.argument("id_", metavar="ID")
@JSON
@click.pass_obj
def show_dead(invocation: Invocation, id_: str, as_json: bool) -> None:
    """Why the event ID was refused, and its form: the keys, and of values only what they are."""
    from worker.bus.dead import MOST_SEARCHED, dead_from, id_of, shown

    with _opened(invocation) as queue:
        found = next((one for one in queue.look(MOST_SEARCHED) if id_of(one) == id_), None)
        facts = None if found is None else {**dataclasses.asdict(dead_from(found)), **shown(found)}
    if facts is None:
        raise CannotStart(_not_there(id_))
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name}: {value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}")


@dead.command("requeue")
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="All that are there now.")
@YES
@JSON
@click.pass_obj
def requeue_dead(invocation: Invocation, id_: str | None, everything: bool, yes: bool, as_json: bool) -> None:
    """Put the event ID, or all of them, back into the queue that they came from.

    None is lost, whatever happens meanwhile. One may be there twice then, which changes nothing: it is taken once.
    """
    if (id_ is None) == (not everything):
        raise click.UsageError("say an ID, or --all")
    from worker.bus.dead import MOST_SEARCHED

    with _opened(invocation) as queue:
        total = queue.count()
        if everything and total and not yes:
            confirm(f"put {total:,} events back?")
        went = queue.put_back(id_, MOST_SEARCHED if id_ else total)
    if id_ is not None and not went:
        raise CannotStart(_not_there(id_))
    click.echo(json.dumps({"requeued": went}) if as_json else f"{went:,} events were put back")


def _configured(settings: Settings) -> Bus:
    if settings.bus is None:
        raise CannotStart("[bus] is missing: `onboard bus` needs at least `url`; docs/bus.md says the rest")
    if settings.bus.url.startswith("memory"):
        raise CannotStart("bus.url: nobody else can reach memory://; write amqp://… or redis://…")
    return settings.bus


@contextmanager
def _opened(invocation: Invocation) -> "Iterator[DeadQueue]":
    from amqp.exceptions import MessageNacked

    from worker.bus.connection import connection_to
    from worker.bus.dead import dead_queue
    from worker.bus.topology import topology_of

    configured = _configured(invocation.settings())
    connection = connection_to(configured)
    try:
        with connection:
            connection.connect()
            with dead_queue(connection, topology_of(configured)) as queue:
                yield queue
    except (*connection.connection_errors, *connection.channel_errors, MessageNacked) as error:
        away = f"the broker does not answer as it should ({type(error).__name__})"
        raise CannotStart(f"{away}: see bus.url") from None


def _why(one: "Dead") -> str:
    return f"{one.reason} ({one.problems})" if one.problems else one.reason


def _not_there(id_: str) -> str:
    return f"there is no refused event {id_[:40]!r} among the oldest; see `onboard bus dead list`"
