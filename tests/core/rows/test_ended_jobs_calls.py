"""The calls of ended jobs: which are handed over, marked, claimed and settled, and which rows beside them are not."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Attempt, Job
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import ENDED_JOBS, JobState
from onboarding_worker.core.rows import unknown_outcomes
from onboarding_worker.core.rows.unknown_outcomes import NO_OWNER, THE_SWEEP
from onboarding_worker.core.rules.reconciliation import More, Nothing, Unmatched
from tests.stored.shelf import changed, customer

SECOND = timedelta(seconds=1)
BY_STATE = [({"state": state}, state in ENDED_JOBS) for state in JobState]


@pytest.fixture
def ended(shelf):
    """Ona's and Jonas's jobs have ended, each with a call whose outcome is unknown. Returns Ona's and her call."""
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.open(shelf.claim())
    now = shelf.clock()
    shelf.set(Attempt, outcome=Kind.UNKNOWN.value, closed_at=now, reconcile_at=now + SECOND)
    for name in ("Ona", "Jonas"):
        (call,) = shelf.rows(Attempt, job_id=shelf.job(name).id)
        shelf.set(
            Job,
            Job.customer_id == name,
            state=JobState.COMPLETED,
            due_at=None,
            lease_until=None,
            unknown_attempt=call.id,
            attempts=1,
        )
    return shelf.job("Ona"), shelf.row(Attempt, job_id=shelf.job("Ona").id)


def with_look_up(shelf, call, **values):
    row = {**call._mapping, "id": uuid4(), "reconciles": call.id, **values}
    with shelf.database.write() as connection:
        connection.execute(sa.insert(Attempt).values(row))


def leases(shelf):
    return {row.customer_id: (row.lease_until, row.lease_owner) for row in shelf.rows(Job)}


def in_store(shelf, statement, *given, **how):
    with shelf.database.write() as connection:
        return statement(connection, *given, **how)


@pytest.mark.parametrize(
    ("changes", "handed_over"),
    [*BY_STATE, ({"leader_id": 1}, False), ({"lease_until": timedelta(0)}, False), ({"unknown_attempt": None}, False)],
    ids=str,
)
def test_only_an_ended_job_with_an_unknown_call_and_no_lease_is_handed_over(shelf, ended, changes, handed_over):
    now = shelf.clock() + SECOND
    values = {name: shelf.clock() if name == "lease_until" else value for name, value in changes.items()}
    shelf.set(Job, Job.id == ended[0].id, **values)
    before = leases(shelf)
    in_store(shelf, unknown_outcomes.hand_over, [ended[0].id], now=now)
    assert leases(shelf) == before | ({"Ona": (now, THE_SWEEP)} if handed_over else {})


def marked(shelf, job, accounts=("kyc",)):
    before = leases(shelf)
    found = in_store(shelf, unknown_outcomes.mark, [job.id], accounts)
    marks = {"Ona": (shelf.clock() + SECOND, NO_OWNER)} if found else {}
    assert leases(shelf) == before | marks
    assert found <= {job.id}
    return bool(found)


@pytest.mark.parametrize(
    ("of_job", "of_call", "marks"),
    [
        *((changes, {}, ends) for changes, ends in BY_STATE),
        ({"leader_id": 1}, {}, False),
        ({"account": "au"}, {}, False),
        ({}, {"account": "au"}, False),
        ({"account": "au"}, {"account": "au"}, True),
        ({"account": "nz"}, {"account": "nz"}, False),
        ({"unknown_attempt": None}, {}, False),
        ({}, {"outcome": "done"}, False),
        ({}, {"outcome": "late"}, False),
        ({}, {"reconcile_at": None}, False),
    ],
    ids=str,
)
def test_only_the_unknown_call_of_an_ended_job_at_an_account_with_a_list_is_marked(
    shelf, ended, of_job, of_call, marks
):
    job, call = ended
    shelf.set(Job, Job.id == job.id, **({"due_at": None} | of_job))
    shelf.set(Attempt, Attempt.id == call.id, **({"detail": ""} | of_call))
    assert marked(shelf, job, ("kyc", "au")) is marks


@pytest.mark.parametrize(
    ("look_up", "marks"),
    [
        ({"outcome": "done"}, False),
        ({"outcome": "bad_input"}, False),
        ({"outcome": "transient"}, False),
        ({"outcome": "unknown"}, False),
        *(({"outcome": word}, True) for word in ("more", "rate_limited", "auth", "out_of_credit")),
        *(({"outcome": word}, True) for word in ("unreachable", "not_sent", "unanswered")),
        ({"outcome": None, "closed_at": None}, True),
        ({"outcome": "done", "reconciles": UUID(int=1)}, True),
    ],
    ids=str,
)
def test_a_call_is_looked_up_once_more_unless_a_look_up_was_answered_or_failed_for_good(shelf, ended, look_up, marks):
    job, call = ended
    with_look_up(shelf, call, **look_up)
    assert marked(shelf, job) is marks


