"""Which process works on a list that waits: its row has `owner`, `until` and `tries`. A process takes it for a time,
and keeps it while the work takes long. After a kill another process takes it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import Clock, monotonic

MOST_TRIES = 3  # one that ends each process that takes it is refused then
SHORTEST = timedelta(seconds=30)  # a slow chunk of an import is through by then
FREE: dict[str, Any] = {"until": None, "owner": ""}
ListT = TypeVar("ListT")


class Ending(Exception):
    """This process ends, or has lost the list: it lets go of it."""


class TakenLists(Generic[ListT]):
    """`row`: their table. `which`: the row of a list, and what must still be so of it."""

    def __init__(self, database: Database, row: Any, which: Callable[[ListT], tuple[Any, ...]]) -> None:
        self._database, self._row, self._which = database, row, which

    def keeping(
        self, one: ListT, *, owner: str, lease: timedelta, clock: Clock, stopping: Callable[[], bool]
    ) -> Callable[[], None]:
        """What the work calls between two rows, to keep the list; it raises Ending. `clock`: the database's."""
        kept_at = monotonic()

        def keep() -> None:
            nonlocal kept_at
            if not stopping() and monotonic() - kept_at < lease.total_seconds() / 4:
                return
            kept_at = monotonic()
            if stopping() or not self._write(one, owner, until=lease_of(lease, clock())):
                raise Ending

        return keep

    def release(self, one: ListT, *, owner: str) -> None:
        """Give it back at once: this process ends. That was no failed try."""
        tries = sa.case((self._row.tries > 0, self._row.tries - 1), else_=0)
        self._write(one, owner, tries=tries, **FREE)

    def _taken(self, one: ListT, *still: Any, now: datetime, **values: Any) -> bool:
        return self._changed(*self._which(one), *still, self._not_taken(now), **values)

    def _write(self, one: ListT, owned_by: str, **values: Any) -> bool:
        """False: another process has taken it meanwhile."""
        return self._changed(*self._which(one), self._row.owner == owned_by, **values)

    def _not_taken(self, now: datetime) -> sa.ColumnElement[bool]:
        return sa.or_(self._row.owner == "", self._row.until.is_(None), self._row.until <= now)

    def _changed(self, *where: Any, **values: Any) -> bool:
        return self._database.change(sa.update(self._row).where(*where).values(**values)) > 0


def lease_of(lease: timedelta, now: datetime) -> datetime:
    """Until when a process keeps a list that it has taken."""
    return now + max(lease, SHORTEST)
