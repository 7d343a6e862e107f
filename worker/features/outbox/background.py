"""When events are published: in `run` and `up` by threads, in workers by wake-ups of the queue `tell`; and when
those are removed that were given up, or whose target is not configured any more."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta

import sqlalchemy as sa

from worker.core.database.outages import reason
from worker.core.foundation.clock import Clock, monotonic
from worker.core.foundation.notation import counted
from worker.core.foundation.outage_log import Outage
from worker.core.model.metrics import Meters
from worker.events.cloudevents import BUS, SUBSCRIBER
from worker.features.outbox.outbox_publisher import OutboxPublisher
from worker.features.outbox.outbox_targets import OutboxTargets, unpublished_in_words
from worker.features.outbox.publishers.contract import Target
from worker.features.outbox.section import Subscriber
from worker.features.outbox.store.relay import remove_old, waiting
from worker.reporting.store.look import Looked
from worker.settings.model import Settings
from worker.wiring.background import Ticks, Work, Working
from worker.wiring.container import Parts

log = logging.getLogger(__name__)
LOOK_SECONDS = 60.0
KEPT_FOR = timedelta(days=30)  # events that were given up can be put back for so long
# How long a process rests after it found nothing to remove: a look costs little, and nothing waits for it.
REST_SECONDS = 600.0
# A run that ends publishes what it can within this time; the next run publishes the rest.
LAST_PUBLISHING = timedelta(seconds=5)
LONGEST = timedelta(minutes=1)
# The kinds of steps that need the database.
LOOKING, PUBLISHING = "looking", "publishing"
BACK = "the database is back: events are published"


class OutboxThreads(Working):
    """A thread for each target: a target that hangs delays no other."""

    def __init__(self, outbox: OutboxTargets, targets: Mapping[str, Target], *, meters: Meters | None = None) -> None:
        self._outbox = outbox
        self._ending = False
        self._publisher = OutboxPublisher(outbox, targets, stopping=lambda: self._ending, meters=meters)
        self._going: dict[str, Future[bool]] = {}
        self._database = Outage(log, logging.WARNING)
        self._threads = ThreadPoolExecutor(max_workers=max(1, len(targets)), thread_name_prefix="publish")

    @classmethod
    def of(cls, parts: Parts) -> "OutboxThreads":
        outbox = OutboxTargets(parts.settings, parts.database, parts.clock)
        return cls(outbox, build_targets(parts.settings), meters=parts.meters)

    def step(self) -> None:
        """Begin to publish what is due."""
        self._begin()

    def _begin(self) -> bool:
        """Whether a thread publishes now."""
        if not self._publisher.names:
            return False
        try:
            for name in self._outbox.due():
                going = self._going.get(name)
                if going is None or going.done():
                    self._going[name] = self._threads.submit(self._publish, name)
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, LOOKING)
            return False
        self._database.over(BACK, monotonic(), step=LOOKING)
        return any(not going.done() for going in self._going.values())

    def _publish(self, name: str) -> bool:
        try:
            more = self._publisher.publish(name, longest=LONGEST)
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, PUBLISHING)
            return False
        except Exception as error:
            log.error("%s: publishing ended with %s; the next tick tries again", name, type(error).__name__)
            return False
        self._database.over(BACK, monotonic(), step=PUBLISHING)
        return more

    def _log_unreachable(self, error: sa.exc.OperationalError, step: str) -> None:
        what = "the database cannot be used, no events are published"
        self._database.lasts(what, monotonic(), why=reason(error), step=step)

    def finish(self, within: timedelta = LAST_PUBLISHING) -> str:
        """Publish what is possible within this time. Does not wait for a paused target."""
        until = monotonic() + within.total_seconds()
        while self._begin() and (left := until - monotonic()) > 0:
            # Those that have ended would end the wait at once, and the database would be asked again and again.
            if going := [one for one in self._going.values() if not one.done()]:
                wait(going, timeout=left, return_when=FIRST_COMPLETED)
        try:
            left_over = waiting(self._outbox.database, self._publisher.names) if self._publisher.names else 0
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, LOOKING)
            return ""
        words = f"{counted(left_over, 'outgoing event')} not delivered yet; `onboard events outgoing list` says why"
        return words if left_over else ""

    def close(self) -> None:
        """End publishing: open POSTs are abandoned, and the next process publishes their events again."""
        self._ending = True
        wait(self._going.values())
        self._threads.shutdown()  # no thread has work left
        self._publisher.close()


def build_targets(settings: Settings) -> dict[str, Target]:
    """The targets by the names in the outbox's rows. Opens no connection.

    Each kind is imported where it is configured: kombu and redis take longer to load than all else before the first
    call of `run`.
    """
    targets: dict[str, Target] = {}
    bus = settings.bus
    if bus is not None and bus.url.startswith("redis"):
        from worker.features.outbox.publishers.bus import RedisStream

        targets[BUS] = RedisStream(bus.url, bus.exchange, tls=bus.protection)
    elif bus is not None:
        from worker.features.outbox.publishers.bus import AmqpBus

        targets[BUS] = AmqpBus(bus.url, bus.exchange, declare=bus.declare, tls=bus.protection)
    for name, subscriber in settings.named(Subscriber).items():
        from worker.features.outbox.publishers.subscriber import HttpSubscriber

        targets[f"{SUBSCRIBER}{name}"] = HttpSubscriber(subscriber.url, subscriber.keys, tls=subscriber.protection)
    return targets


class WokenPublisher:
    """Publishes to the target of each wake-up."""

    def __init__(self, parts: Parts, stopping: Callable[[], bool]) -> None:
        self._outbox = OutboxTargets(parts.settings, parts.database, parts.clock)
        targets = build_targets(parts.settings)
        self._publisher = OutboxPublisher(self._outbox, targets, stopping=stopping, meters=parts.meters)
        self._unpublished, self._looks = Outage(log, logging.WARNING), Ticks(LOOK_SECONDS)

    def due(self) -> list[str]:
        targets = self._outbox.due()
        if self._looks.begin(monotonic()):
            late = self._outbox.unpublished() if targets else []
            if late:
                words = f"{unpublished_in_words(late)}: does a worker consume the queue tell?"
                self._unpublished.lasts(words, monotonic())
            else:
                self._unpublished.over("events are published again")
        return targets

    def serve(self, name: str, *, longest: timedelta) -> bool:
        return self._publisher.publish(name, longest=longest)

    def close(self) -> None:
        self._publisher.close()


WORK = Work(OutboxThreads.of, in_run=True, woken=WokenPublisher)


def old_events(outbox: OutboxTargets, database_clock: Clock) -> Callable[[], None]:
    """Removes what is old, a chunk at each call. What is old is decided by the database's own time: nothing brings
    it back."""
    ticks, more = Ticks(REST_SECONDS), False

    def step() -> None:
        nonlocal more
        if not more and not ticks.begin(monotonic()):
            return
        try:
            gone = remove_old(outbox.database, targets=outbox.rules, before=database_clock() - KEPT_FOR)
        except sa.exc.DBAPIError as error:  # nothing was changed, and nothing waits for it
            log.warning("old events: %s; trying again later", type(error.orig).__name__)
            gone = 0
        if gone:
            log.info("%d events were removed that no target accepted", gone)
        more = gone > 0

    return step


def swept(parts: Parts) -> Callable[[Looked], None]:
    step = old_events(OutboxTargets(parts.settings, parts.database, parts.clock), parts.database_clock)
    return lambda _looked: step()
