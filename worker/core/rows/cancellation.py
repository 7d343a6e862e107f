"""Cancellation of jobs. A job that no dispatcher works ends at once. Any other job is marked, and ends with its call;
or at its next claim, if it was released without a result, or its call is looked up.

Here is also what other changes of jobs share: the values of a row that starts again, and the session that it leaves.
"""

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.facts import JobsStopped, SessionsExpired, happened
from onboarding_worker.core.database.job_ids import Key, as_they_came
from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.work import served_by
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import OPEN_JOBS, InvitationState, JobState, Result, SessionState
from onboarding_worker.core.rows import pending_details as pending
from onboarding_worker.core.rows import unknown_outcomes
from onboarding_worker.core.rows.in_review import OTHER_IN_REVIEW
from onboarding_worker.core.rows.message_rows import HELD_FIRST
from onboarding_worker.core.rules.contact import FIRST

_OPEN = sa.select(Job.id, Job.customer_id, Job.purpose, Job.leader_id).where(
    bulk.among(Job.customer_id, "customers"), Job.state.in_(OPEN_JOBS)
)


def cancel_customers(connection: sa.Connection, keys: Collection[Key], *, now: datetime) -> dict[Key, int]:
    """Cancel the open jobs of these customers for these purposes, whichever list or event added them.

    Returns the job that served each key; a key without a job is left out. The customers must be locked.
    """
    rows = fetch(connection, _OPEN, {"customers": bulk.keys({customer_id for customer_id, _ in keys})})
    rows = [row for row in rows if (row.customer_id, row.purpose) in keys]
    cancel_open(connection, [row.id for row in rows], now=now)
    # The leading job comes last in the order, so that it stays in the result.
    return {(row.customer_id, row.purpose): row.id for row in sorted(rows, key=lambda row: row.leader_id is None)}


def cancel_open(
    connection: sa.Connection, ids: Collection[int], *, reason: Reason = Reason.CANCELLED, now: datetime
) -> int:
    """Cancel those of these jobs that are open. Returns how many ended at once; the others end with their calls."""
    if not ids:
        return 0
    lock_unsent(connection, ids)
    still_open = sa.select(Job.id, Job.state).where(Job.id.in_(ids), Job.state.in_(OPEN_JOBS)).order_by(Job.id)
    rows = fetch(connection, still_open.with_for_update(key_share=True))
    # Without the mark, a job whose call brings a session without a message would not be claimed for days.
    change_jobs(connection, [row.id for row in rows if row.state is JobState.WORKING], {"cancelled_at": now})
    free = [row.id for row in rows if row.state is not JobState.WORKING]
    cancel_jobs(connection, free, reason=reason, now=now)
    return len(free)


def cancel_jobs(connection: sa.Connection, ids: list[int], *, reason: Reason = Reason.CANCELLED, now: datetime) -> None:
    """End those of these jobs that are still open, and their messages that are not sent yet.

    Jobs that joined an ended job are served on their own. An ended job no longer joins another job.
    """
    if not ids:  # as at nearly each claim: building the query costs more than the rest
        return
    query = sa.select(Job.id).where(Job.id.in_(ids), Job.state.in_(OPEN_JOBS)).order_by(Job.id)
    ids = [row.id for row in fetch(connection, query.with_for_update(key_share=True))]
    if not ids:
        return
    unknown, not_theirs = with_unknown_calls(connection, ids), with_wrong_address(connection, ids)
    end: dict[str, Any] = {"state": JobState.CANCELLED, "due_at": None, "lease_until": None, "leader_id": None}
    # What is said of the row that it joined is not true any more.
    end["detail"] = sa.case((Job.leader_id.is_not(None), ""), else_=Job.detail)
    # The mark also ends a message in flight, at its next claim.
    end["reason"] = sa.case((_IS_ERASED, Reason.ERASED.value), else_=reason.value)
    change_jobs(connection, ids, end | {"changed_at": now, "cancelled_at": now})
    if reason is not Reason.ERASED:  # an erasure counts what it takes (`erase_jobs`)
        pending.drop(connection, ids, now=now)
    unsent = sa.update(InvitationRow).where(_unsent(ids))
    # A reminder keeps its due time: a job of another list may take over the session with its reminders.
    due_at = sa.case((InvitationRow.kind == FIRST, None), else_=InvitationRow.due_at)
    ended = {"state": InvitationState.SUPERSEDED, "due_at": due_at, "reason": _OF_ITS_JOB}
    connection.execute(unsent.values(ended))
    unknown_outcomes.hand_over(connection, sorted(unknown), now=now)
    promote(connection, ids, unknown, not_theirs, now=now)


