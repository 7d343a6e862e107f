"""Erases and removes old events of the inbox, in chunks; safe to repeat."""

from datetime import datetime

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.encrypted_values import ERASED
from worker.core.database.tables import Inbox

CHUNK = 1000


class InboxRetention:
    def __init__(self, database: Database) -> None:
        self._database = database

    def erase_updates(self, *, since: datetime) -> int:
        """Erase the stored columns of the next updates that were received until `since`; returns how many."""
        # Spelled exactly as in the index.
        kept = sa.select(Inbox.id).where(sa.text("length(encrypted) > 0"), Inbox.received_at <= since)
        ids = kept.order_by(Inbox.received_at).limit(CHUNK)
        with self._database.write() as connection:
            return connection.execute(sa.update(Inbox).where(Inbox.id.in_(ids)).values(encrypted=ERASED)).rowcount

    def remove(self, *, since: datetime) -> int:
        """Remove the next events that were received until `since`; returns how many."""
        ids = sa.select(Inbox.id).where(Inbox.received_at <= since).order_by(Inbox.received_at).limit(CHUNK)
        with self._database.write() as connection:
            return connection.execute(sa.delete(Inbox).where(Inbox.id.in_(ids))).rowcount
