"""Leases of workers that are gone: rows are released, repeated or held, and late results do no harm."""

import re
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.database import STOOD_STILL
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.clock import ProcessClock, system_clock
from onboarding_worker.core.model.endings import Done, Kind, Retry, RetryPolicy
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.upkeep.expired_leases import EndedLeases
from tests.stored.plans import plans_of
from tests.stored.recount import forget_calls
from tests.stored.shelf import POLICY, customer
from tests.stored.steps import InvitationSteps, JobSteps

pytestmark = pytest.mark.both_databases


def sweep(shelf, *, policy=POLICY, **how):
    return shelf.expired_leases.end(policy, now=shelf.clock(), **how)


def test_a_lease_that_has_not_run_out_is_left_alone(shelf):
    shelf.add(customer("Ona"))
    shelf.claim()
    shelf.clock.advance(seconds=60)
    assert sweep(shelf) == EndedLeases()
    assert shelf.job("Ona").state is JobState.WORKING


def test_a_claim_for_one_batch_leases_no_row_of_another(shelf):
    shelf.add(customer("Ona"))
    batch = shelf.add(customer("Vita"))
    assert [job.customer.customer_id for job in shelf.claim(policy=replace(shelf.policy, only_batch=batch))] == ["Vita"]
    assert shelf.job("Ona").state is JobState.WAITING


CUT_OFF = sa.exc.OperationalError("COMMIT", None, Exception("connection reset"))


@pytest.mark.parametrize("what", ["job", "message"])
def test_a_dispatcher_whose_claim_was_lost_does_not_release_a_row_that_another_dispatcher_has_claimed(shelf, what):
    shelf.add(customer("Ona"))
    if what == "message":
        shelf.issue()
    store, policy = (shelf.jobs, shelf.policy) if what == "job" else (shelf.invitations, shelf.message_policy)
    lost = []

    def break_off(_connection, items):
        lost.extend(items)
        raise CUT_OFF  # as when the connection breaks at the commit and nothing is committed

    with pytest.raises(sa.exc.OperationalError):
        store.claim(policy, most=10, now=shelf.clock(), on_claim=break_off)
    shelf.clock.advance(milliseconds=1)
    (theirs,) = shelf.claim() if what == "job" else shelf.claim_messages()
    assert theirs.fence == lost[0].fence
    if what == "job":
        (opened,) = shelf.open([theirs])
    else:
        (opened,) = shelf.open_messages([theirs], policy=policy, repeatable=False)
    store.release(policy, lost, now=shelf.clock())
    row = shelf.row(Job if what == "job" else InvitationRow)
    assert (row.state.value, row.lease_until) == ("working", theirs.lease_until)
    assert shelf.row(Attempt, id=opened.attempt_id).closed_at is None


def flushing(shelf, what):
    """The store, the policy and the table of this kind of row, which is due."""
    if what == "job":
        return JobSteps(shelf.database, shelf.keyring), shelf.policy, Job
    shelf.issue()
    return InvitationSteps(shelf.database, shelf.keyring), shelf.message_policy, InvitationRow


@pytest.mark.parametrize("what", ["job", "message"])
def test_workers_that_flush_at_once_write_one_attempt_for_each_row(shelf, in_parallel, what):
    shelf.add(*(customer(f"C{number}") for number in range(60)))
    store, policy, row = flushing(shelf, what)
    before = {attempt.id for attempt in shelf.rows(Attempt)}

    def work():
        return [item for _ in range(12) for item in store.flush(policy, [], Room(7, 0), clock=shelf.clock).opened]

    opened = [item.attempt_id for part in in_parallel(work, times=3) for item in part]

    new = [attempt for attempt in shelf.rows(Attempt) if attempt.id not in before]
    assert sorted(opened) == sorted(attempt.id for attempt in new)
    rows = [attempt.job_id if what == "job" else attempt.invitation_id for attempt in new]
    assert sorted(rows) == sorted(each.id for each in shelf.rows(row))
    assert {each.fence for each in (*new, *shelf.rows(row))} == {1}


@pytest.mark.postgresql_alone
@pytest.mark.parametrize("what", ["job", "message"])
def test_the_databases_clock_shows_that_the_lease_of_an_opened_row_is_over(shelf, what):
    """A machine that stood still together with its clock passes every check of its own: a dispatcher asks this one."""
    shelf.clock.now = system_clock() - timedelta(seconds=61)  # this machine's clock is behind
    shelf.add(customer("Ona"))
    store, policy, row = flushing(shelf, what)
    assert store.database_time is None  # not asked: see `Database.trust_its_time`
    shelf.database.trust_its_time(ProcessClock())

    assert len(store.flush(policy, [], Room(7, 0), clock=shelf.clock).opened) == 1

    assert shelf.row(row).lease_until < store.database_time()
    assert shelf.row(row).lease_until > shelf.clock()