# The customer was erased while a call was on its way. Of whom only a cancelled row named nothing is stored either.
_IS_ERASED = sa.exists().where(
    CustomerRow.customer_id == Job.customer_id, CustomerRow.encrypted.is_(None), CustomerRow.details_at.is_not(None)
)

_OF_ITS_JOB = sa.select(Job.reason).where(Job.id == InvitationRow.job_id).scalar_subquery()


def cancelled_instead(moves: Iterable[dict[str, Any]], marked: Collection[int], *, by: str = "job_id") -> list[int]:
    """Keep the marked jobs open among those that these values would let fail or wait, or that have asked about their
    session. `cancel_jobs` ends them, once the values are written: no person is to look at the failure of a customer who
    was cancelled, and a job that is not claimed again would lead other lists' jobs. One whose call's outcome is unknown
    waits.
    """
    ends = (JobState.FAILED, JobState.WAITING, JobState.INVITED)
    ending = [one for one in moves if one[by] in marked and one["new_state"] in ends and not one["new_unknown_attempt"]]
    for move in ending:
        move["new_state"] = JobState.WAITING
    return sorted(move[by] for move in ending)


def lock_unsent(connection: sa.Connection, jobs: Collection[int] | sa.Select[int]) -> None:
    """Lock the messages of these jobs that are not sent yet. Call it before the jobs are locked.

    A dispatcher locks messages before their jobs: two transactions with another order could block each other.
    """
    messages = sa.select(InvitationRow.id).where(_unsent(jobs))
    fetch(connection, messages.order_by(InvitationRow.id).with_for_update())


def _unsent(jobs: Collection[int] | sa.Select[int]) -> sa.ColumnElement[bool]:
    return InvitationRow.job_id.in_(jobs) & (InvitationRow.state == InvitationState.WAITING)


def with_unknown_calls(connection: sa.Connection, ids: list[int]) -> set[int]:
    """The jobs whose call for a session may have been carried out: held because of it, or not yet reconciled."""
    message = sa.exists().where(HELD_FIRST)
    # A row that is held because of a call for another list's row (`_HELD`, admission) has no attempt of its own.
    held = sa.and_(Job.state == JobState.HELD, Job.reason == Reason.UNKNOWN, ~message)
    unknown = sa.or_(Job.unknown_attempt.is_not(None), held)
    return set(connection.execute(sa.select(Job.id).where(Job.id.in_(ids), unknown)).scalars())


def with_wrong_address(connection: sa.Connection, ids: Collection[int]) -> set[int]:
    """The jobs that are held because a visitor said that the link is for another person."""
    held = sa.and_(Job.state == JobState.HELD, Job.reason == Reason.NOT_ME)
    return set(connection.execute(sa.select(Job.id).where(Job.id.in_(ids), held)).scalars()) if ids else set()


