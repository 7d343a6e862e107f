"""Which rows a claim leases, of all that are there; and which leased rows are let go."""

from datetime import timedelta
from uuid import uuid4

import pytest

from onboarding_worker.core.claim.flush import Flush
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH
from onboarding_worker.core.messages.message_context import LEASES as OF_MESSAGES
from onboarding_worker.core.model.endings import Later, Never
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import BATCH, EVENT, PAUSED, InvitationState, JobState
from onboarding_worker.core.rows import unknown_outcomes
from onboarding_worker.core.work.store.claim_jobs import LEASES as OF_JOBS
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases

TICK, SECOND = timedelta(microseconds=1), timedelta(seconds=1)
LEASE = timedelta(minutes=1)
STATES = {Job: JobState, InvitationRow: InvitationState}
LEASES = {Job: OF_JOBS, InvitationRow: OF_MESSAGES}


@pytest.fixture(params=[Job, InvitationRow], ids=["jobs", "messages"])
def model(request):
    return request.param


@pytest.fixture
def named(shelf, model):
    """Rows of this kind by name, in two batches: each differs from one that is due in one thing."""
    now, states = shelf.clock(), STATES[model]
    column = "account" if model is Job else "channel"
    rows = {
        "Due": {},
        "First": {"due_at": now - SECOND},
        "Last": {"due_at": now},
        "Early": {"due_at": now + TICK},
        "Event": {"priority": EVENT},
        "Elsewhere": {column: "sms"},
        "Held": {"state": states.HELD},
        "Working": {"state": states.WORKING, "lease_until": now - SECOND},
        "Paused": {"priority": BATCH + PAUSED},
        "Other": {},
    }
    shelf.add(*(customer(name) for name in rows if name != "Other"))
    shelf.add(customer("Other"))
    if model is InvitationRow:
        shelf.issue()
    shelf.set(model, due_at=now - timedelta(milliseconds=500))
    names = {}
    for name, values in rows.items():
        job = shelf.job(name)
        id_ = job.id if model is Job else shelf.row(InvitationRow, job_id=job.id).id
        names[id_] = name
        if values:
            shelf.set(model, model.id == id_, **values)
    return names


@pytest.fixture
def claim(shelf, model, named):
    """Claims rows, and returns their names."""

    def rows(priority=BATCH, most=99, **how):
        of = "kyc" if model is Job else "email"
        how = {"lease": LEASE, "owner": "here:7", "now": shelf.clock(), **how}
        with shelf.database.write() as connection:
            return [named[row.id] for row in LEASES[model].claim(connection, of, priority, most, **how)]

    return rows


def others_batch(shelf):
    return shelf.job("Other").batch_id


def test_the_due_rows_of_a_priority_are_leased_in_their_order_and_no_others_are_touched(shelf, model, named, claim):
    before = {row.id: row for row in shelf.rows(model)}
    assert claim(most=1) == ["First"]
    found = claim()
    assert (sorted(found[:2]), found[2:]) == (["Due", "Other"], ["Last"])
    assert claim(EVENT) == ["Event"]
    assert claim() == claim(EVENT) == []
    leased = {"First", "Due", "Other", "Last", "Event"}
    for row in shelf.rows(model):
        was = before[row.id]
        if named[row.id] in leased:
            assert (row.state, row.lease_until, row.lease_owner) == (
                STATES[model].WORKING,
                shelf.clock() + LEASE,
                "here:7",
            )
            assert (row.fence, row.due_at, row.attempts) == (was.fence + 1, was.due_at, was.attempts)
        else:
            assert row == was


def test_a_claim_for_one_batch_or_for_free_calls_leases_these_alone(shelf, model, named, claim):
    batch = others_batch(shelf)
    assert claim(only_batch=batch) == ["Other"]
    free = [id_ for id_, name in named.items() if name in ("Last", "Early", "Held")]
    values = (
        {"needs_status_check": True} if model is Job else {"unknown_attempt": shelf.session().token.encode() and None}
    )
    if model is Job:
        shelf.set(model, model.id.in_(free), **values)
        assert claim(free_only=True, only_batch=batch) == []
        assert claim(free_only=True) == ["Last"]
    assert claim(EVENT, only_batch=batch) == []


