"""Who is logged in to the dashboard. All web processes share the rows."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import LogIn

AWAY = timedelta(hours=1)  # without a request of the person: then the person must log in again
LONGEST = timedelta(hours=12)
# The last request is written down at most so often: most requests write nothing.
SEEN_EVERY = timedelta(minutes=1)


class LogIns:
    """`secret` is the random text in the person's cookie; only its hash is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, secret: str, *, name: str, entry: str, now: datetime) -> None:
        """Add one, and remove those that are over."""
        over = sa.or_(LogIn.seen_at < now - AWAY, LogIn.started_at < now - LONGEST)
        values = {"digest": _digest(secret), "name": name, "entry": entry, "started_at": now, "seen_at": now}
        with self._database.write() as connection:
            connection.execute(sa.delete(LogIn).where(over))
            connection.execute(sa.insert(LogIn).values(values))

    def find(self, secret: str, *, now: datetime) -> Any:
        """The `name` and the `entry` of this cookie's log-in; None if there is none, or it is over."""
        lasts = (LogIn.seen_at >= now - AWAY, LogIn.started_at >= now - LONGEST)
        query = sa.select(LogIn.name, LogIn.entry).where(LogIn.digest == _digest(secret), *lasts)
        return self._database.first(query)

    def seen(self, secret: str, *, now: datetime) -> None:
        """The person has just asked for something."""
        seen = sa.update(LogIn).where(LogIn.digest == _digest(secret), LogIn.seen_at < now - SEEN_EVERY)
        self._database.change(seen.values(seen_at=now))

    def end(self, secret: str) -> None:
        self._database.change(sa.delete(LogIn).where(LogIn.digest == _digest(secret)))


def newest_entry(connection: sa.Connection, name: str) -> str | None:
    """The `entry` of this person's newest log-in; None if there is none left."""
    query = sa.select(LogIn.entry).where(LogIn.name == name).order_by(LogIn.started_at.desc()).limit(1)
    newest: str | None = connection.execute(query).scalar()
    return newest


def _digest(secret: str) -> str:
    """A plain hash is enough: nobody guesses 256 random bits."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