@pytest.mark.postgresql_alone
@pytest.mark.parametrize("behind", [timedelta(seconds=25), timedelta(seconds=-25)])
def test_the_clock_of_a_process_that_stood_still_with_its_machine_is_set_when_its_leases_are_checked(shelf, behind):
    clock = ProcessClock(own=lambda: system_clock() - behind)
    shelf.database.trust_its_time(clock)

    now = shelf.database.now()

    assert abs(clock() - now) < STOOD_STILL


def test_a_row_that_was_only_claimed_goes_back_free(shelf):
    shelf.add(customer("Ona"))
    was_due_at = shelf.clock()
    shelf.claim()
    shelf.clock.advance(seconds=61)
    assert sweep(shelf) == EndedLeases(released=1)
    row = shelf.job("Ona")  # nothing is lost, and due_at (the order of claims) is unchanged
    assert (row.state, row.due_at, row.attempts, row.waits) == (JobState.WAITING, was_due_at, 0, 0)
    assert len(shelf.claim()) == 1


def test_a_call_that_may_have_been_made_is_held_where_repeating_costs(shelf):
    shelf.add(customer("Ona"))
    shelf.open(shelf.claim(), repeatable=False)
    shelf.clock.advance(seconds=61)
    assert sweep(shelf) == EndedLeases(held=1)
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.reason, row.attempts) == (JobState.HELD, None, "unknown", 1)
    assert "may have been carried out" in row.detail
    attempt = shelf.row(Attempt)
    assert (attempt.outcome, attempt.closed_at) == ("unknown", shelf.clock())
    assert shelf.claim() == []


def test_a_call_that_may_have_been_made_is_repeated_where_that_is_safe(shelf):
    shelf.add(customer("Ona"))
    shelf.open(shelf.claim(), repeatable=True)
    shelf.clock.advance(seconds=61)
    assert sweep(shelf) == EndedLeases(repeated=1)
    row = shelf.job("Ona")
    assert (row.state, row.reason, row.attempts) == (JobState.WAITING, "unknown", 1)
    assert row.due_at == shelf.clock() + timedelta(seconds=0.5)  # half of the first wait: the shelf's jitter
    assert shelf.row(Attempt).outcome == "unknown"


def test_even_a_safe_call_is_not_repeated_for_ever(shelf):
    shelf.add(customer("Ona"))
    shelf.open(shelf.claim(), repeatable=True)
    shelf.clock.advance(seconds=61)
    assert sweep(shelf, policy=RetryPolicy(attempts=1)) == EndedLeases(held=1)
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.FAILED, "attempts_spent")


