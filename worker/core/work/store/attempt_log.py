"""The attempt of a call: written down before the call is made, and closed once the outcome is known.

A call goes to a provider for a job, or to a sender for a message. Attempts and outcomes are the same for both.

How the rows of results stand when the results are written is read in one statement, which locks them (`standing_of`).
A row that is still under the lease of its call has this call's attempt open: whatever closes the attempt writes the row
in the same transaction. So only the attempts of the other rows are read (`outcomes_of`).
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.binary_rows import Columns
from worker.core.database.database import Query, fetch
from worker.core.database.encrypted_values import encrypt_words
from worker.core.database.leases import NOT_SENT
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.database.tables.types import DETAIL_LENGTH
from worker.core.foundation.keyring import Keyring
from worker.core.limits.call_outcomes import CallOutcome
from worker.core.model.endings import Asked, Done, Ending, Finish, Hold, Kind, Problem, Reconcile, Retry, Snooze
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState, JobState
from worker.core.unknown.reconciliation import Found, More, Unmatched
from worker.core.unknown.store.unknown_outcomes import MORE
from worker.core.work.row_forms import Claimed, Opened, ResultT

DONE = "done"
UNREACHABLE = Reason.UNREACHABLE.value  # no request was sent, so the call was certainly not carried out
LATE = "late"  # the lease was lost before the result came


def if_unknown(row: Claimed, reconcile_after: timedelta | None, *, repeatable: bool) -> tuple[bool, datetime | None]:
    """What to do if the call's outcome is unknown: whether it may be repeated, and when it may be reconciled (or None).

    A look-up changes nothing at the other side, so it may always be repeated.
    """
    if row.unknown_call is not None:
        return True, None
    if repeatable or reconcile_after is None:
        return repeatable, None
    return repeatable, row.lease_until + reconcile_after


def opening(opened: Sequence[Opened[Any]], account: str, *, counted: int, now: datetime) -> Columns:
    """The new attempts of a chunk, one for each row and its job: columns cost half of a dictionary for each."""
    many, rows = len(opened), [item.row for item in opened]
    return {
        "id": [item.attempt_id for item in opened],
        "batch_id": [row.batch_id for row in rows],
        "job_id": [item.job_id for item in opened],
        "account": [account] * many,
        "fence": [row.fence for row in rows],
        "repeatable": [item.repeatable for item in opened],
        "reconcile_at": [item.reconcile_at for item in opened],
        "reconciles": [row.unknown_call.attempt_id if row.unknown_call else None for row in rows],
        "opened_at": [now] * many,
        "detail": [""] * many,
        "counted": [counted] * many,
    }


def new_and_late(
    results: Sequence[ResultT], outcomes: Mapping[uuid.UUID, str | None]
) -> tuple[list[ResultT], list[ResultT]]:
    """The results of open attempts; and the conclusive results of attempts that were closed with an unknown outcome.

    All other results were written before, and only the acknowledgement was lost: they must not count twice.
    """
    return (
        [item for item in results if outcomes[item.opened.attempt_id] is None],
        [item for item in results if outcomes[item.opened.attempt_id] == Kind.UNKNOWN and item.is_conclusive],
    )


CLOSE = bulk.Change(
    Attempt.id,
    bulk.new("outcome", "status", "code", "detail", "found")
    | {"closed_at": sa.bindparam("at"), "encrypted": sa.bindparam("new_words")},
    by="attempt_id",
)
# For an open attempt whose call succeeded: it was opened with the other values of `CLOSE`. `counts`: see `tally`.
CLOSE_DONE = bulk.Change(
    Attempt.id,
    {"closed_at": sa.bindparam("at"), "outcome": DONE, "counted": Attempt.counted + sa.bindparam("counts")},
    by="attempt_id",
)


def closing(
    keyring: Keyring,
    attempt_id: uuid.UUID,
    *,
    called: bool,
    problem: Problem | None,
    found: Found | None = None,
) -> dict[str, Any]:
    """The values that close an attempt, for `CLOSE`, without the time. `found` is the result of a look-up."""
    outcome: str = (problem.kind.value if problem else DONE) if called else NOT_SENT
    if problem is not None and problem.unreachable:
        outcome = UNREACHABLE
    if isinstance(found, More):
        outcome = MORE
    unmatched = found if isinstance(found, Unmatched) else None
    return {
        "attempt_id": attempt_id,
        "new_outcome": outcome,
        "new_status": problem.status if problem else None,
        "new_code": problem.code[:64] if problem and problem.code else None,
        "new_detail": (problem.detail if problem else unmatched.detail if unmatched else "")[:DETAIL_LENGTH],
        "new_words": encrypt_words(keyring, attempt_id, problem.words) if problem and problem.words else None,
        "new_found": references(unmatched.references if unmatched else ()),
    }


def references(found: Sequence[str]) -> str:
    """The references as one text. References that do not fit into the column as a whole are left out."""
    text = " ".join(found)
    return text if len(text) <= 400 else text[:400].rpartition(" ")[0]


def unknown_attempt_after(
    ending: Ending | None, *, attempt_id: uuid.UUID, unknown_call: uuid.UUID | None
) -> uuid.UUID | None:
    """The row's attempt with the unknown outcome after this ending. `unknown_call`: the attempt that was looked up."""
    match ending:
        case Reconcile():
            return unknown_call or attempt_id
        case Hold() if ending.reason in (Reason.UNKNOWN, Reason.CANNOT_KEEP):
            return unknown_call or attempt_id
        case None | Snooze():
            return unknown_call
        case _:
            return None


