"""The consumer: collects messages in chunks, stores the chunks in the database, and acknowledges them only then.

One thread, one connection. Messages that come together are committed together; a single message is committed at once.
While the database cannot be used, the consumer holds its messages, and keeps the connection alive.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from amqp.exceptions import MessageNacked
from kombu.entity import Queue
from kombu.mixins import ConsumerMixin

from worker.brokers import undecoded
from worker.brokers.faults import REFUSED, UNREADABLE, broker_fault, refuses_log_in
from worker.domain.events.incoming import Outcome
from worker.domain.model.wakeups import Wake
from worker.engine.opening import NotReady
from worker.foundation.clock import Clock, monotonic
from worker.foundation.count_log import CountLog
from worker.foundation.outage_log import Outage
from worker.inbound.bus.batch_processing import Inbox, Taken, keep, take
from worker.inbound.bus.connection import BusConnection
from worker.inbound.bus.dead_lettering import notify, refused_message
from worker.inbound.bus.sources import Source
from worker.inbound.bus.topology import Unfit, prepare
from worker.store.base.outages import reason

log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0  # between two tries to reach the broker or the database
UNFIT_SECONDS = 5.0  # and while the broker lacks a queue
IDLE_SECONDS = 1.0  # between two checks whether to stop, while no message comes
LOOK_SECONDS = 5.0  # how often it is checked that the database has this release's schema and takes writes
# A message that was delivered so often may be what ends the connection, or the process. Then the consumer takes one
# message at a time, so that the broker counts only the deliveries of this one.
SUSPICIOUS = 3
# The kinds of steps that need the database: while its schema can be read, it may be impossible to store events.
LOOKING, TAKING = "looking", "taking"


NAMES = {
    Outcome.TAKEN: "taken",
    Outcome.DUPLICATE: "known already",
    Outcome.IGNORED: "overtaken",
    Outcome.REFUSED: "refused",
}


def _outcomes_in_words(new: Mapping[Outcome, int]) -> str:
    return ", ".join(f"{new.get(one, 0):,} {name}" for one, name in NAMES.items())


class LogInRefused(Exception):
    """The broker does not let this user in. The text says so."""


class BusConsumer(ConsumerMixin):
    """Takes events from the bus until `stop`."""

    def __init__(
        self,
        source: Source,
        inbox: Inbox,
        *,
        connect: Callable[[], BusConnection],
        wake: Wake,
        clock: Clock,
        database: Outage | None = None,
        idle: float = IDLE_SECONDS,
    ) -> None:
        """`wake` is called after a commit, and must not wait.

        `database`: its outage, which the consumers of a process share, so that each line is logged once.
        `idle`: seconds between two checks whether to stop, while no message comes.
        """
        self.connection = connect()  # kombu reads the kinds of errors from it; it is never opened
        self._outages = (*REFUSED, *self.connection.connection_errors, *self.connection.channel_errors, MessageNacked)
        self._connect = connect
        self._source = source
        self._topology = source.topology
        self._inbox = inbox
        self._wake = wake
        self._clock = clock
        self._idle = idle
        self._ended = threading.Event()
        self._broker, self._database = Outage(log), database or Outage(log)
        self._warned = Outage(log, logging.WARNING)
        self._outcomes: CountLog[Outcome] = CountLog(log, lambda new: f"{source.consumed}: {_outcomes_in_words(new)}")
        self._lost = ""
        self._has_begun = False
        self._careful = 0  # messages still to be taken one at a time
        self._anew = False  # whether to leave this connection for a new one
        self._chunk: list[Any] = []
        self._consumer: Any = None
        self._publisher: Any = None
        self._settle_at = self._look_at = self._keep_at = 0.0
        self.outdated = ""

    def stop(self) -> None:
        """Finish the current chunk, and end. A signal handler may call this."""
        self._ended.set()
        self.should_stop = True

    def run(self) -> None:  # type: ignore[override]
        """Take events until `stop`, or until `outdated` holds the reason why this release must stop.

        Raises Unfit or LogInRefused before the first event.
        """
        while not (self._ended.is_set() or self.outdated):
            if not self._database_is_ready():
                self._ended.wait(AGAIN_SECONDS)
                continue
            try:
                self._work()
            except Unfit as error:
                if not self._has_begun:
                    raise
                self._broker_lasts(str(error))
                self._ended.wait(UNFIT_SECONDS)
            except self._outages as error:
                if refuses_log_in(error) and not self._has_begun:
                    raise LogInRefused(f"{broker_fault(error)}: check {self._source.setting}") from None
                # One outage shows as several errors: the first one is logged.
                self._lost = self._lost or broker_fault(error)
                self._broker_lasts(f"{self._lost}: events stay in {self._source.consumed}; trying again")
                self._ended.wait(AGAIN_SECONDS)
            except UNREADABLE as error:
                # kombu failed on a producer's message. The message comes again until the broker's delivery limit.
                log.error(
                    "a message could not be read off the wire (%s): taking one message at a time now",
                    type(error).__name__,
                )
                self._careful = self._source.prefetch
                self._ended.wait(AGAIN_SECONDS)
        self._outcomes.write(monotonic())

    def _broker_lasts(self, why: str) -> None:
        self._broker.lasts(why, monotonic())

    def _work(self) -> None:
        """Take events over one connection."""
        self._chunk, self._anew, self.should_stop = [], False, False
        if self._ended.is_set():
            return
        self._settle_at = 0.0
        careful = bool(self._careful)
        for _ in self.consume(limit=None, safety_interval=self._idle):
            self._fill()
            self._settle()
            # The number of messages in flight is fixed when consuming begins.
            if careful != bool(self._careful):
                self._begin_anew()

    @property
    def _most(self) -> int:
        return 1 if self._careful else self._source.prefetch

    # What ConsumerMixin calls, in this order.

    @contextmanager
    def establish_connection(self) -> Iterator[Any]:
        with self._connect() as connection:
            try:
                connection.connect()
                prepare(connection, self._topology, declare=self._source.declare, warn=self._warn)
                yield connection
            except BaseException:
                # kombu's own channels would give messages back over the lost connection, and fail.
                for channel in getattr(connection.transport, "channels", None) or ():
                    channel.do_restore = False
                raise

    def _warn(self, what: str) -> None:
        self._warned.lasts(what, monotonic())

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        # Without `accept` and callbacks kombu decodes nothing: a message is checked first.
        queue = Queue(self._source.consumed, no_declare=True)
        consumer = Consumer(queues=[queue], on_message=self._on_message, prefetch_count=self._most, auto_declare=False)
        return [consumer]

    def on_consume_ready(self, connection: Any, channel: Any, consumers: Any, **_options: Any) -> None:
        self.connected, self.channel = connection, channel
        (self._consumer,) = consumers
        self._publisher = connection.channel()
        self._lost = ""
        self._broker.over("the broker is back: taking events")
        if not self._has_begun:
            self._has_begun = True
            log.info("takes events from the queue %s, up to %d at once", self._source.consumed, self._source.prefetch)

    def on_iteration(self) -> None:
        """Called by kombu between two reads of the connection, at least once in `idle` seconds."""
        now = monotonic()
        if now >= self._keep_at and hasattr(self.channel, "keep"):
            self._keep_at = now + self.channel.keep_seconds
            self.channel.keep()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look_at_the_database()
        self._settle()
        self._outcomes.write_if_due(monotonic())

    def on_consume_end(self, connection: Any, channel: Any) -> None:
        """Called by kombu when consuming ends: events that were delivered by then are still taken in."""
        if not self.outdated:
            self._settle()

    def _on_message(self, message: Any) -> None:
        self._chunk.append(message)
        if not self._careful and message.times_given_back >= SUSPICIOUS:
            self._careful = self._source.prefetch
            self._begin_anew()

    def _begin_anew(self) -> None:
        """Change to a new connection; messages that are not settled go back to the broker."""
        self._anew = self.should_stop = True

    def _fill(self) -> None:
        """Add messages that have arrived already, without waiting."""
        counted = size = 0
        while len(self._chunk) < self._most:
            size += sum(len(message.body) for message in self._chunk[counted:])
            counted = len(self._chunk)
            if size >= undecoded.BYTES_AT_ONCE:
                return
            try:
                self.connected.drain_events(timeout=0)
            except TimeoutError:
                return

    def _settle(self) -> None:
        """Store the chunk, then its refused messages, put notices into the dead queue, and acknowledge. In this order.

        While the database or the broker cannot be reached, nothing is acknowledged: what was stored is recognised when
        it comes again.
        """
        if not self._chunk or self._anew or monotonic() < self._settle_at:
            return
        chunk = self._chunk[:]  # more messages may come while RabbitMQ confirms
        try:
            taken = take(self._inbox, chunk, lambda message: self._source.event_in(message, self._inbox.digests))
            kept = self._keep(taken)
        except sa.exc.OperationalError as error:
            self._database_lasts(reason(error), TAKING)
            self._settle_at = monotonic() + AGAIN_SECONDS
            return
        self._database_is_back(TAKING)
        for wake_up in taken.due:
            self._wake(wake_up)
        for id_, (_, refusal) in zip(kept, taken.refused, strict=True):
            notify(self._publisher, self._topology, id_, refusal, self._clock())
        self._acknowledge(chunk)
        del self._chunk[: len(chunk)]
        self._careful = max(0, self._careful - len(chunk))
        self._outcomes.add(taken.outcomes, monotonic())

    def _keep(self, taken: Taken) -> list[uuid.UUID]:
        """Store the refused messages, and return their ids."""
        vouch, queue = self._source.senders.vouch, self._topology.queue
        refused = [
            refused_message(message, refusal, queue, vouched=vouch(message, self._inbox.digests))
            for message, refusal in taken.refused
        ]
        return keep(self._inbox, refused)

    def _acknowledge(self, chunk: list[Any]) -> None:
        if self._topology.on_amqp:
            chunk[-1].ack(multiple=True)  # acknowledges all before it too
        elif hasattr(self.channel, "ack_all"):
            self.channel.ack_all([message.delivery_tag for message in chunk])
        else:
            for message in chunk:
                message.ack()

    def _database_is_ready(self) -> bool:
        try:
            self._inbox.check_ready()
        except NotReady as error:
            self._database_lasts(error.why, LOOKING, what=error.what)
            return False
        self._database_is_back(LOOKING)
        return True

    def _database_lasts(self, why: str, step: str, *, what: str = "the database cannot be used") -> None:
        # The same words wherever it is met: the consumers share the outage, and other words would be a new line.
        what = f"bus idle, events stay in the broker: {what}"
        self._database.lasts(what, monotonic(), why=why, step=self._step(step))

    def _database_is_back(self, step: str) -> None:
        self._database.over("the database is back: taking events", monotonic(), step=self._step(step))

    def _step(self, kind: str) -> str:
        """The kind of step with its queue: another queue's success says nothing of this one."""
        return f"{kind} {self._source.consumed}"

    def _look_at_the_database(self) -> None:
        try:
            self.outdated = self._inbox.outdated() or ""
            self.should_stop = self.should_stop or bool(self.outdated)
            why = "" if self.outdated else self._inbox.unwritable()
        except sa.exc.OperationalError as error:
            why = reason(error)
        if why:
            self._database_lasts(why, LOOKING)
        else:
            self._database_is_back(LOOKING)
