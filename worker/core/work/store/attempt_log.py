"""The attempt of a call: written down before the call is made, and closed once the outcome is known. And what its
outcome shows about the account: for its budget, and the credits that were not spent.

A call goes to a provider for a job, or to a sender for a message. Attempts and outcomes are the same for both.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.bulk import Columns
from worker.core.database.encrypted_values import encrypt_words
from worker.core.database.tables import Attempt
from worker.core.database.tables.types import DETAIL_LENGTH
from worker.core.foundation.ids import new_ids
from worker.core.foundation.keyring import Keyring
from worker.core.limits.budgets import BudgetRule
from worker.core.limits.call_outcomes import CallOutcome
from worker.core.limits.credits import day_of
from worker.core.limits.store import budgets
from worker.core.limits.store.flush import CallResult, Claimed, Flush, RowT
from worker.core.limits.throughput import Stretch
from worker.core.model.endings import Asked, Done, Ending, Finish, Hold, Kind, Problem, Reconcile, Retry, Snooze
from worker.core.model.reasons import Reason
from worker.core.model.states import DONE, MORE, NOT_SENT, UNREACHABLE, references
from worker.core.unknown.reconciliation import More, Nothing, Unmatched
from worker.core.work.store.job_context import IssueResult


def open_rows(flush: Flush[Any], rows: Sequence[Claimed], *, counted: int = 0, **more: list[Any]) -> None:
    """Open these claimed rows: write the attempts of their calls, one for each. `more`: other columns of the attempts.

    A look-up changes nothing at the other side, so it may always be repeated.
    """
    policy, now = flush.policy, flush.now
    for row, attempt_id in zip(rows, new_ids(now, len(rows)), strict=True):
        row.attempt_id, row.reconcile_at = attempt_id, None
        row.repeatable = row.looks_up or policy.repeatable or policy.repeats(row)
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
        "new_found": references(unmatched.references if unmatched else ()),
    }


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


def after_call(ending: Ending | None, row: Claimed, *, counted: bool) -> dict[str, Any]:
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
        "new_unknown_attempt": unknown_attempt_after(ending, attempt_id=row.attempt_id, unknown_call=unknown_call),
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


def plain(
    flush: Flush[Any], change: bulk.Change, items: Sequence[CallResult[RowT]], columns: Columns, *, counts: int
) -> list[tuple[CallResult[RowT], Any]]:
    """Change the rows of results that may be plain, one or more, in the order of their ids, as all rows are locked.

    Returns those whose rows were still under the lease and met all conditions, each with its row.
    """
    given = {"row_id": [item.row.id for item in items], "fence": [item.row.fence for item in items], **columns}
    moved = {(row.id, row.fence): row for row in change.changed(flush.connection, given, at=flush.now, counts=counts)}
    return [(item, row) for item in items if (row := moved.get((item.row.id, item.row.fence)))]


def apply_results(
    connection: sa.Connection,
    rule: BudgetRule,
    plain: Sequence[IssueResult],
    special: Sequence[IssueResult],
    overtaken: Collection[uuid.UUID],
    *,
    now: datetime,
    stretch: Stretch | None,
) -> None:
    """Apply what the results show to the account's budget.

    `overtaken`: look-ups that the calls' own answers overtook.
    """
    made = [item for item in special if item.called and not _shows_nothing(item)]
    call_outcomes = [CallOutcome(item.began_at) for item in plain]
    call_outcomes += [outcome_of_call(item.began_at, item.problem) for item in made if not item.row.looks_up]
    budgets.apply_outcomes(connection, rule, call_outcomes, now=now, stretch=stretch)
    if not special:
        return
    reconciled = [outcome_of_call(item.began_at, item.problem) for item in made if item.row.looks_up]
    if reconciled:
        # Look-ups cost no credit, so no answer of theirs refunds one.
        budgets.apply_outcomes(connection, rule, reconciled, now=now, refund=False)
    not_made = [item for item in special if not item.called]
    if any(item.row.probe for item in [*not_made, *filter(_shows_nothing, special)]):
        budgets.end_probe(connection, rule)
    free = [item for item in special if _cost_nothing(item) and item.row.attempt_id not in overtaken]
    budgets.refund(connection, rule, Counter(_day_of_credit(item, now) for item in free), now=now)


def count_again(
    connection: sa.Connection,
    rule: BudgetRule,
    results: Sequence[IssueResult],
    outcomes: Mapping[uuid.UUID, str | None],
    *,
    now: datetime,
) -> None:
    """Count the credits of sessions that were opened after a look-up had found nothing, and refunded the credit.

    `results`: special ones; `outcomes`: by attempt, as they were before; a purge may have removed some.
    """
    late = [
        item.row.attempt_id
        for item in results
        if item.session is not None and outcomes.get(item.row.attempt_id) == Kind.UNKNOWN
    ]
    if late:
        found_nothing = sa.select(Attempt.reconciles).where(
            Attempt.reconciles.in_(late), Attempt.outcome == DONE, Attempt.found == ""
        )
        opened = sa.select(Attempt.opened_at).where(Attempt.id.in_(found_nothing))
        days = Counter(map(day_of, connection.execute(opened).scalars()))
        budgets.count_earlier_credits(connection, rule, days, now=now)


def _day_of_credit(result: IssueResult, now: datetime) -> date:
    unknown_call = result.row.unknown_call
    return day_of(unknown_call.opened_at) if unknown_call is not None else result.row.day_of_credit or day_of(now)


def _shows_nothing(result: IssueResult) -> bool:
    """True for a failed question about a session. A list that cannot be read must not open the breaker: the
    account can still open sessions."""
    failed = result.problem is not None and not result.problem.concerns_account
    return result.row.asks_about is not None and failed


def _cost_nothing(result: IssueResult) -> bool:
    """True if the call's credit was not spent: the call was not made, or a look-up found it not carried out."""
    unknown_call = result.row.unknown_call
    if unknown_call is None:
        return result.ending is None and not result.row.looks_up
    return isinstance(result.found, Nothing) and unknown_call.kind is Kind.UNKNOWN
