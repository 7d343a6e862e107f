"""What calls for sessions cost, and what their results show about the account.

The most credits that a batch may cost (`--most-credits N`): of the calls of its rows, call N+1 is never made. What is
used is counted from the calls themselves: those that are open, those that cost a credit, and those that may have. So
nothing is given back by hand, and whatever dies, a call that may have cost stays counted. It is counted under the lock
of the batch's plan, which a claim holds until its calls are written down.

The account's budget counts the credits of its calls itself: those that were not spent are refunded here.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.job_ids import of_batch
from onboarding_worker.core.database.tables import Attempt, BatchCount, BatchCountChange, BatchPlan
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.model.endings import Kind, Later, NotNow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import DONE
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.call_outcomes import CallOutcome
from onboarding_worker.core.rules.limits import COST_NOTHING, day_of
from onboarding_worker.core.rules.reconciliation import Nothing

if TYPE_CHECKING:  # reports ask what a batch may still cost, and claim nothing
    from onboarding_worker.core.work.store.job_context import ClaimedJob, IssueResult

LOOKED_AT_AGAIN = timedelta(hours=1)  # a look-up may have found meanwhile that a call cost nothing
_BATCH = sa.bindparam("batch", type_=Attempt.batch_id.type)
_CALLS = sa.union_all(
    *(
        sa.select(model.rows).where(
            model.batch_id == _BATCH, model.kind == tally.CountOf.CALL.value, model.state.not_in(COST_NOTHING)
        )
        for model in (BatchCount, BatchCountChange)
    )
).subquery()
_USED = sa.select(sa.func.coalesce(sa.func.sum(_CALLS.c.rows), 0))
_LOOK_UP = aliased(Attempt)


def not_carried_out(call: type[Attempt] = Attempt) -> sa.ColumnElement[bool]:
    """True for a call with an unknown outcome of which a look-up has found that it opened no session. Not for one
    whose session a look-up has found: a later one may find that it has ended."""
    looked = (_LOOK_UP.reconciles == call.id, _LOOK_UP.id != call.id)
    return sa.and_(
        call.outcome == Kind.UNKNOWN.value,
        sa.exists().where(*looked, _LOOK_UP.outcome == DONE, _LOOK_UP.found == ""),
        ~sa.exists().where(*looked, _LOOK_UP.found != ""),
    )


_NOT_CARRIED_OUT = sa.select(sa.func.count()).where(
    of_batch(_BATCH, id_=Attempt.job_id), Attempt.invitation_id.is_(None), not_carried_out()
)


def left(connection: sa.Connection, batch_id: int, most: int, wanted: int) -> int:
    """How many of the `wanted` calls the batch may pay for. The look-ups are read only where that matters."""
    rest = most - int(connection.execute(_USED, {"batch": batch_id}).scalar_one())
    if rest < wanted:
        rest += int(connection.execute(_NOT_CARRIED_OUT, {"batch": batch_id}).scalar_one())
    return max(min(rest, wanted), 0)


def beyond(connection: sa.Connection, jobs: "Sequence[ClaimedJob]", *, now: datetime) -> dict[int, NotNow]:
    """Those of these jobs for whose calls their batches have no credit left, each with when to ask again."""
    asking: dict[int, list[int]] = {}
    for job in jobs:
        if not job.looks_up:
            asking.setdefault(job.batch_id, []).append(job.id)
    capped = sa.select(BatchPlan.batch_id, BatchPlan.most_credits).where(
        BatchPlan.batch_id.in_(sorted(asking)), BatchPlan.most_credits.is_not(None)
    )
    found: dict[int, NotNow] = {}
    # Always in the same order, so that two claims of the same batches cannot deadlock.
    for plan in fetch(connection, capped.order_by(BatchPlan.batch_id).with_for_update()) if asking else ():
        rows = asking[plan.batch_id]
        may = left(connection, plan.batch_id, plan.most_credits, len(rows))
        found |= dict.fromkeys(rows[may:], Later(now + LOOKED_AT_AGAIN, Reason.CREDITS_SPENT))
    return found


def outcomes_of(results: "Sequence[IssueResult]", *, look_ups: bool) -> list[CallOutcome]:
    """What these special results show of the account: those of look-ups, or those of calls."""
    made = [item for item in results if item.called and not _shows_nothing(item)]
    return [CallOutcome(item.began_at, item.problem) for item in made if item.row.looks_up is look_ups]


def apply_special(
    connection: sa.Connection,
    rule: BudgetRule,
    special: "Sequence[IssueResult]",
    overtaken: Collection[uuid.UUID],
    *,
    now: datetime,
) -> None:
    """Apply to the account's budget what special results show besides the outcomes of their calls.

    `overtaken`: look-ups that the calls' own answers overtook.
    """
    if reconciled := outcomes_of(special, look_ups=True):
        # Look-ups cost no credit, so no answer of theirs refunds one.
        budgets.apply_outcomes(connection, rule, reconciled, now=now, refund=False)
    budgets.end_probe(connection, rule, [item.row for item in special if not item.called or _shows_nothing(item)])
    free = [item for item in special if _cost_nothing(item) and item.row.attempt_id not in overtaken]
    budgets.refund(connection, rule, Counter(_day_of_credit(item, now) for item in free), now=now)


def count_again(
    connection: sa.Connection,
    rule: BudgetRule,
    results: "Sequence[IssueResult]",
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


def _day_of_credit(result: "IssueResult", now: datetime) -> date:
    unknown_call = result.row.unknown_call
    return day_of(unknown_call.opened_at) if unknown_call is not None else result.row.day_of_credit or day_of(now)


def _shows_nothing(result: "IssueResult") -> bool:
    """True for a failed question about a session. A list that cannot be read must not open the breaker: the
    account can still open sessions."""
    failed = result.problem is not None and not result.problem.concerns_account
    return result.row.asks_about is not None and failed


def _cost_nothing(result: "IssueResult") -> bool:
    """True if the call's credit was not spent: the call was not made, or a look-up found it not carried out."""
    unknown_call = result.row.unknown_call
    if unknown_call is None:
        return result.ending is None and not result.row.looks_up
    return isinstance(result.found, Nothing) and unknown_call.kind is Kind.UNKNOWN
