"""The attempt of a call: written down before the call is made, and closed once the outcome is known.

A call goes to a provider for a job, or to a sender for a message. Attempts and outcomes are the same for both.

And which answers that come after the end of their lease still apply to the row. A claim raises the row's fence. From
then on a late answer must not overwrite the work of the new owner. But a row that was not claimed again, or was claimed
only to look up this call, still waits for this answer. That look-up is closed: it has nothing more to say, and its
worker may have died.
"""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult, Claimed, Flush, RowT
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.bulk import Columns
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import encrypt_words
from onboarding_worker.core.database.job_ids import new_ids
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.endings import Asked, Done, Ending, Finish, Hold, Kind, Reconcile, Retry, Snooze
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import DONE, MORE, NOT_SENT, UNANSWERED, UNREACHABLE, JobState, references
from onboarding_worker.core.rules.reconciliation import More, Unmatched


def open_rows(flush: Flush[Any], rows: Sequence[Claimed], *, counted: int = 0, **more: list[Any]) -> None:
    """Open these claimed rows: write the attempts of their calls, one for each. `more`: other columns of the attempts.

    A look-up changes nothing at the other side, so it may always be repeated.
    """
    policy, now = flush.policy, flush.now
    for row, attempt_id in zip(rows, new_ids(now, len(rows)), strict=True):
        row.attempt_id, row.reconcile_at = attempt_id, None
        row.repeatable = row.looks_up or policy.all_are_repeatable or policy.row_is_repeatable(row)
        if not row.repeatable:
            after = policy.orphan_life(row) if policy.reconcile_after is None else policy.reconcile_after
            row.reconcile_at = None if after is None else row.lease_until + after
    many = len(rows)
    columns: Columns = {  # they cost half of a dictionary for each row
        "id": [row.attempt_id for row in rows],
        "batch_id": [row.batch_id for row in rows],
        "job_id": [row.job_id for row in rows],
        "account": [policy.claims_for] * many,
        "fence": [row.fence for row in rows],
        "repeatable": [row.repeatable for row in rows],
        "reconcile_at": [row.reconcile_at for row in rows],
        "reconciles": [row.reconciles if row.looks_up else None for row in rows],
        "opened_at": [now] * many,
        "detail": [""] * many,
        "counted": [counted] * many,
    }
    bulk.add_columns(flush.connection, Attempt, {**columns, **more})


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


def closing(keyring: Keyring, result: CallResult[Any]) -> dict[str, Any]:
    """The values that close the attempt of a result, for `CLOSE`, without the time."""
    attempt_id, problem, found = result.row.attempt_id, result.problem, result.found
    outcome: str = (problem.kind.value if problem else DONE) if result.called else NOT_SENT
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
        "new_found": references(found.references if isinstance(found, More | Unmatched) else ()),
    }


def after_call(
    ending: Ending | None,
    *,
    due_at: datetime | None,
    attempt_id: uuid.UUID | None,
    unknown_call: uuid.UUID | None,
    counted: bool = False,
) -> dict[str, Any]:
    """A row's new values after a call: when it is due, what is counted, the reason, and the unknown attempt.

    `ending` None: the call was not made, and the row is due as before, at `due_at`. `attempt_id`: the call's.
    `unknown_call`: the attempt that it looked up. `counted`: the attempt was counted already when its outcome became
    unknown. A look-up is never counted as an attempt.
    """
    one = 0 if counted or unknown_call else 1
    move: dict[str, Any] = {
        "new_due_at": None,
        "more_attempts": 0,
        "more_waits": 0,
        "new_reason": "",
        "new_detail": "",
        "new_unknown_attempt": None,
    }
    match ending:
        case None:
            return move | {"new_due_at": due_at, "new_unknown_attempt": unknown_call}
        case Done() | Finish() | Asked():
            return move | {"more_attempts": one}
        case Snooze():
            move |= {"new_due_at": ending.until, "more_waits": 1, "new_unknown_attempt": unknown_call}
        case Retry():
            move |= {"new_due_at": ending.at, "more_attempts": one}
        case Reconcile():
            move |= {"new_due_at": ending.at, "more_attempts": one, "new_unknown_attempt": unknown_call or attempt_id}
        case _:
            move["more_attempts"] = one
            if isinstance(ending, Hold) and ending.reason in (Reason.UNKNOWN, Reason.CANNOT_KEEP):
                move["new_unknown_attempt"] = unknown_call or attempt_id
    return move | {"new_reason": ending.reason, "new_detail": ending.detail[:DETAIL_LENGTH]}


