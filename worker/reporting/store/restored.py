"""Finds out whether the database is an older copy of itself, by the mark beside it, and stops everything if it is.

A mark is the audit log's head, and a time that the same transaction has written into the database: what is done between
two entries of the log, such as sending, moves that time alone. It is read before the database is, so what it says is
committed there.
"""

import logging
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.journal import Journal, Mark
from worker.core.database.tables import Audit, AuditHead, Timer
from worker.core.features import hint
from worker.core.limits.store.emergency_stop import EmergencyStops
from worker.reporting.store.processes import MARK, set_timer

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
_REAPPLY = hint("customer", "`onboard customer reapply`, then ")
OLDER = f"the database is an older copy than its journal knows: {_REAPPLY}look at what was sent"
_HEAD = sa.select(AuditHead.__table__)
_MARKED = sa.select(Timer.at).where(Timer.name == MARK)


class Restored:
    """One for each process: it remembers when it has marked."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database, self._journal = database, journal
        self._marked_at: datetime | None = None

    def mark(self, *, now: datetime, at_once: bool = False) -> None:
        """Say beside the database how far it has come, each minute or at once; stop everything if it has gone back."""
        if at_once or self._marked_at is None or not self._marked_at <= now < self._marked_at + EVERY:
            self.stop_if_older(now=now)
            self._mark(now)

    def stop_if_older(self, *, now: datetime) -> None:
        """Stop everything if the database is older than its mark: what was sent since would be sent again.

        The mark then moves to this database: it stops once.
        """
        mark = self._journal.last_mark()
        if mark is not None and self._is_older(mark):
            EmergencyStops(self._database).stop(by="the journal", reason=OLDER, now=now)
            log.error("everything is stopped: %s", OLDER)
            self._mark(now)

    def _mark(self, now: datetime) -> None:
        self._marked_at = now
        with self._database.write() as connection:
            connection.execute(set_timer(connection, MARK, now=now, where=Timer.at < now))
            at = connection.execute(_MARKED).scalar_one()
            head = connection.execute(_HEAD).one_or_none()
        try:
            self._journal.mark(Mark(head.number, head.hash, at) if head is not None else Mark(0, "", at))
        except OSError as error:
            log.error("the journal's mark cannot be written, so a restore is not noticed: %s", error.strerror)

    def _is_older(self, mark: Mark) -> bool:
        with self._database.read() as connection:
            at = connection.execute(_MARKED).scalar()
            head = connection.execute(_HEAD).one_or_none()
            entry = connection.execute(sa.select(Audit.hash).where(Audit.number == mark.number)).scalar()
        if at is None or at < mark.at or head is None or head.number < mark.number:
            return True
        # Retention removes entries: then the time alone decides.
        return entry != mark.hash and mark.number > head.removed_to
