"""Says beside the database how far it has come, in the mark of its journal, and stops everything on an older copy. The
mark moves with its database alone: one that knows more than this database stays, until a person goes on here. So a look
at an old copy, or at another database, stops nothing elsewhere."""

import logging
import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import sqlalchemy as sa
from pydantic import AwareDatetime

from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.journal import LONGEST, Journal, form
from onboarding_worker.core.database.tables import Audit, AuditHead, Timer
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.private_files import replacing, to_append
from onboarding_worker.lists.decisions.store.emergency_stop import ACCEPTED, JOURNAL, EmergencyStops
from onboarding_worker.reporting.store.processes import set_timer

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
MARK = "mark"
_THEN = f"{hint('customer', '`onboard customer reapply`, then ')}look at what was sent"
OLDER = f"the database is an older copy than its journal knows: {_THEN}"
UNKNOWN = f"the journal's mark is gone or damaged, so the database may be an older copy: {_THEN}"
_READS_ONLY = {"42501", "25006", sqlite3.SQLITE_READONLY}  # no right to write it, and a server that takes no writes
_HEAD = sa.select(AuditHead.__table__)
_TIMES = sa.select(Timer.name, Timer.at).where(Timer.name.in_([MARK, ACCEPTED]))
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Mark:
    """How far the database had come: its audit log's head, and the time of the last mark in the database itself.
    `length`: the most bytes that the journal has had."""

    number: int
    hash: str
    at: AwareDatetime
    length: int


def mark_of(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.mark")


def last_mark(journal: Path) -> Mark | None:
    """None: there is none, or it is damaged. Raises OSError."""
    try:
        mark: Mark = form(Mark).validate_json(mark_of(journal).read_bytes()[:LONGEST])
    except (FileNotFoundError, ValueError):
        return None
    return mark


def why_lost(journal: Path) -> str:
    """Why notes of the journal are lost, in words, and what to do; "": all are there, as far as its mark knows."""
    with suppress(OSError):
        mark, name = last_mark(journal), journal.name
        if mark is not None and (_size(journal) or 0) < mark.length:
            return f"{name} is gone or shorter than it was, so erasures are lost: put it back, or rm {name}.mark"
    return ""


def _size(file: Path) -> int | None:
    """None: it is not there. Raises OSError where the system cannot say, and `Path.exists` of 3.14 does not."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None


class _Found(NamedTuple):
    """`why`: as `Restored.why_older`. `about`: the time of the mark. `is_new`: there are neither notes nor a mark."""

    why: str
    about: datetime
    is_new: bool


class Restored:
    """One for each process: it remembers when it has marked."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database, self._path = database, journal.path
        self._marked_at: datetime | None = None
        self.found = ""  # why this process has stopped everything
        self.lost = ""  # what it has said at its start of lost notes

    def begin(self, *, now: datetime) -> None:
        """At a start: say what is lost, and stop everything on an older copy; where nothing can be written, say so."""
        found = self._look()
        gone = found.is_new and found.about > NEVER
        self.lost = f"{self._path.name} is gone: put it back" if gone else why_lost(self._path)
        if self.lost:
            log.error("the journal is not whole: %s", self.lost)
        try:
            self._stop(found, now)
            if found.is_new:
                self._mark(now)  # so that a mark that is not there was lost
        except sa.exc.OperationalError as error:
            if not {getattr(error.orig, name, None) for name in ("sqlstate", "sqlite_errorcode")} & _READS_ONLY:
                raise
            if found.why:
                log.error("nothing can be written, so this stops nothing: %s", found.why)

    def mark(self, *, now: datetime, at_once: bool = False) -> None:
        """Say beside the database how far it has come, each minute or at once; stop everything if it has gone back."""
        due = self._marked_at is None or not self._marked_at <= now < self._marked_at + EVERY
        if at_once or due:
            found = self._look()
            self._stop(found, now)
            if not found.why:
                self._mark(now)

    def why_older(self) -> str:
        """Why the database is an older copy, or may be, in words; "": it is not, or a person has gone on since."""
        return self._look().why

    def try_files(self) -> None:
        """Raises OSError if the journal, or a mark beside it, cannot be written."""
        os.close(to_append(self._path))
        TemporaryFile(dir=self._path.parent).close()

    def _stop(self, found: _Found, now: datetime) -> None:
        """Stop everything on an older copy: what was sent since would be sent again. An earlier stop is named. It stays
        stopped until a person goes on, whose word counts for all marks from before."""
        stops = EmergencyStops(self._database)
        there = stops.find() if found.why else None
        before = f"; before, {there.in_words}" if there is not None and there.by != JOURNAL else ""
        if found.why and (there is None or before or there.at < found.about):
            # Not earlier than the mark, whatever the clock says: so the next start finds that it is about this mark.
            stops.stop(by=JOURNAL, reason=found.why + before, now=max(now, found.about), anew=True)
            self.found = found.why
            log.error("everything is stopped: %s", found.why)

    def _mark(self, now: datetime) -> None:
        self._marked_at, last = now, None
        with suppress(OSError):
            last = last_mark(self._path)
        try:
            # The file is named last, and never ahead of its database; which says that it has one only if it is written.
            with replacing(mark_of(self._path)) as stream, self._database.write() as connection:
                os.close(to_append(self._path))  # one without notes is there too
                connection.execute(set_timer(connection, MARK, now=now, where=Timer.at < now))
                at = connection.execute(_TIMES.where(Timer.name == MARK)).one().at
                head = connection.execute(_HEAD).one_or_none()
                number, digest = (head.number, head.hash) if head is not None else (0, "")
                length = max(_size(self._path) or 0, last.length if last is not None else 0)
                stream.write(form(Mark).dump_json(Mark(number, digest, at, length)).decode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            log.error("the journal's mark cannot be written, so a restore is not noticed: %s", error.strerror)

    def _look(self) -> _Found:
        try:
            mark = last_mark(self._path)
            is_new = _size(mark_of(self._path)) is None and not _size(self._path)
        except OSError as error:
            log.warning("the mark cannot be read, so it is not known whether this is an older copy: %s", error.strerror)
            return _Found("", NEVER, is_new=False)
        with self._database.read() as connection:
            times: dict[str, datetime] = {row.name: row.at for row in fetch(connection, _TIMES)}
            head = connection.execute(_HEAD).one_or_none()
            number = mark.number if mark is not None else 0
            entry = connection.execute(sa.select(Audit.hash).where(Audit.number == number)).scalar()
        about = marked = times.get(MARK, NEVER)
        if mark is None:
            older = marked > NEVER and not is_new  # a database that was never marked is as new as its journal
        else:
            about = mark.at
            older = marked < about or head is None or head.number < number
            if head is not None and number > head.removed_to:  # retention removes entries: then the time alone decides
                older = older or entry != mark.hash
        is_accepted = times.get(ACCEPTED, NEVER) >= about
        why = OLDER if mark is not None else UNKNOWN
        return _Found(why if older and not is_accepted else "", about, is_new)
