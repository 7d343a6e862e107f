"""Removes what was kept long enough: personal data, batches, events, webhooks. A chunk at a time, after the wake-ups.
Running it twice, or in several processes, does no harm: each chunk is checked again under its locks."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import RETENTION, Act
from onboarding_worker.features.audit.store.sealing import NotSigned, seals_of
from onboarding_worker.features.privacy.store.removals import Place, Purging, drop_links, erase_next, remove_old
from onboarding_worker.reporting.store.look import Looked
from onboarding_worker.web.webhooks.session_chain import DIGESTS_KEPT
from onboarding_worker.wiring.container import Parts

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
# recognise duplicates by digest: see `session_chain.may_be_replay`.
WEBHOOKS_KEPT = DIGESTS_KEPT
# Late events name a session by its reference or its token's hash, which stay: the link is kept for people who look at
# what was sent.
LINKS_KEPT = timedelta(days=1)
PURGES = Act(RETENTION, "batch.purged")


class Retention:
    """Applies `[retention]`, one step at each sweep. One for each process: it remembers how far it has looked."""

    def __init__(self, parts: Parts) -> None:
        self._kept, self._stores = parts.settings.retention, parts
        self._purging = Purging(parts.database)
        address_cap = parts.settings.invitations.messages_per_address
        self._places_kept = address_cap.period if address_cap is not None else timedelta(0)
        self._one_at_a_time = threading.Lock()
        self._next: datetime | None = None
        self._erased_to: Place | None = None
        self._asked_to = 0
        # Each has its turn: erasing may walk through millions of customers, and webhooks must not wait for its end.
        # It says whether it did something, or may have more to do.
        self._turns: deque[Callable[[datetime], bool]] = deque(
            [
                self._erase,
                lambda now: drop_links(parts.database, since=now - LINKS_KEPT) > 0,
                self._purge,
                self._remove_what_is_old,
                self._remove_audited,
            ]
        )

    def step(self) -> None:
        """Remove one chunk, if there is one. Returns at once if another thread is in a step."""
        now = self._stores.clock()
        if not self._one_at_a_time.acquire(blocking=False):
            return
        try:
            if self._next is not None and now < self._next:
                return
            # What is old enough is decided by the database's own time: nothing brings it back.
            database_now = self._stores.database_clock()
            for _ in range(len(self._turns)):
                self._turns.rotate(-1)  # the next step begins with the one after it
                if self._turns[-1](database_now):
                    return
            self._stores.database.forget_erased()
            self._next = now + LOOK_EVERY
        except sa.exc.DBAPIError as error:
            # Nothing was changed, and nothing waits for it: a failure here must not end the sweep.
            log.warning("retention: %s; trying again later", type(error.orig).__name__)
            self._next = now + LOOK_EVERY
        finally:
            self._one_at_a_time.release()

    def _erase(self, now: datetime) -> bool:
        """Whether there may be more customers to look at."""
        since = now - self._kept.personal
        number, self._erased_to = erase_next(self._stores.database, after=self._erased_to, since=since, now=now)
        if number:
            log.info("retention: the personal data of %d customers was erased", number)
        return self._erased_to is not None

    def _remove_what_is_old(self, now: datetime) -> bool:
        """Whether any were removed, so that there may be more."""
        stores = self._stores
        kept_for = max(INBOX_KEPT, self._kept.batches or INBOX_KEPT)
        updates, places = now - UPDATES_KEPT, now - self._places_kept
        removed = remove_old(stores.database, updates=updates, events=now - kept_for, places=places)
        webhooks = stores.webhook_list.remove(since=now - WEBHOOKS_KEPT)
        refused = stores.refused_events.remove_due(now=now)
        return bool(removed or webhooks or refused)

    def _remove_audited(self, now: datetime) -> bool:
        """Whether there may be more entries of the audit log that are old enough."""
        if self._kept.audit is None:
            return False
        try:
            gone = self._stores.once(seals_of).remove(until=now - self._kept.audit, now=now)
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
        if self._kept.batches is None:
            return False
        since = now - self._kept.batches
        batch_id = purging.candidate(after=self._asked_to, since=since)
        self._asked_to = batch_id or 0
        if batch_id is None:
            return False
        if purging.why_not(batch_id, since=since, now=now) is None:
            purging.begin(batch_id, self._stores.facts.counts(batch_id), now=now, act=PURGES)
            log.info("retention: batch %d is being purged", batch_id)
        return True


def swept(parts: Parts) -> Callable[[Looked], None]:
    retention = Retention(parts)
    return lambda _looked: retention.step()