def after_call(ending: Ending | None, opened: Opened[Any], row: Claimed, *, counted: bool) -> dict[str, Any]:
    """The row's new values after a call: when it is due, what is counted, the reason, and the unknown attempt.

    `ending` None: the call was not made, and the row is due as before. `counted`: the attempt was counted already when
    its outcome became unknown. A look-up is never counted as an attempt.
    """
    unknown_call = row.unknown_call.attempt_id if row.unknown_call else None
    one = 0 if counted or unknown_call else 1
    move: dict[str, Any] = {
        "new_due_at": None,
        "more_attempts": 0,
        "more_waits": 0,
        "new_reason": "",
        "new_detail": "",
        "new_unknown_attempt": unknown_attempt_after(ending, attempt_id=opened.attempt_id, unknown_call=unknown_call),
    }
    match ending:
        case None:
            return move | {"new_due_at": row.due_at}
        case Done() | Finish() | Asked():
            return move | {"more_attempts": one}
        case Snooze():
            move |= {"new_due_at": ending.until, "more_waits": 1}
        case Retry() | Reconcile():
            move |= {"new_due_at": ending.at, "more_attempts": one}
        case _:
            move["more_attempts"] = one
    return move | {"new_reason": ending.reason, "new_detail": ending.detail[:DETAIL_LENGTH]}


def outcome_of_call(began_at: datetime, problem: Problem | None) -> CallOutcome:
    """The outcome of a call for its account's budget."""
    if problem is None:
        return CallOutcome(began_at)
    return CallOutcome(
        began_at, problem.kind, problem.detail, problem.retry_after, problem.unreachable, unclear=problem.unclear
    )


# Of a job or a message: `id`, `state`, `fence` and the columns that the query names.
Standing = sa.Row[Any]


def standing(model: type[Job] | type[InvitationRow], *columns: Any) -> Query:
    """The query for `standing_of`.

    The rows are locked in the order of their ids, as everywhere. `key_share`: see `job_from_messages.move_jobs`.
    """
    return Query(
        sa.select(model.id, model.state, model.fence, *columns)
        .where(bulk.among(model.id, "ids"))
        .order_by(model.id)
        .with_for_update(key_share=True)
    )


def standing_of(connection: sa.Connection, query: Query, ids: Iterable[Any]) -> list[Standing]:
    """The jobs or messages with these ids, locked until the transaction ends."""
    return query.fetch(connection, {"ids": bulk.keys(ids)})


_OUTCOMES = (
    sa.select(Attempt.id, Attempt.outcome)
    .where(bulk.among(Attempt.id, "ids"))
    .order_by(Attempt.id)
    .with_for_update(key_share=True)
)


def outcomes_of(connection: sa.Connection, attempt_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str | None]:
    """The outcomes of these attempts, locked until the transaction ends; None: the attempt is open.

    Their rows must be locked before.
    """
    return {row.id: row.outcome for row in fetch(connection, _OUTCOMES, {"ids": bulk.keys(attempt_ids)})}


def is_leased(row: Standing, fence: int) -> bool:
    """Whether the row was not claimed again since the claim with this fence."""
    return bool(row.fence == fence) and row.state in (JobState.WORKING, InvitationState.WORKING)
