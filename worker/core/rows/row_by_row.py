"""One bad row stops only itself: it is held, with the kind of the exception that it raises. So are rows whose link may
be for another person. What becomes of them, a person decides (`lists.decisions.store.settlement`).

A chunk of rows is worked in one transaction. If that raises, the rows that raise by themselves are found, in
transactions that are rolled back, and are set aside (held, postponed: the caller says). Then the chunk is worked again.

If every row of a large chunk raises, the fault is this software's or the configuration's: no row is set aside then.
"""

import logging
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database, known
from onboarding_worker.core.database.facts import JobsStopped, happened
from onboarding_worker.core.database.fast.unanswered import settle
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.types import UnknownWord
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import LIVE_SESSIONS, InvitationState, JobState, SessionState
from onboarding_worker.core.rows.message_rows import set_job_states

log = logging.getLogger(__name__)

T = TypeVar("T")
Id = Any
# If so many rows of a chunk are tried alone and each of them raises, none of them is to blame.
SAMPLE = 20


class Chunk:
    """The rows that a transaction works. It passes all rows that it reads through `of`, before it looks into them.

    What else it reads of a row, such as its customer, it passes through `known`, where it works this row.
    """

    def __init__(self, only: Collection[Id] | None = None) -> None:
        self._only = only
        self.ids: list[Id] = []

    def of(self, rows: Iterable[Any]) -> list[Any]:
        """The rows to work, each with its `id`: all of them, or those that are tried alone.

        Raises NotKnown for a row with a word that this release does not know.
        """
        rows = list(rows) if self._only is None else [row for row in rows if row.id in self._only]
        self.ids += (row.id for row in rows)
        if UnknownWord.any_made:
            for row in rows:
                known(row)
        return rows


class _Enough(Exception):
    """Raised to roll a trial back."""


def row_by_row(
    database: Database,
    name: str,
    work: Callable[[sa.Connection, Chunk], T],
    set_aside: Callable[[sa.Connection, Mapping[Id, str]], object],
) -> T:
    """Run `work` in a transaction, without the rows that it raises for.

    `set_aside` gets these rows, with the kind of exception of each, and must see to it that the next run does not read
    them; it has a transaction of its own. `name` says in the log what is worked. Raises what `work` raises if no single
    row is to blame, or if a row that was set aside comes again; and sqlalchemy.exc.OperationalError, which is never a
    row's fault.
    """
    aside: set[Id] = set()
    while True:
        chunk = Chunk()
        try:
            with database.write() as connection:
                return work(connection, chunk)
        except sa.exc.OperationalError:
            raise
        except Exception as error:
            place = _place(error)
            bad = _bad(database, work, chunk.ids)
            if not bad:
                log.error("%s: no row is to blame for %s at %s", name, type(error).__name__, place)
                raise
            if aside & bad.keys():  # `work` writes a row's own result first, which releases it only then
                log.error("%s: rows that raise %s at %s are not set aside yet", name, type(error).__name__, place)
                raise
        kinds = ", ".join(sorted(set(bad.values())))
        log.error("%s: %d rows are set aside, each raises: %s; the first at %s", name, len(bad), kinds, place)
        with database.write() as connection:
            set_aside(connection, bad)
        aside |= bad.keys()