@pytest.fixture
def is_due(shelf, model, named):
    def ask(free, batch=None):
        of = "kyc" if model is Job else "email"
        with shelf.database.read() as connection:
            return LEASES[model].is_due(connection, of, free=free, only_batch=batch, now=shelf.clock())

    return ask


@pytest.mark.parametrize(
    ("name", "batch", "due"),
    [
        ("Due", None, True),
        ("Last", None, True),
        ("Event", None, True),
        ("Other", "its", True),
        ("Due", "other", False),
        ("Early", None, False),
        ("Elsewhere", None, False),
        ("Held", None, False),
        ("Working", None, False),
        ("Paused", None, False),
    ],
)
@pytest.mark.parametrize("free", [False, True])
def test_whether_a_call_is_due_that_costs_a_credit_or_none(shelf, model, named, is_due, name, batch, due, free):
    others, of = [id_ for id_, known in named.items() if known != name], "account" if model is Job else "channel"
    shelf.set(model, model.id.in_(others), **{of: "sms"})
    looks_up = {"needs_status_check": True} if model is Job else {"unknown_attempt": uuid4()}
    if free:
        shelf.set(model, **looks_up)
    which = others_batch(shelf) if batch else None
    assert (is_due(free, which), is_due(not free, which)) == (due, False)


def test_jobs_that_join_another_one_are_neither_due_nor_claimed(shelf):
    shelf.add(customer("Ona"))
    leading = shelf.job("Ona").id
    shelf.add(customer("Jonas"))
    shelf.set(Job, Job.customer_id == "Jonas", leader_id=leading)
    with shelf.database.write() as connection:
        how = {"lease": LEASE, "owner": "", "now": shelf.clock()}
        assert [row.id for row in OF_JOBS.claim(connection, "kyc", BATCH, 9, **how)] == [leading]
        assert not OF_JOBS.is_due(connection, "kyc", free=False, only_batch=None, now=shelf.clock())


def test_a_job_that_ended_with_an_unknown_call_is_claimed_behind_the_rows_of_batches(shelf):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.set(
        Job,
        Job.id == opened.id,
        state=JobState.COMPLETED,
        due_at=None,
        unknown_attempt=opened.attempt_id,
        lease_until=shelf.clock(),
        lease_owner=unknown_outcomes.NO_OWNER,
    )
    shelf.set(Attempt, Attempt.id == opened.attempt_id, closed_at=shelf.clock(), outcome="unknown")
    other = shelf.add(customer("Jonas"))
    now = shelf.clock()

    def claimed(*which, **how):
        how = {"lease": LEASE, "owner": "here:7", "now": now, **how}
        with shelf.database.write() as connection:
            rows = OF_JOBS.claim(connection, "kyc", *which, **how)
            connection.rollback()
            return [row.customer_id for row in rows]

    assert claimed(BATCH, 9) == ["Jonas", "Ona"]
    assert claimed(BATCH, 1) == ["Jonas"]
    assert claimed(EVENT, 9) == []
    assert claimed(BATCH, 9, free_only=True) == ["Ona"]
    assert claimed(BATCH, 9, only_batch=other) == ["Jonas"]
    assert claimed(BATCH, 9, only_batch=batch) == ["Ona"]
    assert claimed(BATCH, 9, now=now - TICK) == []
    with shelf.database.read() as connection:
        for batch_id, free, due in [
            (None, True, True),
            (None, False, True),
            (batch, True, True),
            (batch, False, False),
        ]:
            assert OF_JOBS.is_due(connection, "kyc", free=free, only_batch=batch_id, now=now) is due
        assert not OF_JOBS.is_due(connection, "kyc", free=True, only_batch=other, now=now)


