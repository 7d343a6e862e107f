"""How a call ends that has no answer, or whose answer cannot be kept; and what is counted of the results."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from onboarding_worker.core.claim.flush import CallResult, Claimed, Flushed
from onboarding_worker.core.dispatch.state import Work
from onboarding_worker.core.model import metrics
from onboarding_worker.core.model.endings import (
    Cancel,
    Done,
    Hold,
    Kind,
    Problem,
    Reconcile,
    Retry,
    RetryPolicy,
    Snooze,
)
from onboarding_worker.core.model.metrics import Series
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.call_outcomes import SecondLook
from onboarding_worker.core.rules.reconciliation import UnknownCall

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RETRY = RetryPolicy(first=MINUTE, most=8 * MINUTE, attempts=4)
ROW: Claimed = Claimed(1, 1, 1, 0, 0, 10, NOW, NOW + MINUTE, False, None, None)
LOST = Problem(Kind.UNKNOWN, "no answer")


@dataclass
class Stored:
    """Notes what the work asks of its store."""

    asked: list[Any] = field(default_factory=list)
    database_time = None

    def flush(self, _policy, results, room, **how):
        self.asked.append((list(results), room, how))
        return Flushed(again_at=NOW)

    def release(self, _policy, opened, *, now):
        self.asked.append((opened, now))

    def release_permits(self, policy):
        self.asked.append(policy.claims_for)


class Trial(Work[Claimed, Any]):
    step, doing, metric = "issue", "while it opened a session", metrics.CALLS

    async def call(self, opened, now, may_write, /):
        raise NotImplementedError


@pytest.fixture
def work():
    rule = BudgetRule("kyc", (), 7, None, RETRY)
    policy = SimpleNamespace(claims_for="kyc", rule=rule)
    return Trial(
        policy=policy,
        rows=Stored(),
        timeout=timedelta(seconds=15),
        second_look=SecondLook(),
        clock=lambda: NOW,
        jitter=lambda: 0.5,
    )


def test_a_call_may_last_its_time_out_and_the_writing_of_its_result(work):
    assert (work.name, work.permits) == ("issue(kyc)", 7)
    assert work.longest_call == timedelta(seconds=15 + 5)


def test_only_calls_that_were_made_are_counted_each_by_its_problem_or_its_end(work):
    auth = Problem(Kind.AUTH, "HTTP 401", code="no-right")
    results = [
        CallResult(ROW, NOW, Done()),
        CallResult(ROW, NOW, Done()),
        CallResult(ROW, NOW, Snooze(NOW, "auth", ""), auth),
        CallResult(ROW, NOW, Cancel("bad_input", ""), Problem(Kind.BAD_INPUT, "HTTP 422")),
        CallResult(ROW, NOW, None),
        CallResult(ROW, NOW, None, auth),
    ]
    unused = [NOW]
    assert work.flush(results, None, None, unused).again_at == NOW
    assert work.rows.asked == [(results, None, {"clock": work.clock, "stretch": None, "unused": unused})]
    assert work.meters.news() == {
        Series("calls_total", ("kyc", outcome)): number
        for outcome, number in [("done", 2), ("auth", 1), ("bad_input", 1)]
    }


def test_a_flush_without_results_counts_nothing(work):
    assert work.flush([], None).again_at == NOW
    assert work.meters.news() == {}


@pytest.mark.parametrize(
    ("row", "problem", "ending"),
    [
        ({}, LOST, Hold("unknown", "no answer")),
        ({"repeatable": True}, LOST, Retry(NOW + MINUTE / 2, "unknown", "no answer")),
        ({"repeatable": True, "attempts": 1}, LOST, Retry(NOW + MINUTE, "unknown", "no answer")),
        ({}, Problem(Kind.CONFLICT, "live"), Hold("conflict", "live")),
        ({"reconcile_at": NOW + MINUTE}, Problem(Kind.CONFLICT, "live"), Reconcile(NOW, "conflict", "live")),
        ({}, Problem(Kind.RATE_LIMITED, "HTTP 429"), Snooze(NOW + MINUTE, "rate_limited", "HTTP 429")),
        ({}, Problem(Kind.AUTH, "HTTP 401"), Snooze(NOW, "auth", "HTTP 401")),
    ],
)
def test_the_end_of_a_step_follows_from_its_row(work, row, problem, ending):
    assert work.ending(replace(ROW, **row), problem, NOW) == ending


@pytest.mark.parametrize(("attempts", "end"), [(2, Retry), (3, Cancel)])
def test_the_attempt_that_has_failed_counts(work, attempts, end):
    assert isinstance(work.ending(replace(ROW, attempts=attempts), Problem(Kind.TRANSIENT, "HTTP 500"), NOW), end)


def test_a_call_that_was_not_made_has_neither_an_end_nor_a_problem(work):
    skipped = work.skipped(ROW)
    assert (skipped.row, skipped.began_at, skipped.ending, skipped.problem) == (ROW, NOW, None, None)
    work.release([ROW])
    work.release_permits()
    assert work.rows.asked == [([ROW], NOW), "kyc"]


def test_a_bug_in_a_call_leaves_its_outcome_unknown(work):
    result = work.after_crash(ROW, ZeroDivisionError("maria@example.org"))
    assert (result.row, result.problem.kind) == (ROW, Kind.UNKNOWN)
    assert isinstance(result.ending, Hold)
    assert "ZeroDivisionError while it opened a session" in result.problem.detail
    assert "maria" not in result.problem.detail
    assert isinstance(work.after_crash(replace(ROW, repeatable=True), ZeroDivisionError()).ending, Retry)


@pytest.mark.parametrize(("failures", "end"), [(0, Reconcile), (3, Hold)])
def test_a_bug_in_a_look_up_is_a_failure_of_the_look_up(work, failures, end):
    call = UnknownCall(UUID(int=1), NOW, failures=failures)
    result = work.after_crash(replace(ROW, unknown_call=call, repeatable=True), ZeroDivisionError())
    assert (type(result.ending), result.ending.reason) == (end, "unknown")


def test_a_result_that_cannot_be_kept_names_what_the_other_side_calls_it(work, subtests):
    session = Session("t0ken", "https://verify.test", "scan-1", NOW, ExpirySource.ANSWER)
    for values, named in [
        ({"session": session}, "(the other side calls it scan-1)"),
        ({"session": session, "reference": "other"}, "(the other side calls it scan-1)"),
        ({"reference": "SM-\0\u017e"}, "(the other side calls it SM-\\0\\u017e)"),
        ({"reference": "r" * 101}, f"(the other side calls it {'r' * 100})"),
        ({}, ""),
    ]:
        with subtests.test(values=values):
            kept = work.unsaved(CallResult(ROW, NOW - MINUTE, Done(), **values), "IntegrityError")
            assert (kept.row, kept.began_at, kept.problem.kind, kept.session) == (ROW, NOW - MINUTE, Kind.UNKNOWN, None)
            assert kept.ending == Hold("cannot_keep", kept.problem.detail)
            assert (named in kept.ending.detail, "calls it" in kept.ending.detail) == (True, bool(named))
            assert kept.ending.detail.endswith("IntegrityError")
