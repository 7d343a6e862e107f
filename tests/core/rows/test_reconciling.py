"""Rows with an unknown outcome: when they are looked up, and what operators' decisions do to them meanwhile."""

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Hold, Reconcile
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rules.reconciliation import Unmatched
from onboarding_worker.core.upkeep.expired_leases import EndedLeases
from onboarding_worker.lists.decisions.store.decisions import RepeatCost, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.reporting.store.outlook import Orphans, UnknownOutcomes, waiting_to_reconcile
from tests.stored.reconciling import AFTER, LOST, advance, call, drop, look_up, reconcilable, sweep
from tests.stored.shelf import customer


@pytest.fixture
def policy(shelf):
    """The policy of an account whose calls can be reconciled."""
    return reconcilable(shelf.policy)


@pytest.fixture
def texts(shelf):
    """The policy of a sender whose hand-overs can be reconciled."""
    return reconcilable(shelf.on("sms"))


# The stored attempt, and the row after its lease has run out.


def test_an_attempt_stores_when_it_may_be_looked_up(shelf, policy):
    _, (opened,) = call(shelf, policy)
    attempt = shelf.row(Attempt)
    assert attempt.reconcile_at == shelf.job("Ona").lease_until + AFTER == opened.reconcile_at
    assert attempt.reconciles is None


def test_an_attempt_that_may_be_repeated_or_cannot_be_looked_up_stores_no_time(shelf, policy):
    shelf.add(customer("Ona"))
    shelf.open(shelf.claim(), repeatable=True, policy=policy)
    shelf.add(customer("Jonas"))
    shelf.open(shelf.claim())
    assert [row.reconcile_at for row in shelf.rows(Attempt)] == [None, None]


def test_a_call_of_a_dead_worker_is_looked_up_at_the_time_of_its_attempt(shelf, policy):
    call(shelf, policy)
    attempt = shelf.row(Attempt)
    advance(shelf, seconds=61)
    assert sweep(shelf) == EndedLeases(unknown=1)
    row = shelf.job("Ona")
    assert (row.state, row.due_at, row.unknown_attempt, row.attempts) == (
        JobState.WAITING,
        attempt.reconcile_at,
        attempt.id,
        1,
    )
    assert shelf.claim(policy=policy) == []
    advance(shelf)
    (claimed,) = shelf.claim(policy=policy)
    assert (claimed.unknown_call.attempt_id, claimed.unknown_call.opened_at) == (attempt.id, attempt.opened_at)


def test_a_hand_over_of_a_dead_worker_is_looked_up_at_the_time_of_its_attempt(shelf, texts):
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    messages = shelf.claim_messages(channel="sms")
    shelf.open_messages(messages, policy=texts, repeatable=False)
    advance(shelf, seconds=61)
    assert sweep(shelf) == EndedLeases(unknown=1)
    assert (shelf.row(InvitationRow).state, shelf.job("Ona").state) == (InvitationState.WAITING, JobState.ISSUED)
    advance(shelf)
    (message,) = shelf.claim_messages(channel="sms")
    assert message.unknown_call is not None


def test_a_row_that_was_only_claimed_for_its_look_up_still_has_an_unknown_outcome(shelf, policy):
    drop(shelf, policy)
    before = shelf.job("Ona").unknown_attempt
    advance(shelf)
    shelf.claim(policy=policy)
    advance(shelf, seconds=61)
    assert sweep(shelf) == EndedLeases(released=1)
    assert shelf.job("Ona").unknown_attempt == before
    look_up(shelf, policy)
    advance(shelf, seconds=61)
    assert sweep(shelf) == EndedLeases(unknown=1)
    row = shelf.job("Ona")
    assert (row.state, row.unknown_attempt, row.attempts) == (JobState.WAITING, before, 1)


def test_a_look_up_that_was_not_made_gives_its_row_back_as_it_was(shelf, policy):
    drop(shelf, policy)
    advance(shelf)
    before = shelf.job("Ona")
    opened = look_up(shelf, policy)
    shelf.finish(CallResult(opened, shelf.clock(), None), policy=policy)
    row = shelf.job("Ona")
    assert (row.state, row.unknown_attempt, row.due_at, row.attempts) == (
        JobState.WAITING,
        before.unknown_attempt,
        before.due_at,
        before.attempts,
    )


# Operators' decisions meanwhile.


def test_a_row_that_was_cancelled_while_it_waited_holds_the_row_of_a_later_list(shelf, policy, decide):
    batch = drop(shelf, policy)
    advance(shelf)
    look = look_up(shelf, policy)  # raises the fence above the call's
    shelf.finish(CallResult(look, shelf.clock(), Reconcile(shelf.clock(), "unknown", "later"), LOST), policy=policy)
    decide.cancel(batch, now=shelf.clock())
    advance(shelf)
    again = shelf.add(customer("Ona"))
    assert shelf.job("Ona", batch_id=again).state is JobState.HELD
    assert f"batch {batch}" in shelf.job("Ona", batch_id=again).detail


def test_the_successor_of_a_row_that_was_cancelled_while_it_waited_is_held(shelf, policy, decide):
    batch = drop(shelf, policy)
    successor = shelf.add(customer("Ona"))
    decide.cancel(batch, now=shelf.clock())
    row = shelf.job("Ona", batch_id=successor)
    assert (row.state, row.reason, row.leader_id) == (JobState.HELD, "unknown", None)


