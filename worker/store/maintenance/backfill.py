"""What a migration has left to do with rows that were there before it: in lots, by the sweep, once.

Revision 0005 gave sessions the time at which to look whether they ended unused. Those that were opened before it are
given theirs here, where their links still open; whoever finished with an older one did so when nobody could tell us.
"""

import logging
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import sqlalchemy as sa

from worker.domain.model.states import LIVE_SESSIONS
from worker.foundation.ids import first_of
from worker.store.base import bulk as lots
from worker.store.base.database import Database, fetch, outlive_deadlocks
from worker.store.onboarding.sessions import check_at
from worker.store.tables import Job, Leftover, SessionRow

log = logging.getLogger(__name__)
SESSIONS = "session.check_at"
LOT = 2000
# By then the workers of the release before, which know nothing of the column, have written what they had in flight.
BESIDE_OTHERS = timedelta(minutes=10)
LONGEST_LIFE = timedelta(days=30)  # of a link, by what any provider offers


class CatchingUp:
    """One for each process: once nothing is left, it does not ask again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._done = False

    def step(self, *, now: datetime) -> int:
        """Do the next lot, if it is time and somebody else is not at it; how many sessions were given their time."""
        if self._done:
            return 0
        with self._database.read() as connection:
            left = fetch(connection, sa.select(Leftover.since).where(Leftover.name == SESSIONS))
        if not left:
            self._done = True
            return 0
        return outlive_deadlocks(partial(self._lot, now=now)) if now >= left[0].since + BESIDE_OTHERS else 0

    def _lot(self, *, now: datetime) -> int:
        this = Leftover.name == SESSIONS
        with self._database.write() as connection:
            query = sa.select(Leftover.since, Leftover.after).where(this).with_for_update(skip_locked=True)
            left = connection.execute(query).first()
            if left is None:
                return 0
            after = left.after or first_of(left.since - LONGEST_LIFE)
            until = first_of(left.since + BESIDE_OTHERS)
            rows = fetch(connection, _NEXT, {"after": after, "until": until, "most": LOT})
            given = [
                {"session_id": row.id, "at": at}
                for row in rows
                if row.check_at is None and row.state in LIVE_SESSIONS and row.expires_at > now
                if (at := check_at(row.channel, row.expires_at)) is not None
            ]
            _GIVE.run(connection, given)
            self._go_on(connection, rows[-1].id if len(rows) == LOT else None)
        return len(given)

    def _go_on(self, connection: sa.Connection, after: UUID | None) -> None:
        this = Leftover.name == SESSIONS
        if after is not None:
            connection.execute(sa.update(Leftover).where(this).values(after=after))
            return
        connection.execute(sa.delete(Leftover).where(this))
        log.info("all sessions that were opened before the upgrade, and still open, are looked at in their time")


_NEXT = (
    sa.select(SessionRow.id, SessionRow.state, SessionRow.expires_at, SessionRow.check_at, Job.channel)
    .join(Job, Job.id == SessionRow.job_id)
    .where(SessionRow.id > sa.bindparam("after"), SessionRow.id < sa.bindparam("until"))
    .order_by(SessionRow.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
)
_GIVE = lots.Change(SessionRow.id, {"check_at": sa.bindparam("at")}, SessionRow.check_at.is_(None), by="session_id")
