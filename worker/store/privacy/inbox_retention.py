"""Letting go of events that were taken: a chunk at a time, as often as one likes."""

from datetime import datetime

import sqlalchemy as sa

from worker.store.base.database import Database
from worker.store.base.encrypted_values import ERASED
from worker.store.tables import Inbox

CHUNK = 1000


class InboxRetention:
    def __init__(self, database: Database) -> None:
        self._database = database

    def erase_updates(self, *, since: datetime) -> int:
        """Erase what is kept of updates that were received until then: the next of them; returns how many."""
        # In the index's own words.
        kept = sa.select(Inbox.id).where(sa.text("length(encrypted) > 0"), Inbox.received_at <= since)
        ids = kept.order_by(Inbox.received_at).limit(CHUNK)
        with self._database.write() as connection:
            return connection.execute(sa.update(Inbox).where(Inbox.id.in_(ids)).values(encrypted=ERASED)).rowcount

    def remove(self, *, since: datetime) -> int:
        """Remove events that were received until then: the next of them; returns how many."""
        ids = sa.select(Inbox.id).where(Inbox.received_at <= since).order_by(Inbox.received_at).limit(CHUNK)
        with self._database.write() as connection:
            return connection.execute(sa.delete(Inbox).where(Inbox.id.in_(ids))).rowcount
