"""An account without limits, and what its calls show: for the tests of budgets."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from onboarding_worker.core.model.endings import Kind, Problem, RetryPolicy
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, grant
from onboarding_worker.core.rules.call_outcomes import CallOutcome, after_outcomes
from onboarding_worker.core.rules.limits import Limit

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
RULE = BudgetRule("kyc", retry=RetryPolicy(first=SECOND, most=timedelta(seconds=10)))
WELL = BudgetState()
LIMITED = replace(RULE, limits=(Limit(20, SECOND),))


def call_outcome(began_at, kind=None, detail="", retry_after=None, **more):
    problem = Problem(kind, detail, retry_after=retry_after, **more) if kind is not None else None
    return CallOutcome(began_at, problem)


UNREACHABLE = call_outcome(NOW, Kind.TRANSIENT, "connection refused", None, unreachable=True)


def rate_limited(after=None, *, began_at=NOW):
    return call_outcome(began_at, Kind.RATE_LIMITED, "HTTP 429", after)


def with_outcomes(state, *call_outcomes, now=NOW):
    return after_outcomes(state, RULE, call_outcomes, now=now)


def granted(state, *, most=10, now=NOW, rule=RULE):
    return grant(state, rule, most=most, now=now, horizon=SECOND)


def failing(*kinds, began_at=NOW):
    return [call_outcome(began_at + SECOND * index / 1000, kind, "HTTP 500") for index, kind in enumerate(kinds)]
