"""The consumer: collects messages in chunks, stores the chunks in the database, and acknowledges them only then.

One thread, one connection. Messages that come together are committed together; a single message is committed at once.
While the database cannot be used, the consumer holds its messages, and keeps the connection alive.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, replace
from typing import Protocol

import sqlalchemy as sa

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.database.schema import NotReady
from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.foundation.logs import CountLog
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.incoming import Event, EventReceipt, Outcome, Received
from onboarding_worker.core.model.wakeups import Wake
from onboarding_worker.events.brokers.connection import OUTAGES, UNREADABLE, broker_fault, refuses_log_in
from onboarding_worker.events.bus.dead_lettering import refused_message
from onboarding_worker.events.bus.messages import Delivery, Entry, Link
from onboarding_worker.events.bus.sources import Source, Unfit
from onboarding_worker.events.cloudevents import Unreadable
from onboarding_worker.events.store.refused_events import RefusedMessage


class Inbox(Protocol):
    def receive(self, events: Sequence[Event]) -> Received:
        """Take events in, in one transaction. Raises sqlalchemy.exc.OperationalError without a database."""

    def keep(self, refused: Sequence[RefusedMessage]) -> list[uuid.UUID]:
        """Store refused messages, in one transaction. Returns their ids, in their order. Raises as `receive`."""

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """As `Keyring.digests`, once it was ready."""

    def check_ready(self) -> None:
        """Raises engine.opening.NotReady if no event can be taken in now."""

    def outdated(self) -> str | None:
        """Why this release must stop; None when it may go on. Raises sqlalchemy.exc.OperationalError."""

    def unwritable(self) -> str:
        """Why no event can be stored, though the database answers; "": it can. Raises as `outdated`."""


def take(inbox: Inbox, chunk: Sequence[Entry], read: Callable[[Entry], Event | Unreadable]) -> Received:
    """Take a chunk of messages in, with a receipt for each. When this returns, their events are committed. `read` never
    raises.

    Raises sqlalchemy.exc.OperationalError when the database cannot be used: then no message may be acknowledged.
    """
    found = [read(message) for message in chunk]
    events = [event for event in found if isinstance(event, Event)]
    received = _received(inbox, events) if events else Received([])
    receipts = iter(received.receipts)
    of_chunk = [
        EventReceipt(Outcome.REFUSED, reason=one.reason) if isinstance(one, Unreadable) else next(receipts)
        for one in found
    ]
    return replace(received, receipts=of_chunk)


def keep(inbox: Inbox, refused: Sequence[RefusedMessage]) -> list[uuid.UUID]:
    """Store refused messages, and return their ids. Raises sqlalchemy.exc.OperationalError. Where that meets a bug,
    they are stored without their content: else they would come again for ever."""
    if not refused:
        return []
    try:
        return inbox.keep(refused)
    except sa.exc.OperationalError:
        raise
    except Exception as error:
        log.error("a bug: storing %d refused messages ended with %s", len(refused), type(error).__name__)
        return inbox.keep([replace(one, content=None, customer_id="") for one in refused])


def _received(inbox: Inbox, events: Sequence[Event]) -> Received:
    """Take events in. Where they meet a bug, try each alone and refuse the bad one: it would come again for ever."""
    try:
        return inbox.receive(events)
    except sa.exc.OperationalError:
        raise
    except Exception as error:
        log.error("a bug: storing %d events together ended with %s", len(events), type(error).__name__)
        if len(events) == 1:
            return Received(
                [EventReceipt(Outcome.REFUSED, reason=f"a bug of ours ({type(error).__name__}): report it")]
            )
    alone = [_received(inbox, [event]) for event in events]
    return Received(
        [receipt for one in alone for receipt in one.receipts], frozenset().union(*(one.due for one in alone))
    )


log = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0  # between two tries to reach the broker or the database
UNFIT_SECONDS = 5.0  # and while the broker lacks a queue
IDLE_SECONDS = 1.0  # between two checks whether to stop, while no message comes
LOOK_SECONDS = 5.0  # how often it is checked that the database has this release's schema and takes writes
# A message that RabbitMQ delivered so often may be what ends the connection, or the process. Then the consumer takes
# one message at a time, so that the broker counts only the deliveries of this one.
SUSPICIOUS = 3
# Opens a connection that holds at most so many messages, and calls the function with what differs from expectation.
Connect = Callable[[int, Callable[[str], None]], AbstractContextManager[Link]]
# The kinds of steps that need the database: while its schema can be read, it may be impossible to store events.
LOOKING, TAKING = "looking", "taking"

NAMES = {
    Outcome.TAKEN: "taken",
    Outcome.DUPLICATE: "known already",
    Outcome.IGNORED: "overtaken",
    Outcome.REFUSED: "refused",
}


class LogInRefused(Exception):
    """The broker does not let this user in. The text says so."""


@dataclass(eq=False)
class BusConsumer:
    """Takes events from the bus until `stop`.

    `wake` is called after a commit, and must not wait. `database`: its outage, which the consumers of a process share,
    so that each line is logged once. `idle`: seconds between two checks whether to stop, while no message comes.
    """

    source: Source
    inbox: Inbox
    _: KW_ONLY
    connect: Connect
    wake: Wake
    clock: Clock
    database: Outage | None = None
    idle: float = IDLE_SECONDS

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._broker, self._warned = Outage(log), Outage(log, logging.WARNING)
        self._database = self.database or Outage(log)
        self._outcomes: CountLog[Outcome] = CountLog(log, self._in_words)
        self._lost = ""
        self._has_begun = False
        self._careful = 0  # messages still to be taken one at a time
        self._chunk: list[Delivery] = []
        self._settle_at = self._look_at = 0.0
        self.outdated = ""

    def stop(self) -> None:
        """Finish the current chunk, and end. A signal handler may call this."""
        self._ended.set()

    def _in_words(self, new: Mapping[Outcome, int]) -> str:
        each = (f"{new.get(one, 0):,} {name}" for one, name in NAMES.items())
        return f"{self.source.consumed}: {', '.join(each)}"

    @property
    def _goes_on(self) -> bool:
        return not (self._ended.is_set() or self.outdated)

    def run(self) -> None:
        """Take events until `stop`, or until `outdated` holds the reason why this release must stop. Raises Unfit or
        LogInRefused before the first event."""
        while self._goes_on:
            if not self._database_is_ready():
                self._ended.wait(AGAIN_SECONDS)
                continue
            try:
                self._work()
            except Unfit as error:
                if not self._has_begun:
                    raise
                self._broker.lasts(str(error), monotonic())
                self._ended.wait(UNFIT_SECONDS)
            except OUTAGES as error:
                if refuses_log_in(error) and not self._has_begun:
                    raise LogInRefused(f"{broker_fault(error)}: check {self.source.setting}") from None
                # One outage shows as several errors: the first one is logged.
                self._lost = self._lost or broker_fault(error)
                stay = f"events stay in {self.source.consumed}; trying again"
                self._broker.lasts(f"{self._lost}: {stay}", monotonic())
                self._ended.wait(AGAIN_SECONDS)
            except UNREADABLE as error:
                # kombu failed on a producer's message. The message comes again until the broker's delivery limit.
                log.error(
                    "a message could not be read off the wire (%s): taking one message at a time now",
                    type(error).__name__,
                )
                self._careful = self.source.prefetch
                self._ended.wait(AGAIN_SECONDS)
        self._outcomes.write(monotonic())

    def _work(self) -> None:
        """Take events over one connection. What it holds and has not settled goes back to the broker with it."""
        self._chunk, self._settle_at = [], 0.0
        source = self.source
        most = 1 if self._careful else source.prefetch
        with self.connect(most, lambda what: self._warned.lasts(what, monotonic())) as link:
            self._lost = ""
            self._broker.over("the broker is back: taking events")
            if not self._has_begun:
                self._has_begun = True
                log.info("takes events from the queue %s, up to %d at once", source.consumed, source.prefetch)
            while self._goes_on:
                self._chunk += link.receive(most - len(self._chunk), self.idle)
                if not self._careful and any(one.times_given_back >= SUSPICIOUS for one in self._chunk):
                    self._careful = source.prefetch
                # The number of messages in flight is fixed when consuming begins.
                if (most == 1) != bool(self._careful) and source.prefetch > 1:
                    return
                if monotonic() >= self._look_at:
                    self._look_at = monotonic() + LOOK_SECONDS
                    self._look_at_the_database()
                if not self.outdated:
                    self._settle(link)
                self._outcomes.write_if_due(monotonic())

    def _settle(self, link: Link) -> None:
        """Store the chunk, then its refused messages, put notices into the dead queue, and acknowledge. In this order.

        While the database or the broker cannot be reached, nothing is acknowledged: what was stored is recognised when
        it comes again.
        """
        if not self._chunk or monotonic() < self._settle_at:
            return
        chunk, messages = self._chunk, [delivery.entry for delivery in self._chunk]
        try:
            taken = take(self.inbox, messages, lambda message: self.source.event_in(message, self.inbox.digests))
            refused = [
                (message, receipt)
                for message, receipt in zip(messages, taken.receipts, strict=True)
                if receipt.outcome is Outcome.REFUSED
            ]
            stored = [
                refused_message(
                    message,
                    receipt.reason,
                    self.source.topology.queue,
                    problems=receipt.problems,
                    vouched=self.source.senders.vouch(message, self.inbox.digests),
                    columns=self.source.columns,
                )
                for message, receipt in refused
            ]
            kept = keep(self.inbox, stored)
        except sa.exc.OperationalError as error:
            self._database_lasts(reason(error), TAKING)
            self._settle_at = monotonic() + AGAIN_SECONDS
            return
        self._database_is_back(TAKING)
        for wake_up in taken.due:
            self.wake(wake_up)
        for id_, (_, receipt) in zip(kept, refused, strict=True):
            link.notify(id_, receipt.reason, self.clock())
        link.acknowledge(chunk)
        self._chunk = []
        self._careful = max(0, self._careful - len(chunk))
        self._outcomes.add([receipt.outcome for receipt in taken.receipts], monotonic())

    def _database_is_ready(self) -> bool:
        try:
            self.inbox.check_ready()
        except NotReady as error:
            self._database_lasts(error.why, LOOKING, what=error.what)
            return False
        self._database_is_back(LOOKING)
        return True

    def _database_lasts(self, why: str, step: str, *, what: str = "the database cannot be used") -> None:
        # The same words wherever it is met: the consumers share the outage, and other words would be a new line.
        what = f"bus idle, events stay in the broker: {what}"
        # With the queue: another queue's success says nothing of this one.
        self._database.lasts(what, monotonic(), why=why, step=f"{step} {self.source.consumed}")

    def _database_is_back(self, step: str) -> None:
        step = f"{step} {self.source.consumed}"
        self._database.over("the database is back: taking events", monotonic(), step=step)

    def _look_at_the_database(self) -> None:
        try:
            self.outdated = self.inbox.outdated() or ""
            why = "" if self.outdated else self.inbox.unwritable()
        except sa.exc.OperationalError as error:
            why = reason(error)
        if why:
            self._database_lasts(why, LOOKING)
        else:
            self._database_is_back(LOOKING)