def _bad(database: Database, work: Callable[[sa.Connection, Chunk], object], ids: list[Id]) -> dict[Id, str]:
    """The rows that raise by themselves, with the kind of exception; none if it raises without any row too."""

    def kind(some: list[Id]) -> str | None:
        try:
            with database.write() as connection:
                work(connection, Chunk(frozenset(some)))
                settle(connection)
                raise _Enough
        except _Enough:
            return None
        except sa.exc.OperationalError:
            raise
        except Exception as error:
            return type(error).__name__

    def among(some: list[Id]) -> dict[Id, str]:
        why = kind(some)
        if why is None:
            return {}
        if len(some) == 1:
            return {some[0]: why}
        half = len(some) // 2
        return among(some[:half]) | among(some[half:])

    if not ids or kind([]) is not None:
        return {}
    spread = ids[:: max(len(ids) // SAMPLE, 1)][:SAMPLE]
    if len(spread) == SAMPLE and all(kind([one]) for one in spread):
        return {}
    return among(ids)


def _place(error: Exception) -> str:
    """Where it was raised: a file of this software and a line. No text of the exception, which may hold a value."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/onboarding_worker/" in frame.filename]
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "an unknown place"


_NONE: Mapping[int, str] = MappingProxyType({})


def hold_jobs(
    connection: sa.Connection, kinds: Mapping[int, str], *, states: Collection[JobState], now: datetime
) -> None:
    """Hold those of these jobs that are in one of these states. `kinds` has the kind of exception of each."""
    for kind in sorted(set(kinds.values())):
        ids = sorted(job_id for job_id, raised in kinds.items() if raised == kind)
        hold = sa.update(Job).where(Job.id.in_(ids), Job.state.in_(states)).returning(Job.id)
        held = _values(kind, Job.unknown_attempt, _OPEN_CALL) | {"state": JobState.HELD, "changed_at": now}
        happened(connection, JobsStopped(connection.execute(hold.values(held)).scalars().all()), now=now)


def hold_messages(
    connection: sa.Connection, kinds: Mapping[UUID, str], *, states: Collection[InvitationState], now: datetime
) -> None:
    """As `hold_jobs`, for messages; their jobs' states follow from them."""
    for kind in sorted(set(kinds.values())):
        ids = [row_id for row_id, raised in kinds.items() if raised == kind]
        hold = sa.update(InvitationRow).where(InvitationRow.id.in_(ids), InvitationRow.state.in_(states))
        held = _values(kind, InvitationRow.unknown_attempt, _OPEN_HAND_OVER) | {"state": InvitationState.HELD}
        jobs = connection.execute(hold.values(held).returning(InvitationRow.job_id)).scalars()
        set_job_states(connection, set(jobs), now=now)


def hold_back(
    connection: sa.Connection, jobs: Sequence[Any], reason: Reason, details: Mapping[int, str] = _NONE, *, now: datetime
) -> None:
    """Hold these locked jobs because their links may be for other people: their sessions and waiting messages end.

    `details`: by job. A job that is held for a reason of its own keeps it: a person decides about that.
    """
    ids = [job.id for job in jobs]
    of_jobs = sa.update(InvitationRow).where(InvitationRow.job_id.in_(ids))
    waiting = of_jobs.where(InvitationRow.state == InvitationState.WAITING)
    connection.execute(waiting.values(state=InvitationState.SUPERSEDED, due_at=None, reason=reason))
    end_sessions(connection, SessionRow.id.in_([job.session_id for job in jobs]))
    free = [job.id for job in jobs if job.state is not JobState.HELD]
    held = {"state": JobState.HELD, "due_at": None, "lease_until": None, "reason": reason, "needs_status_check": False}
    for id_ in free:
        values = held | {"detail": details.get(id_, ""), "link_requested_at": None, "changed_at": now}
        connection.execute(sa.update(Job).where(Job.id == id_).values(values))
    happened(connection, JobsStopped(free), now=now)


def end_sessions(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> None:
    """End these sessions, whose links may be for other people: no row goes on with one."""
    those = sa.update(SessionRow).where(*which)
    live = those.where(SessionRow.state.in_(LIVE_SESSIONS))
    connection.execute(live.values(state=SessionState.SUPERSEDED, check_at=None))
    # One that was not bought stays so: as superseded it would count as paid for.
    connection.execute(those.where(SessionRow.state == SessionState.DEFERRED).values(check_at=None))


def _values(kind: str, unknown: Any, call: Any) -> dict[str, Any]:
    return {
        "due_at": None,
        "lease_until": None,
        "reason": Reason.CANNOT_WORK,
        "detail": f"working this row alone ended with {kind}",
        # The result of this call is not written, so it must be looked up before the row is repeated.
        "unknown_attempt": sa.func.coalesce(unknown, call),
    }


_OPEN = sa.select(Attempt.id).where(Attempt.closed_at.is_(None), Attempt.reconciles.is_(None)).limit(1)
_OPEN_CALL = _OPEN.where(
    Attempt.job_id == Job.id, Attempt.invitation_id.is_(None), Attempt.fence == Job.fence
).scalar_subquery()
_OPEN_HAND_OVER = _OPEN.where(
    Attempt.job_id == InvitationRow.job_id,
    Attempt.invitation_id == InvitationRow.id,
    Attempt.fence == InvitationRow.fence,
).scalar_subquery()
