"""Takes events in: judges each event, stores it and applies it, all in one transaction.

The bus, HTTP and the Python API share this module. docs/events.md describes what follows from which event.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.domain.events.incoming import Event, Outcome, Receipt, Received
from worker.engine.intake import Intake
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.inbound.event_validation import Judging
from worker.store.inbox.inbox import Inboxes
from worker.store.inbox.incoming_events import Arrival

log = logging.getLogger(__name__)


class Receiver:
    """Takes events in by one configuration. Safe for threads. Make it after a fork, never before."""

    def __init__(self, intake: Intake, inboxes: Inboxes, keyring: Keyring) -> None:
        # The order of events decides which one counts: a machine that was paused with its clock must not be ahead of
        # the others, nor behind them.
        self._clock, self._inboxes = intake.database_clock, inboxes
        self._judging = Judging(intake, keyring)

    def receive(self, events: Sequence[Event]) -> Received:
        """Take events in one transaction, and commit it. Returns a receipt for each event, in their order.

        An event that the database cannot store is refused, and does not stop the other events: then each event gets
        a transaction of its own. Raises sqlalchemy.exc.OperationalError during an outage of the database: then no
        event was taken, or the events were taken and are duplicates, with the same receipts, when they come again.
        """
        now = self._clock()
        judged = self._judge(events, now)
        try:
            return self._take(judged, now)
        except sa.exc.OperationalError:
            raise
        except (sa.exc.StatementError, CannotDecrypt):
            log.warning("a chunk of %d events was not taken: trying each event alone", len(events))
        alone = [self._alone(one, now) for one in judged]
        due = frozenset(name for one in alone for name in one.due)
        return Received([one.receipts[0] for one in alone], due)

    def receive_within(self, connection: sa.Connection, events: Sequence[Event]) -> Received:
        """Take events in the caller's transaction: they are committed or rolled back with it.

        Raises what the database raises; the transaction cannot be used any more then.
        """
        now = self._clock()
        return self._take(self._judge(events, now), now, within=connection)

    def _judge(self, events: Sequence[Event], now: datetime) -> list[Arrival | Receipt]:
        return [self._judging.judge(event, now=now) for event in events]

    def _alone(self, one: Arrival | Receipt, now: datetime) -> Received:
        try:
            return self._take([one], now)
        except sa.exc.OperationalError:
            raise
        except (sa.exc.StatementError, CannotDecrypt) as error:
            # A database's message about a value may hold the value. CannotDecrypt names a row and a key's id.
            why = str(error) if isinstance(error, CannotDecrypt) else type(error).__name__
            log.error("an event is refused because it cannot be stored: %s", why)
            return Received([Receipt(Outcome.REFUSED, reason=f"it cannot be stored ({type(error).__name__})")])

    def _take(
        self, judged: Sequence[Arrival | Receipt], now: datetime, within: sa.Connection | None = None
    ) -> Received:
        arrivals = [one for one in judged if isinstance(one, Arrival)]
        taken = Received([])
        if arrivals:
            taken = self._inboxes.take(arrivals, now=now, within=within)
        for sender, count in Counter(taken.beyond).items():
            log.warning("events of %s: %d named a customer that it does not reach, and changed nothing", sender, count)
        receipts = iter(taken.receipts)
        return Received([one if isinstance(one, Receipt) else next(receipts) for one in judged], taken.due)
