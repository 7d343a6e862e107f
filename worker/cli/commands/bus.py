"""`onboard bus`: receives events from the message bus."""

import logging
import signal
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from worker.cli.exits import CannotStart, Stopped
from worker.cli.invocation import Invocation, log_info
from worker.cli.opening import wake_ups_of
from worker.core.model.wakeups import Wake
from worker.runtime.celery_settings import why_not_with_workers
from worker.settings.model import Settings
from worker.settings.needs import WAKING, Need
from worker.settings.problems import SettingsError

if TYPE_CHECKING:  # imported where it is used: half a second that no other command needs
    from worker.events.bus.sources import Source

log = logging.getLogger(__name__)


@click.command()
@click.pass_obj
def bus(invocation: Invocation) -> None:
    """Receive events from message queues, until ended. Any number of bus processes can run.

    It consumes the queue of [bus], if there is a [bus], and the queue `requests` of the workers' broker, which other
    projects send Celery tasks to. [web.senders] says whose messages they are, and what each sender may do.

    Needs PostgreSQL, a broker and running workers. Waits for a broker or database that cannot be reached: events stay
    in the broker meanwhile. SIGTERM ends it: messages that it has received are stored and acknowledged first.
    """
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
    from worker.events.bus.sources import sources_with_senders

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
        from worker.runtime.bus_consumers import Consumers

        self._consumers = Consumers(settings, sources, wake)

    @property
    def outdated(self) -> str:
        """Why this release may not continue; "" while it may."""
        return self._consumers.outdated

    def run(self) -> None:
        """Receive events until `stop`, or until outdated. Raises CannotStart if a queue or the keys do not fit, and
        Stopped where a broker refuses the log-in."""
        from worker.events.bus.consumer import LogInRefused
        from worker.events.bus.topology import Unfit

        try:
            self._consumers.run()
        except LogInRefused as error:  # not a wrong configuration: a password may be mended at the broker
            raise Stopped(str(error)) from None
        except (Unfit, SettingsError) as error:
            raise CannotStart(str(error)) from None

    def stop(self) -> None:
        """Finish the current chunks, and end. Safe from any thread and in a signal handler."""
        self._consumers.stop()
