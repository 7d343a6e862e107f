"""Removes what was kept long enough: personal data, batches, events, webhooks. A chunk at a time, after the wake-ups.

Running it twice, or in several processes, does no harm: each chunk is checked again under its locks.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.domain.contact.address_cap import AddressCap
from worker.domain.model.audit import RETENTION, Act
from worker.domain.verification.session_updates import DIGESTS_KEPT
from worker.engine.outbox_targets import OutboxTargets
from worker.foundation.clock import Clock
from worker.store.audit.sealing import NotSigned, Seals
from worker.store.inbox.refused_events import RefusedEvents
from worker.store.messages.address_places import AddressPlaces
from worker.store.operators.report_rows import Facts
from worker.store.privacy.erasure import Erasing, Place
from worker.store.privacy.expired_links import ExpiredLinks
from worker.store.privacy.inbox_retention import InboxRetention
from worker.store.privacy.purge import Purging
from worker.store.webhooks.webhook_list import WebhookList

log = logging.getLogger(__name__)
# How long a process rests after it found nothing to remove: a look costs little, and nothing waits for it.
LOOK_EVERY = timedelta(minutes=10)
# How long we recognise an event that comes again. Producers, and the brokers after them, repeat within days. An event
# that is put back from a dead-letter queue, or replayed from a log, comes within weeks. Batches that are kept longer
# keep their events as long.
INBOX_KEPT = timedelta(days=90)
# An overtaken request arrives minutes after the update that overtook it: personal data is not kept longer for it.
UPDATES_KEPT = timedelta(days=30)
# A provider repeats for hours, or a day; a person looks at unmatched webhooks within weeks. After this we can no longer
# recognise duplicates by digest: see `session_updates.may_be_replay`.
WEBHOOKS_KEPT = DIGESTS_KEPT
# Late events name a session by its reference or its token's hash, which stay: the link is kept for people who look at
# what was sent.
LINKS_KEPT = timedelta(days=1)
# Events that were given up, or whose target is not configured any more, can be put back for so long.
UNPUBLISHED_FOR = timedelta(days=30)
PURGES = Act(RETENTION, "batch.purged")


class Retention:
    """Applies `[retention]`, one step at each sweep. One for each process: it remembers how far it has looked."""

    def __init__(
        self,
        clock: Clock,
        *,
        database_clock: Clock,
        personal: timedelta,
        batches: timedelta | None,
        audit: timedelta | None,
        erasing: Erasing,
        purging: Purging,
        seals: Seals,
        facts: Facts,
        inbox: InboxRetention,
        webhooks: WebhookList,
        outbox: OutboxTargets,
        refused: RefusedEvents,
        links: ExpiredLinks,
        places: AddressPlaces,
        address_cap: AddressCap | None,
    ) -> None:
        """`personal`, `batches`, `audit`: how long personal data, batches and the audit log are kept; None: for ever.

        What is old enough is decided by `database_clock`, the database's own time: nothing brings it back.
        """
        self._clock, self._database_clock = clock, database_clock
        self._personal, self._batches, self._audit = personal, batches, audit
        self._erasing, self._purging, self._facts = erasing, purging, facts
        self._seals = seals
        self._inbox, self._webhooks, self._outbox = inbox, webhooks, outbox
        self._refused, self._links, self._places = refused, links, places
        self._places_kept = address_cap.period if address_cap is not None else timedelta(0)
        self._one_at_a_time = threading.Lock()
        self._next: datetime | None = None
        self._erased_to: Place | None = None
        self._asked_to = 0
        # Each has its turn: erasing may walk through millions of customers, and webhooks must not wait for its end.
        self._turns: deque[Callable[[datetime], bool]] = deque(
            [
                self._erase,
                self._drop_links,
                self._purge,
                self._remove_what_is_old,
                self._remove_unpublished,
                self._remove_audited,
            ]
        )

    def step(self) -> None:
        """Remove one chunk, if there is one. Returns at once if another thread is in a step."""
        now = self._clock()
        if not self._one_at_a_time.acquire(blocking=False):
            return
        try:
            if self._next is not None and now < self._next:
                return
            if not self._take_turns():
                self._erasing.forget()
                self._next = now + LOOK_EVERY
        except sa.exc.DBAPIError as error:
            # Nothing was changed, and nothing waits for it: a failure here must not end the sweep.
            log.warning("retention: %s; trying again later", type(error.orig).__name__)
            self._next = now + LOOK_EVERY
        finally:
            self._one_at_a_time.release()

    def _take_turns(self) -> bool:
        """Whether one of them did something, or may have more to do. The next step begins with the one after it."""
        now = self._database_clock()
        for _ in range(len(self._turns)):
            turn = self._turns[0]
            self._turns.rotate(-1)
            if turn(now):
                return True
        return False

    def _erase(self, now: datetime) -> bool:
        """Whether there may be more customers to look at."""
        since = now - self._personal
        chunk = self._erasing.chunk(after=self._erased_to, since=since, now=now)
        self._erased_to = chunk.after
        if chunk.customers:
            log.info("retention: the personal data of %d customers was erased", chunk.customers)
        return chunk.after is not None

    def _drop_links(self, now: datetime) -> bool:
        """Whether there may be more sessions whose links have expired."""
        return self._links.drop(since=now - LINKS_KEPT) > 0

    def _remove_what_is_old(self, now: datetime) -> bool:
        """Whether any were removed, so that there may be more."""
        kept_for = max(INBOX_KEPT, self._batches or INBOX_KEPT)
        erased = self._inbox.erase_updates(since=now - UPDATES_KEPT)
        removed = self._inbox.remove(since=now - kept_for)
        webhooks = self._webhooks.remove(since=now - WEBHOOKS_KEPT)
        refused = self._refused.remove_due(now=now)
        places = self._places.remove(since=now - self._places_kept)
        return bool(erased or removed or webhooks or refused or places)

    def _remove_unpublished(self, now: datetime) -> bool:
        """Whether there may be more events that can no longer be published."""
        gone = self._outbox.forget_unpublished(before=now - UNPUBLISHED_FOR)
        if gone:
            log.info("retention: %d events were removed that no target accepted", gone)
        return gone > 0

    def _remove_audited(self, now: datetime) -> bool:
        """Whether there may be more entries of the audit log that are old enough."""
        if self._audit is None:
            return False
        try:
            gone = self._seals.remove(until=now - self._audit, now=now)
        except NotSigned:
            return False  # as of a head that is there and is not well signed; the step that seals says so
        if gone:
            log.info("retention: %d old entries of the audit log were removed", gone)
        return gone > 0

    def _purge(self, now: datetime) -> bool:
        """Whether there may be more batches to look at."""
        purging = self._purging
        # A batch that waits for a row which was put back must not delay the other batches.
        if any(purging.chunk(batch_id, now=now) for batch_id in purging.under_way()):
            return True
        if self._batches is None:
            return False
        since = now - self._batches
        batch_id = purging.candidate(after=self._asked_to, since=since)
        self._asked_to = batch_id or 0
        if batch_id is None:
            return False
        if purging.why_not(batch_id, since=since, now=now) is None:
            purging.begin(batch_id, self._facts.counts(batch_id), now=now, act=PURGES)
            log.info("retention: batch %d is being purged", batch_id)
        return True
