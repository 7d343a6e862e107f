"""Cancelling a batch: a row without a lease ends at once, a leased row with its call."""

import threading

import pytest
import sqlalchemy as sa

from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.claim.flush import CallResult, Flush
from onboarding_worker.core.database.tables import Attempt, Audit, Batch, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Asked, Cancel, Hold, Reconcile, Retry, Snooze
from onboarding_worker.core.model.endings import Kind as Why
from onboarding_worker.core.model.states import ENDED_JOBS, InvitationState, JobState, SessionState
from onboarding_worker.core.rows.cancellation import cancel_customers, cancel_jobs
from onboarding_worker.lists.decisions.store import decisions
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Decided, Which
from tests.stored.reconciling import call, reconcilable
from tests.stored.row_locks import wait_until_blocked
from tests.stored.shelf import POLICY, customer

UNKNOWN = Hold(Why.UNKNOWN.value, "it may have been carried out")


@pytest.fixture
def cancel(shelf, decide):
    return lambda batch: decide.cancel(batch, now=shelf.clock())


def states(shelf, batch) -> dict[str, int]:
    counts = shelf.facts.counts(batch)
    return {state.value: number for state, number in counts.jobs.items()}


@pytest.mark.parametrize("state", sorted(set(JobState) - ENDED_JOBS - {JobState.WORKING}))
def test_a_row_without_a_lease_ends_at_once(shelf, cancel, state):
    batch = shelf.add(customer("Ona"))
    shelf.set(Job, state=state)
    assert cancel(batch) == Decided(1)
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.lease_until, row.reason) == (JobState.CANCELLED, None, None, "cancelled")
    assert shelf.row(Batch).cancelled_at == shelf.clock()
    assert shelf.claim() == []


@pytest.mark.parametrize("state", sorted(ENDED_JOBS))
def test_a_row_that_has_ended_stays_as_it_is(shelf, cancel, state):
    batch = shelf.add(customer("Ona"))
    shelf.set(Job, state=state, reason="as it was")
    before = shelf.rows(Job)
    assert cancel(batch) == Decided(0)
    assert shelf.rows(Job) == before


def test_other_batches_are_left_alone(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Rasa"))
    cancel(batch)
    assert [job.batch_id for job in shelf.issue()] == [other]
    assert len(shelf.send()) == 1
    assert (states(shelf, batch), states(shelf, other)) == ({"cancelled": 1}, {"invited": 1})


def test_a_message_that_has_not_left_is_not_sent_and_its_session_stays_open(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    cancel(batch)
    message = shelf.row(InvitationRow)
    assert (message.state, message.due_at, message.reason) == (InvitationState.SUPERSEDED, None, "cancelled")
    assert shelf.claim_messages() == []
    assert shelf.row(SessionRow).state is SessionState.WAITING


@pytest.mark.both_databases
@pytest.mark.parametrize("ending", [None, Retry, Snooze], ids=["not made", "failed", "put off"])
def test_a_row_whose_call_brings_no_session_ends_with_it_and_the_row_of_another_list_leads(shelf, cancel, ending):
    batch, other = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    assert cancel(batch) == Decided(1)
    assert states(shelf, batch) == {"working": 1}
    shelf.finish(shelf.failed(opened, Why.TRANSIENT, ending and ending(shelf.clock(), "transient", "")))
    assert (states(shelf, batch), states(shelf, other)) == ({"cancelled": 1}, {"waiting": 1})
    assert [job.batch_id for job in shelf.claim()] == [other]
    assert len(shelf.rows(Attempt)) == 1


def test_a_row_that_was_cancelled_while_its_session_was_asked_about_ends_with_the_answer(shelf, cancel):
    batch, other = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    shelf.issue()
    leads = Job.batch_id == batch
    shelf.set(Job, leads, state=JobState.WAITING, due_at=shelf.clock(), needs_status_check=True)
    (asked,) = shelf.open(shelf.claim())
    cancel(batch)
    shelf.finish(CallResult(asked, shelf.clock(), Asked()))
    assert states(shelf, batch) == {"cancelled": 1}
    assert shelf.row(Job, batch_id=other).leader_id is None


def test_a_row_whose_call_is_to_be_looked_up_ends_at_its_next_claim(shelf, cancel):
    policy = reconcilable(shelf.policy)
    batch, (opened,) = call(shelf, policy)
    cancel(batch)
    shelf.finish(shelf.failed(opened, Why.UNKNOWN, Reconcile(shelf.clock(), "unknown", "")), policy=policy)
    assert states(shelf, batch) == {"waiting": 1}
    assert shelf.claim(policy=policy) == []
    assert states(shelf, batch) == {"cancelled": 1}
    assert shelf.job("Ona").unknown_attempt == opened.attempt_id


@pytest.mark.parametrize("dies", [False, True], ids=["refused", "its worker dies"])
@pytest.mark.parametrize("by_event", [False, True])
def test_a_row_that_would_fail_with_its_call_after_it_was_cancelled_is_cancelled(shelf, cancel, by_event, dies):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim(), repeatable=True)
    if by_event:
        with shelf.database.write() as connection:
            cancel_customers(connection, {("Ona", "onboarding")}, now=shelf.clock())
    else:
        cancel(batch)
    if dies:
        shelf.set(Job, attempts=POLICY.attempts)
        shelf.clock.advance(minutes=2)
        shelf.expired_leases.end(POLICY, now=shelf.clock())
    else:
        shelf.finish(shelf.failed(opened, Why.BAD_INPUT, Cancel("bad_input", "no")))
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.CANCELLED, "cancelled")


