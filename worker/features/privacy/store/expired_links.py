"""Drops the tokens and links of sessions that have expired: they open nothing any more, and are still secrets.
Erases and removes old events of the inbox, and places of addresses. In chunks; safe to repeat."""

from datetime import datetime

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.encrypted_values import ERASED
from worker.core.database.tables import AddressPlace, Inbox, InvitationRow, SessionRow
from worker.core.model.states import OPEN_INVITATIONS

SESSIONS_AT_ONCE = 500
# A look-up of an open message may search for its link.
_NEEDED = sa.exists().where(InvitationRow.session_id == SessionRow.id, InvitationRow.state.in_(OPEN_INVITATIONS))

EVENTS_AT_ONCE = 1000
PLACES_AT_ONCE = 5000


class ExpiredLinks:
    def __init__(self, database: Database) -> None:
        self._database = database

    def drop(self, *, since: datetime) -> int:
        """Drop those of the next sessions that expired until `since`; returns how many.

        References and the hash of a token stay: late events of the provider name the session by them.
        """
        # Spelled exactly as in the index.
        expired = sa.select(SessionRow.id).where(
            sa.text("length(encrypted) > 0"), SessionRow.expires_at <= since, ~_NEEDED
        )
        ids = (
            expired.order_by(SessionRow.expires_at)
            .limit(SESSIONS_AT_ONCE)
            .with_for_update(skip_locked=True, of=SessionRow)
        )
        with self._database.write() as connection:
            found = list(connection.execute(ids).scalars())
            if found:
                connection.execute(sa.update(SessionRow).where(SessionRow.id.in_(found)).values(encrypted=ERASED))
        return len(found)


class InboxRetention:
    def __init__(self, database: Database) -> None:
        self._database = database

    def erase_updates(self, *, since: datetime) -> int:
        """Erase the stored columns of the next updates that were received until `since`; returns how many."""
        # Spelled exactly as in the index.
        kept = sa.select(Inbox.id).where(sa.text("length(encrypted) > 0"), Inbox.received_at <= since)
        ids = kept.order_by(Inbox.received_at).limit(EVENTS_AT_ONCE)
        with self._database.write() as connection:
            return connection.execute(sa.update(Inbox).where(Inbox.id.in_(ids)).values(encrypted=ERASED)).rowcount

    def remove(self, *, since: datetime) -> int:
        """Remove the next events that were received until `since`; returns how many."""
        ids = sa.select(Inbox.id).where(Inbox.received_at <= since).order_by(Inbox.received_at).limit(EVENTS_AT_ONCE)
        with self._database.write() as connection:
            return connection.execute(sa.delete(Inbox).where(Inbox.id.in_(ids))).rowcount


def remove_places(database: Database, *, since: datetime) -> int:
    """Remove the next places that were taken until `since`; returns how many."""
    old = sa.select(AddressPlace.digest, AddressPlace.number).where(AddressPlace.taken_at <= since)
    keys = old.order_by(AddressPlace.taken_at).limit(PLACES_AT_ONCE)
    gone = sa.delete(AddressPlace).where(sa.tuple_(AddressPlace.digest, AddressPlace.number).in_(keys))
    with database.write() as connection:
        return connection.execute(gone).rowcount
