"""Which leases are ended, and that all that stands beside them stays as it is."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rows.unknown_outcomes import NO_OWNER
from onboarding_worker.core.upkeep.expired_leases import EndedLeases
from tests.stored.shelf import POLICY, customer

SECOND = timedelta(seconds=1)
NAMES = ("Over", "Cancelled", "AtItsEnd", "EndedOver", "EndedAtItsEnd", "Marked")


@pytest.fixture
def leased(shelf):
    """Jobs whose calls are open, some of them ended by a verdict, and one that is marked for a look-up."""
    shelf.add(*map(customer, NAMES))
    shelf.open(shelf.claim())
    now = shelf.clock()
    shelf.set(Job, lease_until=now)
    shelf.set(Job, Job.customer_id.in_(["Over", "Cancelled", "EndedOver", "Marked"]), lease_until=now - SECOND)
    shelf.set(Job, Job.customer_id == "Cancelled", cancelled_at=now)
    shelf.set(Attempt, Attempt.job_id == shelf.job("Cancelled").id, repeatable=True)
    shelf.set(Job, Job.customer_id.in_(["EndedOver", "EndedAtItsEnd", "Marked"]), state=JobState.COMPLETED, due_at=None)
    marked = shelf.job("Marked").id
    shelf.set(Job, Job.id == marked, lease_owner=NO_OWNER, unknown_attempt=shelf.row(Attempt, job_id=marked).id)
    shelf.set(Attempt, Attempt.job_id == marked, outcome="unknown", closed_at=now - SECOND, detail="long ago")
    return shelf


def standing(shelf):
    """Each job with its attempt, by customer."""
    attempts = {row.job_id: row for row in shelf.rows(Attempt)}
    return {row.customer_id: (row, attempts[row.id]) for row in shelf.rows(Job)}


@pytest.mark.parametrize("all_of_them", [False, True])
def test_of_jobs_only_leases_that_are_over_are_ended_unless_all_are(leased, all_of_them):
    before, now = standing(leased), leased.clock()
    ended = leased.expired_leases.end(POLICY, now=now, all_of_them=all_of_them)
    after = standing(leased)
    own = {"Over", "Cancelled", "EndedOver"} | ({"AtItsEnd", "EndedAtItsEnd"} if all_of_them else set())
    assert {name for name in NAMES if after[name] != before[name]} == own
    assert ended == EndedLeases(repeated=1, held=2 if all_of_them else 1, ended=2 if all_of_them else 1)
    for name in own:
        job, attempt = after[name]
        assert (job.lease_until, attempt.outcome, attempt.closed_at) == (None, "unknown", now)
        assert job.unknown_attempt == attempt.id or name == "Cancelled"
    states = {name: job.state for name, (job, _) in after.items() if name in own}
    assert (states["Over"], states["Cancelled"]) == (JobState.HELD, JobState.CANCELLED)
    assert states["EndedOver"] is JobState.COMPLETED


def test_without_a_lease_that_is_over_nothing_changes(leased):
    leased.set(Job, Job.lease_owner != NO_OWNER, lease_until=leased.clock())
    before = standing(leased)
    assert leased.expired_leases.end(POLICY, now=leased.clock()) == EndedLeases()
    assert standing(leased) == before


@pytest.mark.parametrize(("attempts", "state"), [(6, JobState.WAITING), (7, JobState.FAILED)])
def test_a_call_whose_lease_is_over_counts_as_an_attempt_and_the_last_ends_its_row(leased, attempts, state):
    over = leased.job("Over")
    leased.set(Job, Job.id == over.id, attempts=attempts)
    leased.set(Attempt, Attempt.job_id == over.id, repeatable=True)
    leased.expired_leases.end(replace(POLICY, attempts=8), now=leased.clock())
    assert (leased.job("Over").state, leased.job("Over").attempts) == (state, attempts + 1)


def test_an_attempt_of_an_earlier_claim_does_not_say_what_the_last_one_did(leased):
    leased.set(Attempt, Attempt.job_id == leased.job("Over").id, fence=0)
    assert leased.expired_leases.end(POLICY, now=leased.clock()) == EndedLeases(released=1, repeated=1, ended=1)
    job, attempt = standing(leased)["Over"]
    assert (job.state, job.unknown_attempt, attempt.outcome) == (JobState.WAITING, None, "unknown")
    assert job.attempts == 0


def test_a_call_whose_end_is_known_is_not_taken_for_a_lost_one(leased):
    leased.set(Attempt, Attempt.job_id == leased.job("Over").id, outcome="not_sent", closed_at=leased.clock() - SECOND)
    before = standing(leased)["Over"][1]
    assert leased.expired_leases.end(POLICY, now=leased.clock()) == EndedLeases(released=1, repeated=1, ended=1)
    job, attempt = standing(leased)["Over"]
    assert (job.state, job.unknown_attempt, attempt) == (JobState.WAITING, None, before)


@pytest.mark.parametrize("all_of_them", [False, True])
def test_of_messages_only_leases_that_are_over_are_ended_unless_all_are(shelf, all_of_them):
    names = ("Over", "AtItsEnd", "Sent")
    shelf.add(*map(customer, names))
    shelf.issue()
    shelf.open_messages(shelf.claim_messages(), repeatable=False)
    now = shelf.clock()
    ids = {row.customer_id: row.id for row in shelf.rows(Job)}
    shelf.set(InvitationRow, lease_until=now - SECOND)
    shelf.set(InvitationRow, InvitationRow.job_id == ids["AtItsEnd"], lease_until=now)
    shelf.set(InvitationRow, InvitationRow.job_id == ids["Sent"], state=InvitationState.SENT)
    seen = {row.job_id: row for row in shelf.rows(InvitationRow)}
    ended = shelf.expired_leases.end(POLICY, now=now, all_of_them=all_of_them)
    assert ended == EndedLeases(held=2 if all_of_them else 1)
    own = {"Over", "AtItsEnd"} if all_of_them else {"Over"}
    after = {row.job_id: row for row in shelf.rows(InvitationRow)}
    assert {name for name in names if after[ids[name]] != seen[ids[name]]} == own
    closed = {row.job_id for row in shelf.rows(Attempt) if row.invitation_id is not None and row.closed_at is not None}
    assert closed == {ids[name] for name in own}
    assert {shelf.job(name).state for name in own} == {JobState.HELD}
    assert (after[ids["Over"]].lease_until, after[ids["Over"]].attempts) == (None, 1)


@pytest.mark.parametrize(("account", "marked"), [("kyc", True), ("au", False)])
def test_an_ended_jobs_call_is_looked_up_where_the_provider_lists_its_sessions(leased, account, marked):
    at = leased.clock() + timedelta(minutes=1)
    leased.set(Attempt, reconcile_at=at)
    leased.expired_leases.end(POLICY, now=leased.clock(), listing=[account])
    assert leased.job("EndedOver").lease_until == (at if marked else None)
    assert leased.job("EndedOver").attempts == 1


def test_a_lost_look_up_leaves_the_unknown_outcome_of_its_call(leased):
    over, call = leased.job("Over"), uuid4()
    leased.set(Job, Job.id == over.id, unknown_attempt=call)
    leased.set(Attempt, Attempt.job_id == over.id, reconciles=call, repeatable=True)
    assert leased.expired_leases.end(POLICY, now=leased.clock()) == EndedLeases(unknown=1, repeated=1, ended=1)
    job, attempt = standing(leased)["Over"]
    assert (job.state, job.unknown_attempt, job.reason) == (JobState.WAITING, call, Kind.UNKNOWN.value)
    assert (job.attempts, attempt.outcome, attempt.closed_at) == (0, "unanswered", leased.clock())
    assert job.due_at == leased.clock() + POLICY.first * 0.5