def promote(
    connection: sa.Connection, ended: list[int], unknown: set[int], not_theirs: set[int], *, now: datetime
) -> None:
    """For each ended job: its first joined job becomes its successor and leads, and its other joined jobs join that.

    The successor of a job in `unknown` is held: the ended job's call may have been carried out, and a new call for
    another list could repeat it. So is the successor of a job in `not_theirs`: nothing is sent to that address until a
    person has decided. The successor of a job whose session is in review, or follows one that is, has that session: the
    review decides. That of a job whose customer is asked once more asks no other time.
    """
    query = (
        sa.select(Job.id, Job.leader_id, Job.created_at, Job.batch_id, Job.row)
        .where(Job.leader_id.in_(ended), Job.state.in_(OPEN_JOBS))
        .order_by(Job.id)
    )
    successors: dict[int, int] = {}
    whys: dict[int, str] = {}
    rejoined = []
    for row in as_they_came(fetch(connection, query.with_for_update(key_share=True))):
        if successors.setdefault(row.leader_id, row.id) != row.id:
            rejoined.append({"job_id": row.id, "successor": successors[row.leader_id], "why": whys[row.leader_id]})
        else:
            whys[row.leader_id] = served_by(row.batch_id, row.row)
    leads = waiting_again(now) | {"leader_id": None}
    change_jobs(connection, list(successors.values()), leads)
    for before, kept in _kept(connection, successors, now=now).items():
        change_jobs(connection, [successors[before]], kept)
    held = [successor for before, successor in successors.items() if before in unknown]
    change_jobs(connection, held, _HELD)
    not_me = [successor for before, successor in successors.items() if before in not_theirs - unknown]
    change_jobs(connection, not_me, _HELD | {"reason": Reason.NOT_ME, "detail": ""})
    happened(connection, JobsStopped([*held, *not_me]), now=now)
    if rejoined:
        by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
        connection.execute(by_id.values(leader_id=sa.bindparam("successor"), detail=sa.bindparam("why")), rejoined)


def _kept(connection: sa.Connection, ended: Collection[int], *, now: datetime) -> dict[int, dict[str, Any]]:
    """What the successors of these jobs have from them: sessions that are in review, or whose customers are through an
    earlier one; and the refusals of customers who are asked once more. There a session that ended decides as before."""
    if not ended:
        return {}
    reviewed = sa.or_(SessionRow.result == Result.REVIEW.value, OTHER_IN_REVIEW)
    columns = (Job.id, Job.session_id, Job.refused_session, SessionRow.state, SessionRow.expires_at)
    query = sa.select(*columns, reviewed.label("reviewed")).join(SessionRow, SessionRow.id == Job.session_id)
    kept: dict[int, dict[str, Any]] = {}
    for row in fetch(connection, query.where(Job.id.in_(ended), sa.or_(reviewed, Job.refused_session.is_not(None)))):
        over = row.expires_at <= now or row.state in (SessionState.FAILED, SessionState.EXPIRED)
        kept[row.id] = {"session_id": row.session_id} if over or row.reviewed else {}
        if row.refused_session is not None:
            kept[row.id] |= {"refused_session": row.refused_session, "result": Result.DENIED.value}
        if row.refused_session is not None and over:
            kept[row.id] |= {"state": JobState.INVITED, "due_at": None}
            connection.execute(sa.update(SessionRow).where(SessionRow.id == row.session_id).values(check_at=now))
    return kept


_HELD: dict[str, Any] = {
    "state": JobState.HELD,
    "due_at": None,
    "session_id": None,
    "reason": Reason.UNKNOWN,
    "detail": "the call that was made for the customer's row of another list may have been carried out",
}


def waiting_again(now: datetime) -> dict[str, Any]:
    """The values of a job that starts again."""
    return {
        "state": JobState.WAITING,
        "due_at": now,
        "attempts": 0,
        "needs_status_check": False,
        "reason": "",
        "detail": "",
        "changed_at": now,
    }


def leave_session(
    connection: sa.Connection, session_id: uuid.UUID, *, ends_as: SessionState | None, now: datetime
) -> None:
    """Let the sweep check this session no more: its job waits for another one. `ends_as` None: it has ended already."""
    ended = {"check_at": None} if ends_as is None else {"check_at": None, "state": ends_as}
    connection.execute(sa.update(SessionRow).where(SessionRow.id == session_id).values(ended))
    if ends_as is SessionState.EXPIRED:
        happened(connection, SessionsExpired([session_id]), now=now)


def change_jobs(connection: sa.Connection, ids: list[int], values: dict[str, Any]) -> None:
    if ids:
        connection.execute(sa.update(Job).where(Job.id.in_(ids)).values(values))