def test_where_no_other_process_can_be_working_all_leases_are_ended_at_once(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    ona, _ = shelf.claim()
    shelf.open([ona])
    assert sweep(shelf, all_of_them=True) == EndedLeases(released=1, held=1)


def test_more_leases_than_one_transaction_ends_are_all_ended(shelf):
    shelf.add(*(customer(f"C{number}") for number in range(1100)))
    assert len(shelf.claim(most=1100, policy=shelf.ruled(concurrency=4400))) == 1100
    shelf.clock.advance(seconds=61)
    assert sweep(shelf) == EndedLeases(released=1100)


def test_doing_it_twice_changes_nothing_more(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    ona, _ = shelf.claim()
    shelf.open([ona])
    shelf.clock.advance(seconds=61)
    sweep(shelf)
    before = shelf.rows(Job), shelf.rows(Attempt)
    assert sweep(shelf) == EndedLeases()
    assert (shelf.rows(Job), shelf.rows(Attempt)) == before


def test_an_attempt_of_an_earlier_claim_does_not_hold_a_row_that_was_claimed_again(shelf):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim(), repeatable=True)
    retry = Retry(shelf.clock(), "transient", "HTTP 500")
    shelf.finish(shelf.failed(opened, Kind.TRANSIENT, retry))
    shelf.claim()
    shelf.clock.advance(seconds=61)
    assert sweep(shelf) == EndedLeases(released=1)


@pytest.mark.parametrize("theirs", ["first", "last"])
def test_the_attempt_of_the_lease_that_ended_decides_and_not_one_of_an_earlier_lease(shelf, theirs):
    """A worker that stood still may have written an attempt under a lease that it had lost."""
    shelf.add(customer("Ona"))
    shelf.open(shelf.claim(), repeatable=True)
    row = shelf.row(Attempt)
    number = 0 if theirs == "first" else 2**128 - 1  # the order of the ids is the order of an index
    earlier = {**row._mapping, "id": UUID(int=number), "fence": row.fence - 1, "repeatable": False}
    with shelf.database.write() as connection:
        if theirs == "first":
            connection.execute(sa.delete(Attempt))
            forget_calls(connection)
        connection.execute(sa.insert(Attempt), earlier)
        if theirs == "first":
            connection.execute(sa.insert(Attempt), dict(row._mapping))
    shelf.clock.advance(seconds=61)

    assert sweep(shelf) == EndedLeases(repeated=1)
    assert shelf.job("Ona").state is JobState.WAITING


# A worker that was only slow comes back after its lease.


def lose(shelf, name="Ona"):
    """An opened call whose lease has run out and was ended by the sweep."""
    shelf.add(customer(name))
    (opened,) = shelf.open(shelf.claim(), repeatable=True)
    shelf.clock.advance(seconds=61)
    sweep(shelf)
    return opened


def test_a_result_under_a_lost_lease_changes_only_its_attempt(shelf):
    opened = lose(shelf)
    shelf.clock.advance(seconds=1)
    shelf.claim()
    before = shelf.job("Ona")
    shelf.finish(shelf.got(opened, shelf.session(reference="scan-77")))
    assert shelf.job("Ona") == before
    assert (shelf.rows(SessionRow), shelf.rows(InvitationRow)) == ([], [])
    attempt = shelf.row(Attempt)
    assert attempt.outcome == "late"
    assert "scan-77" in attempt.detail  # the only trace of a session that was opened and paid for
    assert "token" not in attempt.detail


def test_a_result_under_a_lost_lease_leaves_the_new_owners_row_alone(shelf):
    lost = lose(shelf)
    shelf.clock.advance(seconds=1)
    (mine,) = shelf.open(shelf.claim())
    assert mine.fence > lost.fence
    shelf.finish(shelf.got(lost))
    row = shelf.job("Ona")
    assert (row.state, row.fence) == (JobState.WORKING, mine.fence)
    shelf.finish(shelf.got(mine, shelf.session(reference="scan-mine")))
    assert shelf.job("Ona").state is JobState.ISSUED
    assert shelf.row(SessionRow).reference == "scan-mine"


def test_a_failure_under_a_lost_lease_does_not_count_against_the_row(shelf):
    lost = lose(shelf)
    shelf.clock.advance(seconds=1)
    shelf.claim()
    before = shelf.job("Ona")
    late = shelf.failed(lost, Kind.TRANSIENT, Retry(shelf.clock(), "transient", "HTTP 500"), status=500, code="E1")
    shelf.finish(late)
    assert shelf.job("Ona") == before
    attempt = shelf.row(Attempt)
    assert (attempt.outcome, attempt.status, attempt.code) == ("transient", 500, "E1")


def test_one_lost_lease_in_a_flush_does_not_affect_the_other_rows(shelf):
    shelf.add(customer("Ona"), customer("Jonas"))
    ona, jonas = shelf.open(shelf.claim())
    shelf.set(Job, Job.customer_id == "Ona", fence=7)
    shelf.finish(shelf.got(ona), shelf.got(jonas))
    assert (shelf.job("Ona").state, shelf.job("Jonas").state) == (JobState.WORKING, JobState.ISSUED)
    assert {row.outcome for row in shelf.rows(Attempt)} == {"late", "done"}


# The same for invitations.


@pytest.mark.parametrize(
    ("repeatable", "state", "returned"),
    [(True, InvitationState.WAITING, EndedLeases(repeated=1)), (False, InvitationState.HELD, EndedLeases(held=1))],
)
def test_a_hand_over_that_may_have_been_made_is_repeated_or_held(shelf, repeatable, state, returned):
    shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    shelf.open_messages(messages, repeatable=repeatable)
    shelf.clock.advance(seconds=61)
    assert sweep(shelf) == returned
    assert (shelf.row(InvitationRow).state, shelf.row(InvitationRow).attempts) == (state, 1)
    # A message with an unknown outcome is held for a person, and so is its job.
    assert shelf.job("Ona").state is (JobState.ISSUED if repeatable else JobState.HELD)


def test_an_invitation_that_was_only_claimed_goes_back_free(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.claim_messages()
    shelf.clock.advance(seconds=61)
    assert sweep(shelf) == EndedLeases(released=1)
    assert len(shelf.claim_messages()) == 1


def test_a_sent_result_under_a_lost_lease_leaves_the_new_owners_invitation_alone(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    lost = shelf.claim_messages()
    shelf.clock.advance(seconds=61)
    sweep(shelf)
    (mine,) = shelf.claim_messages()
    shelf.hand_over(lost, Done())
    row = shelf.row(InvitationRow)
    assert (row.state, row.fence, row.sent_at) == (InvitationState.WORKING, mine.fence, None)
    assert shelf.job("Ona").state is JobState.ISSUED


def test_the_repeated_invitation_keeps_its_id_and_so_its_message_id(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    (first,) = shelf.claim_messages()
    shelf.open_messages([first])
    shelf.clock.advance(seconds=61)
    sweep(shelf)
    shelf.clock.advance(seconds=1)
    (second,) = shelf.claim_messages()
    assert second.id == first.id


# What the timer finds due.


def due(shelf, accounts=("kyc", "au"), channels=("email", "sms")):
    found = shelf.looks.look(accounts=accounts, channels=channels, now=shelf.clock())
    return found.accounts, found.channels


def test_an_account_is_due_only_when_it_has_a_due_row(shelf):
    assert due(shelf) == (set(), set())
    shelf.add(customer("Ona"))
    assert due(shelf) == ({"kyc"}, set())
    assert due(shelf, accounts=["au"]) == (set(), set())
    shelf.set(Job, due_at=shelf.clock() + timedelta(seconds=1))
    assert due(shelf) == (set(), set())
    shelf.clock.advance(seconds=1)
    assert due(shelf) == ({"kyc"}, set())


def test_a_channel_is_due_only_when_it_has_a_due_row(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    assert due(shelf) == (set(), {"email"})
    shelf.send()
    assert due(shelf) == (set(), set())


def test_nothing_is_due_without_accounts_and_channels(shelf):
    assert due(shelf, accounts=[], channels=[]) == (set(), set())


def test_jobs_that_join_or_are_held_make_no_account_due(shelf):
    shelf.add(customer("Ona"))
    shelf.add(customer("Ona"))
    shelf.set(Job, Job.leader_id.is_(None), state=JobState.HELD)
    shelf.set(Job, Job.leader_id.is_not(None), due_at=shelf.clock())
    assert due(shelf) == (set(), set())


def test_a_lease_is_ended_by_the_lease_time_of_its_row_not_of_its_policy(shelf):
    shelf.add(customer("Ona"))
    shelf.claim(policy=replace(shelf.policy, lease=timedelta(minutes=10)))
    shelf.clock.advance(seconds=61)
    assert sweep(shelf) == EndedLeases()


def test_a_mail_whose_worker_died_each_time_counts_each_time_and_waits_longer(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    due = []
    for _ in range(3):
        (opened,) = shelf.open_messages(shelf.claim_messages())
        shelf.clock.now = opened.lease_until + timedelta(seconds=1)
        sweep(shelf)
        row = shelf.row(InvitationRow)
        due.append(row.due_at - shelf.clock())
        shelf.clock.now = row.due_at
    assert row.unknown_handovers == 3
    assert due[0] < timedelta(seconds=2)
    assert due[1:] == [timedelta(seconds=30), timedelta(minutes=2)]


@pytest.mark.postgresql_alone  # SQLite claims ids alone, and reads their rows by these
@pytest.mark.parametrize("what", ["job", "invitation"])
def test_a_claim_on_a_small_database_finds_its_rows_by_their_ids(shelf, database, what):
    # PostgreSQL keeps the plan that it makes now, until a table that has grown is analyzed.
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # The rows that earlier tests deleted still count as pages until they are vacuumed, and change the plan.
        connection.exec_driver_sql("VACUUM job, invitation, session, customer, batch")
    shelf.add(*(customer(f"Ona{number}") for number in range(3)))
    if what == "invitation":
        shelf.issue()
    # By this text no index leads from a batch to its rows.
    with plans_of(database, f"{what} SET state", f"batch.id = {what}.batch_id + ") as plans:
        shelf.claim(3) if what == "job" else shelf.claim_messages()
    assert plans
    for plan in plans:
        assert not re.search(r"Seq Scan on (job|invitation|session|customer|batch)", plan), plan
        # Never by the account, which has nearly all of them.
        assert set(re.findall(r"using (\w+) on session", plan)) <= {"pk_session", "uq_session_live"}, plan
