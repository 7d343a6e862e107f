"""For which customers of a list working it makes a call now: for `check`, which changes nothing and locks nothing."""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.job_ids import Key, among_keys, rows_of
from worker.core.database.tables import Batch, Job, SessionRow
from worker.core.model.states import UNISSUED_JOBS
from worker.core.work.store.sessions import IS_LIVE
from worker.lists.known_customers import KnownRule
from worker.lists.store.admission import following, left_out

_OWN = sa.select(Job.customer_id, Job.purpose, Job.state).where(
    *among_keys(Job), Job.batch_id == sa.bindparam("batch"), Job.leader_id.is_(None)
)
_WITH_LINK = sa.select(SessionRow.customer_id, SessionRow.purpose).where(
    *among_keys(SessionRow), IS_LIVE, SessionRow.expires_at > sa.bindparam("now")
)


class CallsNow:
    """The calls that working one list makes before any link expires. Asked for chunks of its customers."""

    def __init__(self, database: Database, *, digest: str, rule: KnownRule) -> None:
        """`digest` is the list's: a list that was imported before continues with its own batch. `rule`: what becomes
        of known customers. Its own `batch`: None where it was not imported yet."""
        self._database, self._rule = database, rule
        with database.read() as connection:
            newest = sa.select(Batch.id).where(Batch.digest == digest, Batch.cancelled_at.is_(None))
            self.batch: int | None = connection.execute(newest.order_by(Batch.generation.desc()).limit(1)).scalar()

    def of(self, keys: Collection[Key], *, now: datetime) -> set[Key]:
        """The customers, with their purposes, that a session is asked for.

        Not for customers who have finished, who have a live session, who are another batch's, or whose row in this
        list's own batch has had its call.
        """
        with self._database.read() as connection:
            own = {}
            if self.batch is not None:
                own = {
                    (row.customer_id, row.purpose): row.state
                    for row in rows_of(connection, _OWN, keys, batch=self.batch)
                }
            others = set(keys) - own.keys()
            followers = set(following(connection, others, now=now, lock=False, rule=self._rule)) if others else set()
            followers |= set(left_out(connection, others - followers, rule=self._rule))
            waiting = {key for key, state in own.items() if state in UNISSUED_JOBS}
            asked = waiting | (others - followers)
            linked = {(row.customer_id, row.purpose) for row in rows_of(connection, _WITH_LINK, asked, now=now)}
        return asked - linked