def test_nothing_is_marked_without_an_account_or_a_job(shelf, ended):
    assert not marked(shelf, ended[0], ())
    assert in_store(shelf, unknown_outcomes.mark, [], ["kyc"]) == set()
    in_store(shelf, unknown_outcomes.hand_over, [], now=shelf.clock())
    in_store(shelf, unknown_outcomes.give_up, [])
    assert {lease for lease, _ in leases(shelf).values()} == {None}


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("changes", "claimed"),
    [
        ({}, True),
        ({"state": JobState.CANCELLED}, True),
        ({"state": JobState.HELD}, False),
        ({"lease_until": SECOND}, False),
        ({"lease_owner": THE_SWEEP}, False),
        ({"account": "au"}, False),
        ({"leader_id": 1}, False),
        ({"unknown_attempt": None}, False),
    ],
    ids=str,
)
def test_only_a_marked_call_whose_time_has_come_is_claimed(shelf, ended, changes, claimed):
    job, call = ended
    values = {"lease_until": timedelta(0), "lease_owner": NO_OWNER} | changes
    shelf.set(Job, Job.id == job.id, **values | {"lease_until": shelf.clock() + values["lease_until"]})
    found = shelf.claim()
    assert [(one.id, one.ended, one.unknown_call.attempt_id) for one in found] == (
        [(job.id, True, call.id)] if claimed else []
    )


@pytest.mark.parametrize("own", [True, False])
def test_a_worker_for_one_list_claims_marked_calls_of_this_list_alone(shelf, ended, own):
    shelf.set(Job, Job.id == ended[0].id, lease_until=shelf.clock(), lease_owner=NO_OWNER)
    batch = ended[0].batch_id if own else ended[0].batch_id + 1
    assert len(shelf.claim(policy=changed(shelf.policy, only_batch=batch))) == own


@pytest.mark.parametrize(
    ("changes", "fence", "free"),
    [({}, 1, True), ({}, 2, False), ({"state": JobState.WORKING}, 1, False)],
    ids=["ours", "claimed again", "not ended"],
)
def test_only_the_lease_of_this_claim_is_released_and_settled(shelf, ended, changes, fence, free):
    job, call = ended
    later = shelf.clock() + SECOND
    shelf.set(Job, lease_until=later, lease_owner="here:1")
    shelf.set(Job, Job.id == job.id, **({"due_at": None} | changes))
    before = leases(shelf)

    def settle(connection, found):
        return unknown_outcomes.settle(connection, job.id, fence, call.id, found, now=shelf.clock())

    for statement, freed in (
        (lambda db: unknown_outcomes.release(db, [(job.id, fence)], now=shelf.clock()), (shelf.clock(), NO_OWNER)),
        (lambda db: settle(db, More()), (shelf.clock(), NO_OWNER)),
        (lambda db: settle(db, Unmatched(("scan-9",), "one")), (None, "here:1")),
        (lambda db: settle(db, Nothing()), (None, "here:1")),
    ):
        shelf.set(Job, lease_until=later, lease_owner="here:1")
        shelf.set(Attempt, outcome=Kind.UNKNOWN.value)
        in_store(shelf, statement)
        assert leases(shelf) == before | ({"Ona": freed} if free else {})


@pytest.mark.parametrize(("state", "lets_go"), [(JobState.LAPSED, True), (JobState.WORKING, False)])
def test_a_call_that_cannot_be_looked_up_is_given_up_alone(shelf, ended, state, lets_go):
    shelf.set(Job, lease_until=shelf.clock())
    shelf.set(Job, Job.id == ended[0].id, state=state)
    in_store(shelf, unknown_outcomes.give_up, [ended[0].id])
    assert {name: lease for name, (lease, _) in leases(shelf).items()} == {
        "Ona": None if lets_go else shelf.clock(),
        "Jonas": shelf.clock(),
    }


@pytest.mark.parametrize("answered", [False, True])
def test_what_a_look_up_found_is_written_unless_the_calls_own_answer_came_before(shelf, ended, answered):
    job, call = ended
    if answered:
        shelf.set(Attempt, Attempt.id == call.id, outcome="done")
    other = shelf.row(Attempt, job_id=shelf.job("Jonas").id)

    def settled(found):
        return in_store(shelf, unknown_outcomes.settle, job.id, job.fence, call.id, found, now=shelf.clock())

    assert settled(More()) is True
    assert settled(Nothing()) is not answered
    assert shelf.job("Ona").unknown_attempt == (call.id if answered else None)
    assert settled(Unmatched(("scan-8", "scan-9"), "two")) is not answered
    after = shelf.row(Attempt, id=call.id)
    assert (after.outcome, after.found) == (("done", "") if answered else ("late", "scan-8 scan-9"))
    assert shelf.row(Attempt, id=other.id) == other
    assert shelf.job("Jonas").unknown_attempt == other.id