def test_a_row_that_ends_at_its_claim_uses_no_call(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    claimed = shelf.claim()
    cancel(batch)
    shelf.jobs.release(shelf.policy, claimed, now=shelf.clock())
    before = Budgets(shelf.database).all()
    assert shelf.claim(policy=shelf.ruled(credits=1)) == []
    assert Budgets(shelf.database).all() == before


def test_a_session_that_comes_after_the_cancellation_is_kept_and_its_message_is_not_sent(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    cancel(batch)
    shelf.finish(shelf.got(opened))
    assert (states(shelf, batch), len(shelf.rows(SessionRow))) == ({"cancelled": 1}, 1)
    assert (shelf.rows(InvitationRow), shelf.claim_messages()) == ([], [])


def test_a_message_that_is_being_sent_is_finished_and_one_that_comes_back_is_not_sent_again(shelf, cancel):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    ona, jonas = shelf.claim_messages()
    cancel(batch)
    shelf.hand_over([ona])
    shelf.hand_over([jonas], Retry(shelf.clock(), "transient", "451"))
    assert [row.state for row in shelf.rows(InvitationRow)] == ["sent", "waiting"]
    assert shelf.claim_messages() == []
    assert [row.state for row in shelf.rows(InvitationRow)] == ["sent", "superseded"]
    assert states(shelf, batch) == {"cancelled": 2}


def test_a_row_that_ended_meanwhile_is_not_ended_again_with_its_message(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    joined = shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    shelf.set(Batch, Batch.id == batch, cancelled_at=shelf.clock())
    shelf.set(Job, Job.batch_id == batch, state=JobState.COMPLETED, result="approved")
    shelf.hand_over(messages, Retry(shelf.clock(), "transient", "451"))
    assert shelf.claim_messages() == []
    assert states(shelf, batch) == states(shelf, joined) == {"completed": 1}


def test_a_paused_batch_is_cancelled_with_what_was_in_flight_when_it_was_paused(shelf, decide, cancel):
    batch = shelf.add(customer("Ona"), customer("Jonas"), customer("Rasa"))
    (ona, jonas) = shelf.open(shelf.claim(most=2))
    decide.pause(batch, by="ann", now=shelf.clock())
    assert cancel(batch) == Decided(3)
    assert (shelf.row(Batch).paused_at, shelf.row(Batch).cancelled_at) == (None, shelf.clock())
    shelf.finish(shelf.failed(ona, Why.TRANSIENT, None), shelf.got(jonas))
    assert states(shelf, batch) == {"cancelled": 3}
    assert (shelf.claim(), shelf.claim_messages()) == ([], [])


@pytest.mark.both_databases
def test_a_cancelled_batch_is_not_paused_and_does_not_come_back_with_resume(shelf, decide, cancel):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    claimed = shelf.claim(most=1)
    cancel(batch)
    assert decide.pause(batch, by="ann", now=shelf.clock()) == Decided(0)
    assert shelf.row(Batch).paused_at is None
    assert decide.resume(batch, now=shelf.clock()).rows == 0
    shelf.jobs.release(shelf.policy, claimed, now=shelf.clock())
    assert shelf.claim() == []
    assert states(shelf, batch) == {"cancelled": 2}


def test_rows_that_a_worker_ends_while_the_batch_is_cancelled_are_counted_too(shelf, decide, monkeypatch):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    monkeypatch.setattr(decisions, "CHUNK", 1)
    at_its_claim = decide.with_progress(lambda _rows: shelf.claim())
    assert at_its_claim.cancel(batch, now=shelf.clock()) == Decided(2)
    assert states(shelf, batch) == {"cancelled": 2}
    assert shelf.row(Audit, reason="cancelled").count == 2


def test_cancelling_twice_is_cancelling_once(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    assert [cancel(batch).rows, cancel(batch).rows] == [1, 0]


def test_a_row_that_became_held_after_the_cancellation_ends_when_the_batch_is_cancelled_again(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    cancel(batch)
    shelf.finish(shelf.failed(opened, Why.UNKNOWN, UNKNOWN))
    assert states(shelf, batch) == {"held": 1}
    assert cancel(batch) == Decided(1)
    assert states(shelf, batch) == {"cancelled": 1}


def test_lines_that_are_imported_into_a_cancelled_batch_are_cancelled_and_no_row_joins_them(shelf, cancel):
    shelf.add(customer("Rasa"))
    batch = shelf.add(customer("Ona"))
    cancel(batch)
    shelf.add(customer("Jonas"), customer("Rasa"), batch=batch, first_row=3)
    assert states(shelf, batch) == {"cancelled": 3}
    later = shelf.add(customer("Jonas"))
    assert sorted(job.customer.customer_id for job in shelf.issue()) == ["Jonas", "Rasa"]
    assert states(shelf, later) == {"issued": 1}


# Rows that joined.


def test_a_joined_row_is_served_for_its_own_list(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    cancel(batch)
    assert [job.batch_id for job in shelf.issue()] == [other]
    assert len(shelf.send()) == 1
    assert (states(shelf, batch), states(shelf, other)) == ({"cancelled": 1}, {"invited": 1})


def test_the_first_of_several_joined_rows_leads_and_the_other_rows_join_it(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    first, second, third = (shelf.add(customer("Ona")) for _ in range(3))
    cancel(batch)
    leader = shelf.job("Ona", batch_id=first)
    assert leader.leader_id is None
    joined = [shelf.job("Ona", batch_id=one) for one in (second, third)]
    assert {one.leader_id for one in joined} == {leader.id}
    assert {one.detail for one in joined} == {f"joined batch {first}, row 2"}
    assert len(shelf.issue()) == 1
    shelf.send()
    assert [states(shelf, one) for one in (first, second, third)] == [{"invited": 1}] * 3


def test_a_cancelled_row_no_longer_says_which_row_it_joined(shelf, cancel):
    _, other = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    cancel(other)
    row = shelf.job("Ona", batch_id=other)
    assert (row.reason, row.detail) == ("cancelled", "")


def test_a_joined_row_takes_over_the_session_and_the_unsent_message(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    shelf.issue()
    cancel(batch)
    assert shelf.claim() == []  # no second call: there is a session
    assert shelf.row(InvitationRow).reason == ""  # why the cancelled row's message ended says nothing of it now
    (message,) = shelf.send()
    assert message.batch_id == other
    assert (len(shelf.rows(SessionRow)), len(shelf.rows(InvitationRow)), len(shelf.rows(Attempt))) == (1, 1, 2)
    assert (states(shelf, batch), states(shelf, other)) == ({"cancelled": 1}, {"invited": 1})


def test_a_joined_row_takes_over_the_message_that_is_being_sent(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    cancel(batch)
    assert (shelf.claim(), states(shelf, other)) == ([], {"issued": 1})
    shelf.hand_over(messages)
    assert states(shelf, other) == {"invited": 1}
    assert shelf.claim_messages() == []


def test_a_joined_row_whose_customer_has_been_invited_gets_no_second_message(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    cancel(batch)
    assert (shelf.claim(), shelf.claim_messages()) == ([], [])
    assert (states(shelf, batch), states(shelf, other)) == ({"cancelled": 1}, {"invited": 1})


@pytest.mark.both_databases
def test_a_row_that_joined_a_row_in_flight_is_served_once_that_row_has_ended(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    cancel(batch)
    shelf.finish(shelf.got(opened))  # here the cancelled row ends
    assert shelf.claim_messages() == []
    assert shelf.claim() == []  # and here the joined row takes over the session
    (message,) = shelf.send()
    assert message.batch_id == other
    assert (states(shelf, batch), states(shelf, other)) == ({"cancelled": 1}, {"invited": 1})


def test_a_joined_row_of_a_paused_batch_leads_and_waits_for_the_resume(shelf, decide, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    decide.pause(other, by="ann", now=shelf.clock())
    cancel(batch)
    assert shelf.claim() == []
    decide.resume(other, now=shelf.clock())
    assert [job.batch_id for job in shelf.claim()] == [other]


def test_cancelling_the_list_of_a_joined_row_does_not_change_the_leading_row(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    assert cancel(other) == Decided(1)
    assert (states(shelf, batch), states(shelf, other)) == ({"waiting": 1}, {"cancelled": 1})
    shelf.issue()
    assert (states(shelf, batch), states(shelf, other)) == ({"issued": 1}, {"cancelled": 1})


def test_a_joined_row_that_was_cancelled_does_not_come_back_when_the_leader_is_cancelled(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    second, third = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    cancel(second)
    cancel(batch)
    assert [job.batch_id for job in shelf.issue()] == [third]
    assert [states(shelf, cancelled) for cancelled in (batch, second)] == [{"cancelled": 1}] * 2


@pytest.mark.parametrize("message", [False, True], ids=["a call", "a message"])
def test_an_unknown_outcome_stays_unknown_for_a_joined_row(shelf, decide, cancel, message):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    if message:
        shelf.issue()
        shelf.hand_over(shelf.claim_messages(), UNKNOWN)
    else:
        (opened,) = shelf.open(shelf.claim())
        shelf.finish(shelf.failed(opened, Why.UNKNOWN, UNKNOWN))
    cancel(batch)
    assert (shelf.claim(), shelf.claim_messages()) == ([], [])
    assert (states(shelf, batch), states(shelf, other)) == ({"cancelled": 1}, {"held": 1})
    assert decide.resolve(Which(other), Verdict.REPEAT, now=shelf.clock()).rows == 1
    if not message:
        shelf.issue()
    assert len(shelf.send()) == 1
    assert states(shelf, other) == {"invited": 1}
    assert len(shelf.rows(SessionRow)) == 1


def test_a_cancellation_makes_no_call_for_a_row_that_joined_a_failed_row(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    other = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(shelf.failed(opened, Why.BAD_INPUT, Cancel("bad_input", "no")))
    assert cancel(batch) == Decided(0)
    assert shelf.claim() == []
    assert states(shelf, other) == {"failed": 1}


def test_rows_without_a_message_are_cancelled_too(shelf, cancel):
    batch = shelf.add(customer("Ona", channel=Channel.NONE))
    shelf.issue()
    assert cancel(batch) == Decided(1)
    assert states(shelf, batch) == {"cancelled": 1}


def test_a_row_without_a_message_that_is_in_flight_ends_with_its_call_and_the_next_list_is_served(shelf, cancel):
    batch = shelf.add(customer("Ona", channel=Channel.NONE))
    other = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    cancel(batch)
    shelf.finish(shelf.got(opened))
    assert states(shelf, batch) == {"cancelled": 1}
    assert shelf.claim() == []  # here the other list takes over the session
    (message,) = shelf.send()
    assert (message.batch_id, states(shelf, other)) == (other, {"invited": 1})
    assert len(shelf.rows(SessionRow)) == 1


@pytest.mark.postgresql_alone
def test_cancelling_and_sending_do_not_wait_for_each_other(shelf, decide, database):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    thread = threading.Thread(target=decide.cancel, args=(batch,), kwargs={"now": shelf.clock()})
    with database.write() as connection:
        # as a dispatcher that sends the message: it locks the message first, then its job
        connection.execute(sa.select(InvitationRow.id).with_for_update())
        thread.start()
        wait_until_blocked(database, thread)
        connection.execute(sa.text("SET LOCAL lock_timeout = '200ms'"))
        connection.execute(sa.select(Job.id).with_for_update())
    thread.join()
    assert shelf.job("Ona").state is JobState.CANCELLED


@pytest.mark.postgresql_alone
@pytest.mark.parametrize(
    "end",
    [
        lambda connection, job, now: cancel_jobs(connection, [job.id], now=now),
        lambda connection, job, now: cancel_customers(connection, {(job.customer_id, job.purpose)}, now=now),
    ],
    ids=["its job", "its customer"],
)
def test_opening_a_hand_over_does_not_wait_for_a_transaction_that_ends_its_job(shelf, end):
    """The hand-over locks the message, which the other transaction may wait for: otherwise they would deadlock."""
    shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    with shelf.database.write() as connection:
        end(connection, shelf.job("Ona"), shelf.clock())
        with shelf.database.write() as other:
            other.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
            flush = Flush(other, shelf.keyring, shelf.on("email"), shelf.clock())
            opened = shelf.invitations.open(flush, messages)
    assert len(opened) == 1


def test_the_line_of_a_cancelled_row_has_no_message_of_the_list_that_goes_on(shelf, cancel):
    first, second = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    shelf.issue()
    cancel(first)
    shelf.issue()
    shelf.send()
    lines = [line for batch in (first, second) for line in shelf.facts.lines(batch)]
    assert [(line.state, line.invitation) for line in lines] == [("cancelled", "none"), ("invited", "sent")]


def test_a_message_of_an_earlier_session_does_not_end_a_row_during_its_call(shelf, cancel):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.set(SessionRow, state=SessionState.EXPIRED)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    (opened,) = shelf.open(shelf.claim())
    shelf.add(customer("Ona"))
    cancel(batch)
    assert shelf.claim_messages() == []
    assert shelf.row(InvitationRow).state is InvitationState.SUPERSEDED
    assert shelf.claim() == []  # the successor makes no second call
    shelf.finish(shelf.got(opened))
    assert shelf.job("Ona", batch_id=batch).state is JobState.CANCELLED
    assert shelf.claim() == []
    assert len(shelf.rows(SessionRow)) == 2