@pytest.fixture
def leased(shelf, model, claim):
    """Three leased rows, with their attempts."""
    store, policy = (shelf.jobs, shelf.policy) if model is Job else (shelf.invitations, shelf.message_policy)
    items = store.claim(policy, most=3, now=shelf.clock()).jobs
    if model is Job:
        return shelf.open(items)
    return shelf.open_messages(items)


@pytest.mark.parametrize("changed", ["fence", "lease_until", "state", None])
def test_only_what_is_still_under_its_lease_is_released(shelf, model, leased, changed):
    one, two, three = leased
    others = {"fence": 99, "lease_until": shelf.clock(), "state": STATES[model].HELD}
    if changed:
        shelf.set(model, model.id == two.id, **{changed: others[changed]})
    before = {row.id: row for row in shelf.rows(model)}
    now = shelf.clock.advance(seconds=1)
    with shelf.database.write() as connection:
        given = [(each.id, each.fence, each.lease_until) for each in (one, two)]
        ours = LEASES[model].release_opened(connection, given, now=now)
    after = {row.id: row for row in shelf.rows(model)}
    assert ours == ({one.id} if changed else {one.id, two.id})
    closed = {row.id: (row.closed_at, row.outcome) for row in shelf.rows(Attempt)}
    for item in (one, two, three):
        row = after[item.id]
        if item.id in ours:
            assert (row.state, row.lease_until, row.due_at) == (STATES[model].WAITING, None, before[item.id].due_at)
            assert closed[item.attempt_id] == (now, "not_sent")
        else:
            assert row == before[item.id]
            assert closed[item.attempt_id] == (None, None)


def test_rows_that_are_kept_back_become_what_is_said_of_each_and_the_others_stay(shelf, model, named):
    store, policy = (shelf.jobs, shelf.policy) if model is Job else (shelf.invitations, shelf.message_policy)
    states, later, of = STATES[model], shelf.clock() + LEASE, "kyc" if model is Job else "email"
    shelf.set(model, detail="before")
    with shelf.database.write() as connection:
        how = {"lease": LEASE, "owner": "here:7", "now": shelf.clock()}
        one, two, three = rows = LEASES[model].claim(connection, of, BATCH, 3, **how)
        stay = {
            one.id: Later(later, Reason.QUIET_HOURS),
            two.id: Never(states.HELD, Reason.CANNOT_DECRYPT, "x" * (DETAIL_LENGTH + 1)),
        }
        store.keep_back(Flush(connection, shelf.keyring, policy, shelf.clock()), rows, stay)
    found = {row.id: row for row in shelf.rows(model)}
    known = [
        (row.state, row.lease_until, row.due_at, row.reason, row.detail)
        for row in (found[each.id] for each in (one, two, three))
    ]
    assert known == [
        (states.WAITING, None, later, Reason.QUIET_HOURS, ""),
        (states.HELD, None, None, Reason.CANNOT_DECRYPT, "x" * DETAIL_LENGTH),
        (states.WORKING, three.lease_until, three.due_at, "", "before"),
    ]


def test_what_a_transaction_has_leased_it_may_let_go(shelf, model, leased):
    one, two, _ = leased
    shelf.set(model, model.id == two.id, state=STATES[model].HELD)
    before = {row.id: row for row in shelf.rows(model)}
    with shelf.database.write() as connection:
        LEASES[model].release_leased(connection, [], now=shelf.clock())
        LEASES[model].release_leased(connection, [one.id, two.id], now=shelf.clock())
    rows = {row.id: row for row in shelf.rows(model)}
    assert (rows[one.id].state, rows[one.id].lease_until) == (STATES[model].WAITING, None)
    assert {id_: row for id_, row in rows.items() if id_ != one.id} == {
        id_: row for id_, row in before.items() if id_ != one.id
    }
