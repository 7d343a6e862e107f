"""What the results of calls show about their account: outcomes for its budget, and the credits that were not spent."""

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime

import sqlalchemy as sa

from worker.core.database.attempt_outcomes import DONE
from worker.core.database.tables import Attempt
from worker.core.limits.budgets import BudgetRule
from worker.core.limits.call_outcomes import CallOutcome
from worker.core.limits.credits import day_of
from worker.core.limits.store import budgets
from worker.core.limits.throughput import Stretch
from worker.core.model.endings import Kind
from worker.core.unknown.reconciliation import Nothing
from worker.core.work.store.attempt_log import outcome_of_call
from worker.core.work.store.job_context import IssueResult


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
