"""The consumer: messages into chunks, chunks into the database, and only then acknowledged.

One thread, one connection. What comes together is committed together; what comes alone, at once. While the database is
away, what was handed out is held, and the connection is kept alive.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from amqp.exceptions import MessageNacked
from kombu.entity import Queue
from kombu.mixins import ConsumerMixin

from worker.domain.events.incoming import EventKind, Outcome
from worker.domain.model.wakeups import Wake
from worker.foundation.broker_faults import REFUSED, REFUSED_SECONDS
from worker.foundation.clock import Clock, monotonic
from worker.foundation.count_log import CountLog
from worker.foundation.outage_log import Outage
from worker.inbound.bus.batch_processing import Inbox, take
from worker.inbound.bus.connection import BusConnection
from worker.inbound.bus.dead_lettering import bury
from worker.inbound.bus.topology import Topology, Unfit, prepare, topology_of
from worker.settings.outside import Bus
from worker.store.base.database import reason

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0  # between two tries, with the broker or the database
IDLE_SECONDS = 1.0  # between two looks at whether to stop, while nothing comes
LOOK_SECONDS = 5.0  # how often the schema's revision is looked at, as workers do
# A message that was handed out so often may be what ends the connection, or the process: then one at a time is taken,
# so that it is counted out by the broker without those that came with it.
SUSPICIOUS = 3


NAMES = {
    Outcome.TAKEN: "taken",
    Outcome.DUPLICATE: "known already",
    Outcome.IGNORED: "overtaken",
    Outcome.REFUSED: "refused",
}


def _outcomes_in_words(new: Mapping[Outcome, int]) -> str:
    return ", ".join(f"{new.get(one, 0):,} {name}" for one, name in NAMES.items())


class BusConsumer(ConsumerMixin):
    """Takes events from the bus until `stop`."""

    def __init__(
        self,
        bus: Bus,
        inbox: Inbox,
        *,
        connect: Callable[[], BusConnection],
        wake: Wake,
        clock: Clock,
        idle: float = IDLE_SECONDS,
    ) -> None:
        """`wake` is called after a commit, and must not wait.

        `idle`: for how long (seconds) nothing may come before it is looked at whether to stop.
        """
        self.connection = connect()  # kombu reads its errors from it; it is never opened
        self._connect = connect
        self._bus = bus
        self._topology: Topology = topology_of(bus)
        self._plain = EventKind(bus.plain) if bus.plain else None
        self._inbox = inbox
        self._wake = wake
        self._clock = clock
        self._idle = idle
        self._ended = threading.Event()
        self._broker, self._database = Outage(log), Outage(log)
        self._warned = Outage(log, logging.WARNING)
        self._tally = CountLog(log, _outcomes_in_words)
        self._lost = ""
        self._has_begun = False
        self._careful = 0  # messages that are still to be taken one at a time
        self._anew = False  # whether to leave this connection for a new one
        self._chunk: list[Any] = []
        self._consumer: Any = None
        self._publisher: Any = None
        self._settle_at = self._look_at = self._keep_at = 0.0
        self.outdated = ""

    def stop(self) -> None:
        """Finish the chunk at hand, and end. May be called by a signal."""
        self._ended.set()
        self.should_stop = True

    def run(self) -> None:  # type: ignore[override]
        """Take events until told to stop, or until `outdated` says why this release may not go on. Raises Unfit."""
        while not (self._ended.is_set() or self.outdated):
            if not self._database_is_ready():
                self._ended.wait(AGAIN_SECONDS)
                continue
            try:
                self._work()
            except REFUSED as error:
                self._away(f"the broker refuses this process ({type(error).__name__}): see bus.url; trying again")
                self._ended.wait(REFUSED_SECONDS)
            except Unfit as error:
                if not self._has_begun:
                    raise
                self._away(str(error))
                self._ended.wait(REFUSED_SECONDS)
            except (*self.connection.connection_errors, *self.connection.channel_errors, MessageNacked) as error:
                self._lost = self._lost or type(error).__name__  # one outage has many faces; it is said once
                self._away(f"the broker is away ({self._lost}): events stay there; trying again")
                self._ended.wait(AGAIN_SECONDS)
            except (ValueError, OverflowError, TypeError, LookupError, RecursionError) as error:
                # kombu stumbled over what somebody wrote. It comes again until the broker has counted it out.
                log.error("a message could not be read off the wire (%s): one at a time now", type(error).__name__)
                self._careful = self._bus.prefetch
                self._ended.wait(AGAIN_SECONDS)
        self._tally.say(monotonic())

    def _away(self, why: str) -> None:
        self._broker.lasts(why, monotonic())

    def _work(self) -> None:
        """Over one connection."""
        self._chunk, self._anew, self.should_stop = [], False, False
        if self._ended.is_set():
            return
        self._settle_at = 0.0
        careful = bool(self._careful)
        for _ in self.consume(limit=None, safety_interval=self._idle):
            self._fill()
            self._settle()
            # How many are handed out at once is said when consuming begins.
            if careful != bool(self._careful):
                self._begin_anew()

    @property
    def _most(self) -> int:
        return 1 if self._careful else self._bus.prefetch

    # What ConsumerMixin calls, in this order.

    @contextmanager
    def establish_connection(self) -> Iterator[Any]:
        with self._connect() as connection:
            try:
                connection.connect()
                prepare(connection, self._topology, declare=self._bus.declare, warn=self._warn)
                yield connection
            except BaseException:
                # kombu's own channels would give back over a connection that is lost, and stumble over that.
                for channel in getattr(connection.transport, "channels", None) or ():
                    channel.do_restore = False
                raise

    def _warn(self, what: str) -> None:
        self._warned.lasts(what, monotonic())

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        # Without `accept` and callbacks nothing is decoded: a message is looked at before anything is made of it.
        queue = Queue(self._topology.queue, no_declare=True)
        return [Consumer(queues=[queue], on_message=self._on_message, prefetch_count=self._most, auto_declare=False)]

    def on_consume_ready(self, connection: Any, channel: Any, consumers: Any, **_options: Any) -> None:
        self.connected, self.channel = connection, channel
        (self._consumer,) = consumers
        self._publisher = connection.channel()
        self._lost = ""
        self._broker.over("the broker is there again: events are taken")
        if not self._has_begun:
            self._has_begun = True
            log.info("takes events from the queue %s, up to %d at once", self._topology.queue, self._bus.prefetch)

    def on_iteration(self) -> None:
        """Between two looks at the connection, at least once in `idle` seconds."""
        now = monotonic()
        if now >= self._keep_at and hasattr(self.channel, "keep"):
            self._keep_at = now + self.channel.keep_seconds
            self.channel.keep()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look_at_the_schema()
        self._settle()

    def on_consume_end(self, connection: Any, channel: Any) -> None:
        """Told to stop, and no longer consuming: what was handed out by then is still taken, not handed out again."""
        if not self.outdated:
            self._settle()

    def _on_message(self, message: Any) -> None:
        self._chunk.append(message)
        if not self._careful and message.times_given_back >= SUSPICIOUS:
            self._careful = self._bus.prefetch
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Leave this connection for a new one, with what was not settled yet going back."""
        self._anew = self.should_stop = True

    def _fill(self) -> None:
        """Add what is here already, without waiting."""
        while len(self._chunk) < self._most:
            try:
                self.connected.drain_events(timeout=0)
            except TimeoutError:
                return

    def _settle(self) -> None:
        """Take the chunk in, put what is refused into the dead queue, and acknowledge all of it. In this order."""
        if not self._chunk or self._anew or monotonic() < self._settle_at:
            return
        chunk = self._chunk[:]  # while RabbitMQ confirms, more may come
        try:
            taken = take(self._inbox, chunk, self._plain)
        except sa.exc.OperationalError as error:
            self._database_is_away(reason(error))
            self._settle_at = monotonic() + AGAIN_SECONDS
            return
        self._database.over("the database is there again: events are taken")
        for wake_up in taken.due:
            self._wake(wake_up)
        for message, refusal in taken.refused:
            bury(self._publisher, self._topology, message, refusal, self._clock())
        self._acknowledge(chunk)
        del self._chunk[: len(chunk)]
        self._careful = max(0, self._careful - len(chunk))
        self._tally.add(taken.outcomes, monotonic())

    def _acknowledge(self, chunk: list[Any]) -> None:
        if self._topology.on_amqp:
            chunk[-1].ack(multiple=True)  # and all before it
        elif hasattr(self.channel, "ack_all"):
            self.channel.ack_all([message.delivery_tag for message in chunk])
        else:
            for message in chunk:
                message.ack()

    def _database_is_ready(self) -> bool:
        why = self._inbox.why_not_ready()
        if why is not None:
            self._database.lasts(f"nothing is taken, events stay in the broker: {why}", monotonic())
            return False
        self._database.over("the database is there again: events are taken")
        return True

    def _database_is_away(self, why: str) -> None:
        self._database.lasts(f"the database is away, events stay in the broker: {why}", monotonic())

    def _look_at_the_schema(self) -> None:
        try:
            self.outdated = self._inbox.outdated() or ""
            self.should_stop = self.should_stop or bool(self.outdated)
        except sa.exc.OperationalError as error:
            self._database_is_away(reason(error))