def test_the_successor_of_a_successor_that_is_held_is_held_too(shelf, policy, decide):
    """The second row has no unknown attempt, because no call was made for it: the attempt is the first row's."""
    batch = drop(shelf, policy)
    second, third = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    decide.cancel(batch, now=shelf.clock())
    decide.cancel(second, now=shelf.clock())
    row = shelf.job("Ona", batch_id=third)
    assert (row.state, row.reason, row.leader_id) == (JobState.HELD, "unknown", None)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_an_operator_settles_a_row_that_is_held_because_of_what_was_found(shelf, policy, decide, verdict):
    batch = drop(shelf, policy)
    advance(shelf)
    found = Unmatched(("scan-lost",), "the provider has scan-lost")
    held = CallResult(look_up(shelf, policy), shelf.clock(), Hold("unknown", found.detail), found=found)
    shelf.finish(held, policy=policy)
    assert decide.repeat_cost(Which(batch)) == RepeatCost({"kyc": 1}, {})
    decide.resolve(Which(batch), verdict, now=shelf.clock())
    row = shelf.job("Ona")
    if verdict is Verdict.REPEAT:
        (claimed,) = shelf.claim(policy=policy)
        assert (claimed.unknown_call, row.attempts) == (None, 0)
    else:
        assert row.state is JobState.CANCELLED
        advance(shelf)
        assert shelf.job("Ona", batch_id=shelf.add(customer("Ona"))).state is JobState.HELD


def test_a_row_with_an_unknown_outcome_that_no_key_decrypts_is_looked_up_once_the_key_is_back(shelf, policy, decide):
    batch = drop(shelf, policy)
    shelf.set(Job, state=JobState.HELD, reason="cannot_open", due_at=None)
    decide.resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())
    (claimed,) = shelf.claim(policy=policy)
    assert claimed.unknown_call is not None


def test_a_session_that_appears_meanwhile_is_used_and_settles_the_unknown_outcome(shelf, policy):
    drop(shelf, policy)
    shelf.add(customer("Ona", purpose="other"))
    shelf.issue()
    shelf.set(SessionRow, purpose="onboarding")
    advance(shelf)
    assert shelf.claim(policy=policy) == []
    row = shelf.job("Ona", purpose="onboarding")
    assert (row.state, row.reason, row.unknown_attempt) == (JobState.ISSUED, "joined_session", None)


def test_a_retry_does_not_change_a_row_with_an_unknown_outcome(shelf, policy, decide):
    batch = drop(shelf, policy)
    assert decide.retry(Which(batch), now=shelf.clock()).rows == 0
    assert shelf.job("Ona").unknown_attempt is not None


def test_a_text_that_waits_for_its_look_up_keeps_its_time_when_another_list_takes_its_session_over(
    shelf, texts, decide
):
    shelf.add(customer("Ona", channel=Channel.SMS))
    shelf.issue()
    (opened,) = shelf.open_messages(shelf.claim_messages(channel="sms"), policy=texts, repeatable=False)
    lost = CallResult(opened, shelf.clock(), Reconcile(opened.reconcile_at, "unknown", "lost"), LOST)
    shelf.finish_messages(lost, policy=texts)
    before = shelf.row(InvitationRow)
    shelf.set(Job, state=JobState.FAILED)  # its other message failed, say
    successor = shelf.add(customer("Ona", channel=Channel.SMS))
    assert shelf.claim() == []
    message = shelf.row(InvitationRow)
    assert (message.due_at, message.unknown_attempt, message.state) == (
        before.due_at,
        before.unknown_attempt,
        before.state,
    )
    assert message.job_id == shelf.job("Ona", batch_id=successor).id


def test_rows_that_wait_to_be_looked_up_are_counted_with_their_earliest_time(shelf, policy):
    batch = drop(shelf, policy, customer("Ona"), customer("Jonas"))
    assert waiting_to_reconcile(shelf.database, batch) == UnknownOutcomes({"kyc": 2}, 0, shelf.job("Ona").due_at)
    assert waiting_to_reconcile(shelf.database, batch + 1) == UnknownOutcomes()


@pytest.mark.both_databases
def test_the_sessions_whose_tokens_are_lost_are_counted_apart_with_the_time_of_the_last_call(shelf, policy):
    batch = drop(shelf, policy, customer("Ona"), customer("Jonas"), customer("Petras"))
    shelf.set(Job, Job.customer_id != "Petras", reason="orphan")
    found = waiting_to_reconcile(shelf.database, batch)
    due, opened = shelf.job("Ona").due_at, max(row.opened_at for row in shelf.rows(Attempt))
    assert (found.calls, found.orphans) == ({"kyc": 1}, {"kyc": Orphans(2, opened, due)})


def test_the_look_at_a_session_whose_token_is_lost_is_not_the_time_of_a_lost_answer(shelf, policy):
    batch = drop(shelf, policy, customer("Ona"), customer("Jonas"))
    shelf.set(Job, Job.customer_id == "Ona", reason="orphan", due_at=shelf.clock())
    assert waiting_to_reconcile(shelf.database, batch).reconcile_at == shelf.job("Jonas").due_at
