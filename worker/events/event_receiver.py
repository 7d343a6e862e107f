"""Takes events in: judges each event, stores it and applies it, all in one transaction.

The bus, HTTP and the Python API share this module. docs/reference/events.md describes what follows from which event.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.model.incoming import Event, EventReceipt, Outcome, Received
from worker.events.event_validation import Judging
from worker.events.store.inbox import Inboxes
from worker.events.store.incoming_events import Arrival
from worker.lists.importing.intake import Intake
from worker.lists.traces import Span

log = logging.getLogger(__name__)


class Receiver:
    """Takes events in by one configuration. Safe for threads. Make it after a fork, never before."""

    def __init__(self, intake: Intake, inboxes: Inboxes, keyring: Keyring) -> None:
        # The order of events decides which one counts: a machine that was paused with its clock must not be ahead of
        # the others, nor behind them.
        self._clock, self._inboxes = intake.database_clock, inboxes
        self._judging = Judging(intake, keyring)
        self._traces = intake.traces()

    def receive(self, events: Sequence[Event]) -> Received:
        """Take events in one transaction, and commit it. Returns a receipt for each event, in their order.

        An event that the database cannot store is refused, and does not stop the other events: then each event gets
        a transaction of its own. Raises sqlalchemy.exc.OperationalError during an outage of the database: then no
        event was taken, or the events were taken and are duplicates, with the same receipts, when they come again.
        """
        now = self._clock()
        judged, spans = self._judge(events, now)
        received = self._received(judged, now)
        self._end(spans, received)
        return received

    def _received(self, judged: Sequence[Arrival | EventReceipt], now: datetime) -> Received:
        try:
            return self._take(judged, now)
        except sa.exc.OperationalError:
            raise
        except (sa.exc.StatementError, CannotDecrypt):
            log.warning("a chunk of %d events was not taken: trying each event alone", len(judged))
        alone = [self._alone(one, now) for one in judged]
        due = frozenset(name for one in alone for name in one.due)
        return Received([one.receipts[0] for one in alone], due)

    def receive_within(self, connection: sa.Connection, events: Sequence[Event]) -> Received:
        """Take events in the caller's transaction: they are committed or rolled back with it.

        Raises what the database raises; the transaction cannot be used any more then.
        """
        now = self._clock()
        judged, spans = self._judge(events, now)
        received = self._take(judged, now, within=connection)
        self._end(spans, received)
        return received

    def _judge(self, events: Sequence[Event], now: datetime) -> tuple[list[Arrival | EventReceipt], list[Span | None]]:
        """The events as they are taken in, or why they are refused; and the spans of those that are traced."""
        judged = [self._judging.judge(event, now=now) for event in events]
        if not self._traces.on:
            return judged, []
        spans = [
            self._traces.of_event(event.traceparent, now, {"event": event.kind.value, "sender": event.sender.name})
            for event in events
        ]
        for place, (one, span) in enumerate(zip(judged, spans, strict=True)):
            if span is not None and isinstance(one, Arrival):
                judged[place] = replace(one, traceparent=span.traceparent)
        return judged, spans

    def _end(self, spans: Sequence[Span | None], received: Received) -> None:
        if not any(spans):
            return
        now = self._clock()
        for span, receipt in zip(spans, received.receipts, strict=True):
            if span is not None:
                refused = receipt.outcome is Outcome.REFUSED
                job = {} if receipt.job_id is None else {"job": receipt.job_id}
                span.end(now, receipt.outcome.value, failed=refused, facts=job)

    def _alone(self, one: Arrival | EventReceipt, now: datetime) -> Received:
        try:
            return self._take([one], now)
        except sa.exc.OperationalError:
            raise
        except (sa.exc.StatementError, CannotDecrypt) as error:
            # A database's message about a value may hold the value.
            why = error.for_logs if isinstance(error, CannotDecrypt) else type(error).__name__
            log.error("an event is refused because it cannot be stored: %s", why)
            return Received([EventReceipt(Outcome.REFUSED, reason=f"it cannot be stored ({type(error).__name__})")])

    def _take(
        self, judged: Sequence[Arrival | EventReceipt], now: datetime, within: sa.Connection | None = None
    ) -> Received:
        arrivals = [one for one in judged if isinstance(one, Arrival)]
        taken = Received([])
        if arrivals:
            taken = self._inboxes.take(arrivals, now=now, within=within)
        for sender, count in Counter(taken.beyond).items():
            log.warning("events of %s: %d named a customer that it does not reach, and changed nothing", sender, count)
        warned = Counter((one.sender.name, warning) for one in arrivals for warning in one.warnings)
        for (sender, warning), count in warned.items():
            log.warning("events of %s: %d with a warning: %s", sender, count, warning.named)
        receipts = iter(taken.receipts)
        return Received([one if isinstance(one, EventReceipt) else next(receipts) for one in judged], taken.due)