def plain(
    flush: Flush[Any], change: bulk.Change, items: Sequence[CallResult[RowT]], columns: Columns, *, counts: int
) -> list[tuple[CallResult[RowT], Any]]:
    """Change the rows of results that may be plain, one or more, in the order of their ids, as all rows are locked.

    Returns those whose rows were still under the lease and met all conditions, each with its row.
    """
    given = {"row_id": [item.row.id for item in items], "fence": [item.row.fence for item in items], **columns}
    moved = {(row.id, row.fence): row for row in change.changed(flush.connection, given, at=flush.now, counts=counts)}
    return [(item, row) for item in items if (row := moved.get((item.row.id, item.row.fence)))]


@dataclass(frozen=True, repr=False)
class SortedOut(Generic[RowT]):
    """Results that were not written before: those that count, and late answers that do not.

    `rows`: by id, as they were when they were locked; `ours`: the ids of those that are still ours: all other results
    change only their attempts. `answered`: those of them that a late answer still applies to. `outcomes`: of all
    attempts, as they were; None: the attempt was open.
    """

    results: list[CallResult[RowT]]
    late: list[CallResult[RowT]]
    rows: Mapping[Any, sa.Row[Any]]
    ours: Collection[Any]
    answered: Collection[Any]
    outcomes: Mapping[uuid.UUID, str | None]

    def counted(self, result: CallResult[RowT]) -> bool:
        """Whether the attempt was counted already, when its outcome became unknown."""
        return self.outcomes[result.row.attempt_id] is not None


def standing(model: type[Job] | type[InvitationRow], *columns: Any) -> sa.Select[*tuple[Any, ...]]:
    """How the rows of results stand when the results are written, with these columns: for `sort_out`.

    The rows are locked in the order of their ids, as everywhere. `key_share`: see `message_rows.set_job_states`.
    """
    read = sa.select(model.id, model.state, model.fence, model.unknown_attempt, *columns)
    return read.where(bulk.among(model.id, "ids")).order_by(model.id).with_for_update(key_share=True)


_OUTCOMES = (
    sa.select(Attempt.id, Attempt.outcome)
    .where(bulk.among(Attempt.id, "ids"))
    .order_by(Attempt.id)
    .with_for_update(key_share=True)
)


def sort_out(
    connection: sa.Connection,
    rows_of: sa.Select[*tuple[Any, ...]],
    results: Sequence[CallResult[RowT]],
    *,
    moved_on: Callable[[CallResult[RowT], Any], bool] = lambda _answer, _row: False,
    now: datetime,
) -> SortedOut[RowT]:
    """Sort these results by what they may change. Their rows are locked here (`rows_of`: a `standing`), and then their
    attempts.

    A result of an open attempt counts. So does a conclusive one of an attempt that was closed with an unknown outcome,
    if it still applies to its row, which then has not `moved_on`. All others were written before, and only the
    acknowledgement was lost: they must not count twice. A purge may have removed an attempt.
    """
    ids = bulk.keys({item.row.id for item in results})
    rows = {row.id: row for row in fetch(connection, rows_of, {"ids": ids})}
    attempts = bulk.keys(item.row.attempt_id for item in results)
    outcomes = {row.id: row.outcome for row in fetch(connection, _OUTCOMES, {"ids": attempts})}
    new, late = [], []
    ours, answered = set[Any](), set[Any]()
    for item in results:
        id_, outcome = item.row.id, outcomes.get(item.row.attempt_id, "purged")
        if outcome is None:
            new.append(item)
            if rows[id_].fence == item.row.fence and rows[id_].state == JobState.WORKING:
                ours.add(id_)  # it was not claimed again
        elif outcome == Kind.UNKNOWN and item.is_conclusive:
            late.append(item)
            row = rows.get(id_)
            if row is not None and not moved_on(item, row) and _still_applies(item, row):
                answered.add(id_)
    if answered:  # their look-ups have nothing more to say
        calls = [item.row.attempt_id for item in late if item.row.id in answered]
        look_ups = sa.update(Attempt).where(Attempt.reconciles.in_(calls), Attempt.closed_at.is_(None))
        connection.execute(look_ups.values(closed_at=now, outcome=UNANSWERED))
    new += [item for item in late if item.row.id in answered]
    late = [item for item in late if item.row.id not in answered]
    return SortedOut(new, late, rows, ours | answered, answered, outcomes)


def _still_applies(answer: CallResult[Any], row: sa.Row[Any]) -> bool:
    """States of jobs and of messages have the same words."""
    if row.unknown_attempt == answer.row.attempt_id:  # working: a dispatcher is looking up this call
        return row.state in (JobState.WAITING, JobState.HELD, JobState.WORKING)
    if row.fence == answer.row.fence:
        return row.state in (JobState.WAITING, JobState.HELD)
    # The call was looked up too early, not found, and is about to be repeated. It succeeded, so no repeat is needed.
    return answer.succeeded and row.state == JobState.WAITING and row.unknown_attempt is None
