"""What follows from the answers to questions about sessions that are over by our clock."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, Budget, Job, SessionRow
from onboarding_worker.core.model.endings import Asked, Cancel, Finish, Hold, Kind, Problem, Retry, Snooze
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.core.rules.reconciliation import LATEST_LOOK, Listed
from tests.stored.shelf import customer

NAMES = ("Alive", "Ended", "Submitted", "Unlisted", "Other")
HOUR = timedelta(hours=1)


@pytest.fixture
def asking(shelf):
    """Questions about the sessions of all of these but the last, whose job asks nothing; all are over by our clock."""
    shelf.add(*map(customer, NAMES))
    shelf.issue()
    now = shelf.clock()
    shelf.set(SessionRow, expiry_source=ExpirySource.FALLBACK, expires_at=now - HOUR, check_at=now + HOUR)
    asks = Job.customer_id != "Other"
    shelf.set(Job, asks, state=JobState.WAITING, due_at=now, needs_status_check=True, result="", floor_seconds=77)
    return {job.customer.customer_id: job for job in shelf.open(shelf.claim())}


def sessions(shelf):
    return {row.customer_id: row for row in shelf.rows(SessionRow)}


def test_each_question_is_answered_for_its_own_session(shelf, asking):
    before, now = sessions(shelf), shelf.clock()
    references = {name: row.reference for name, row in before.items()}
    assert {name: job.asks_about for name, job in asking.items()} == {
        name: reference for name, reference in references.items() if name != "Other"
    }
    news = {
        "Alive": Listed(references["Alive"], "ACTIVE"),
        "Ended": Listed(references["Ended"], "EXPIRED", SessionState.EXPIRED),
        "Submitted": Listed(references["Submitted"], "REVIEWING", None, "review"),
        "Unlisted": None,
    }
    shelf.finish(*(CallResult(job, now, Asked(), news=news[name]) for name, job in asking.items()))
    after = sessions(shelf)
    assert after["Other"] == before["Other"]
    for name in news:
        assert (after[name].asked_at, after[name].check_at) == (now, now)
        assert after[name].expires_at == (now + LATEST_LOOK if name == "Alive" else now - HOUR)
        assert (shelf.job(name).state, shelf.job(name).needs_status_check) == (JobState.INVITED, False)
    assert shelf.job("Other").state is JobState.ISSUED


@pytest.mark.parametrize(
    ("ending", "asks", "state"),
    [
        (None, True, JobState.WAITING),
        (Asked(), False, JobState.INVITED),
        ("retry", True, JobState.WAITING),
        ("snooze", True, JobState.WAITING),
        (Hold(Reason.UNKNOWN, ""), True, JobState.HELD),
    ],
    ids=str,
)
def test_a_question_that_was_not_answered_is_asked_again(shelf, asking, ending, asks, state):
    at = shelf.clock() + HOUR
    ends = {"retry": Retry(at, Reason.TRANSIENT, ""), "snooze": Snooze(at, Reason.RATE_LIMITED, "")}
    before, credits_used = sessions(shelf), shelf.row(Budget, name="kyc").credits_used
    shelf.finish(CallResult(asking["Alive"], shelf.clock(), ends.get(ending, ending) if ending else None))
    job = shelf.job("Alive")
    assert (job.state, job.needs_status_check, job.session_id) == (state, asks, before["Alive"].id)
    assert (sessions(shelf) == before) is (ending != Asked())
    assert (job.floor_seconds, job.reissues) == (77, 0)
    assert shelf.row(Budget, name="kyc").credits_used == credits_used  # it cost none


@pytest.mark.parametrize(
    ("kind", "counts"), [(Kind.TRANSIENT, 0), (Kind.BAD_INPUT, 0), (Kind.AUTH, 1), (Kind.OUT_OF_CREDIT, 1)]
)
def test_a_question_that_fails_by_itself_shows_nothing_of_its_account(shelf, asking, kind, counts):
    again = Retry(shelf.clock() + HOUR, Reason.TRANSIENT, "")
    results = [CallResult(job, shelf.clock(), again, problem=Problem(kind, "no")) for job in asking.values()]
    credits = shelf.row(Budget, name="kyc").credits_used
    shelf.finish(*results)
    budget = shelf.row(Budget, name="kyc")
    assert (budget.failures, budget.stopped_at is not None, budget.credits_used) == (0, counts == 1, credits)


# Other endings of calls, and what they leave of the row.


@pytest.mark.parametrize(
    ("ending", "state", "result", "stands"),
    [
        (Finish("approved"), JobState.COMPLETED, "approved", True),
        (Cancel(Reason.BAD_INPUT, ""), JobState.FAILED, "earlier", True),
        (Hold(Reason.CONFLICT, ""), JobState.HELD, "earlier", True),
    ],
    ids=str,
)
def test_only_a_verdict_changes_a_rows_result_and_only_a_session_ends_the_wait_at_the_link(
    shelf, ending, state, result, stands
):
    shelf.add(customer("Ona"))
    asked = shelf.clock() - HOUR
    shelf.set(Job, result="earlier", link_requested_at=asked, entity_id="e-1", floor_seconds=77)
    (opened,) = shelf.open(shelf.claim())
    problem = None if isinstance(ending, Finish) else Problem(Kind.BAD_INPUT, "no")
    shelf.finish(CallResult(opened, shelf.clock(), ending, problem=problem))
    job = shelf.job("Ona")
    assert (job.state, job.result, job.entity_id, job.floor_seconds) == (state, result, "e-1", 77)
    assert job.link_requested_at == (asked if stands else None)
    assert (job.session_id, job.needs_status_check, job.reissues) == (None, False, 0)


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize(("floor", "kept"), [(timedelta(hours=5), 5 * 3600), (None, 12 * 3600)])
@pytest.mark.parametrize(("references", "entity"), [({"entityId": "e-2"}, "e-2"), ({}, "e-1")])
def test_a_session_brings_its_floor_and_its_entity_to_its_row(shelf, earlier, floor, kept, references, entity):
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.set(Job, Job.customer_id == "Ona", entity_id="e-1", session_id=uuid4() if earlier else None)
    for opened in shelf.open(shelf.claim()):
        own = opened.customer.customer_id == "Ona"
        result = shelf.got(opened, shelf.session(references=references if own else {}))
        shelf.finish(replace(result, floor=floor if own else None))
    job, other = shelf.job("Ona"), shelf.job("Jonas")
    assert (job.floor_seconds, job.entity_id, job.reissues) == (kept, entity, int(earlier))
    assert (other.floor_seconds, other.entity_id, other.reissues) == (12 * 3600, "", 0)
    assert len({row.job_id for row in shelf.rows(Attempt)}) == 2
