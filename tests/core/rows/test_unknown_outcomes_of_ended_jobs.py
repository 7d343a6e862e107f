"""A call of an ended job may have opened a session: a later row of the customer is held, and no call is made."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Attempt, Job, SessionRow
from onboarding_worker.core.model.endings import Cancel, Hold, Kind
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.core.rows.calls_in_doubt import UNKNOWN_FOR, release_cleared
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from tests.stored.shelf import customer

UNKNOWN = Hold(Kind.UNKNOWN.value, "it may have been carried out")


@pytest.fixture
def give_up(shelf, decide):
    """Ends the held jobs of a batch by a cancellation or by an abandon."""

    def end(batch, how="cancel"):
        shelf.clock.advance(minutes=1)
        if how == "cancel":
            decide.cancel(batch, now=shelf.clock())
        else:
            decide.resolve(Which(batch), Verdict.ABANDON, now=shelf.clock())
        shelf.clock.advance(minutes=1)

    return end


def repeat(shelf, decide, batch):
    shelf.clock.advance(minutes=1)
    decided = decide.resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())
    shelf.clock.advance(minutes=1)
    return decided.rows


def call(shelf, *, kind=Kind.UNKNOWN, ending=UNKNOWN, repeatable=False):
    """The call of each due job ends with this problem and ending."""
    shelf.clock.advance(minutes=1)
    opened = shelf.open(shelf.claim(), repeatable=repeatable)
    shelf.finish(*(shelf.failed(item, kind, ending) for item in opened))
    shelf.clock.advance(minutes=1)


def unknown_attempt(shelf, *, row=2, **how) -> int:
    batch = shelf.add(customer("Ona"), first_row=row)
    call(shelf, **how)
    return batch


def of(shelf, batch) -> sa.Row:
    return shelf.row(Job, batch_id=batch, customer_id="Ona")


@pytest.mark.parametrize("how", ["cancel", "abandon"])
def test_a_customer_whose_call_has_an_unknown_outcome_is_held_when_imported_again(shelf, give_up, how):
    batch = unknown_attempt(shelf, row=7)
    give_up(batch, how)
    again = shelf.add(customer("Ona"), customer("Jonas"))
    row = of(shelf, again)
    assert (row.state, row.reason, row.due_at, row.leader_id) == (JobState.HELD, "unknown", None, None)
    assert row.detail.startswith(f"a call for batch {batch}, row 7 may have opened a session")
    assert "resolve --repeat" in row.detail
    assert [job.customer.customer_id for job in shelf.claim()] == ["Jonas"]


def test_an_operator_may_repeat_the_call_all_the_same(shelf, decide, give_up):
    give_up(unknown_attempt(shelf))
    again = shelf.add(customer("Ona"))
    assert repeat(shelf, decide, again) == 1
    assert [job.batch_id for job in shelf.issue()] == [again]
    assert of(shelf, again).state is JobState.ISSUED


def test_the_outcome_stays_unknown_after_two_rows_were_abandoned(shelf, give_up):
    give_up(unknown_attempt(shelf))
    give_up(shelf.add(customer("Ona")), "abandon")
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.HELD


def test_later_rows_of_the_customer_join_the_held_row(shelf, give_up):
    give_up(unknown_attempt(shelf))
    held = shelf.add(customer("Ona"))
    assert of(shelf, shelf.add(customer("Ona"))).leader_id == of(shelf, held).id


def test_a_failed_row_that_is_retried_is_held_for_an_unknown_outcome_of_a_later_list(shelf, decide, give_up):
    failed = unknown_attempt(shelf, kind=Kind.BAD_INPUT, ending=Cancel("bad_input", "no"))
    give_up(unknown_attempt(shelf))
    decided = decide.retry(Which(failed), now=shelf.clock())
    assert (decided.rows, decided.accounts) == (1, frozenset())
    assert (of(shelf, failed).state, of(shelf, failed).reason) == (JobState.HELD, "unknown")
    assert shelf.claim() == []


def test_a_late_result_of_an_ended_job_holds_the_next_row_too(shelf, give_up):
    batch = shelf.add(customer("Ona"))
    opened = shelf.open(shelf.claim())
    shelf.clock.advance(minutes=5)
    assert shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock()).held == 1
    give_up(batch)
    shelf.finish(*(shelf.got(item) for item in opened))
    assert shelf.row(Attempt).outcome == "late"
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.HELD


def test_a_call_whose_worker_died_holds_the_next_row_too(shelf, give_up):
    batch = shelf.add(customer("Ona"))
    shelf.open(shelf.claim())
    shelf.clock.advance(minutes=5)
    shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock())
    give_up(batch)
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.HELD


@pytest.mark.parametrize(
    ("change", "goes_on"), [({"fence": 0}, True), ({"fence": 1}, False), ({"reason": "not_me"}, False)], ids=str
)
def test_a_row_that_is_held_for_anything_but_an_earlier_call_stays_held_when_that_proves_to_be_none(
    shelf, give_up, change, goes_on
):
    """Its fence says that it was claimed: the call with the unknown outcome is its own."""
    batch = unknown_attempt(shelf)
    give_up(batch)
    again = shelf.add(customer("Ona"))
    shelf.set(Job, Job.batch_id == again, **change)
    shelf.set(Job, Job.batch_id == batch, attempts=0)  # as once a look-up has found nothing

    with shelf.database.write() as connection:
        release_cleared(connection, [of(shelf, batch).id], now=shelf.clock())

    assert of(shelf, again).state is (JobState.WAITING if goes_on else JobState.HELD)


@pytest.mark.parametrize("repeatable", [False, True])
def test_the_call_of_a_job_that_ended_meanwhile_is_in_doubt_unless_it_may_be_repeated(shelf, repeatable):
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim(), repeatable=repeatable)
    shelf.set(Job, state=JobState.COMPLETED)
    shelf.clock.advance(minutes=5)

    assert shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock()).ended == 1

    row = shelf.row(Job)
    assert (row.unknown_attempt, row.attempts) == ((None, 0) if repeatable else (opened.attempt_id, 1))


# Known outcomes.


def test_a_customer_whose_call_may_be_repeated_is_called_for_again(shelf, give_up):
    give_up(unknown_attempt(shelf, repeatable=True))
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.WAITING


@pytest.mark.parametrize("kind", [Kind.BAD_INPUT, Kind.TRANSIENT, Kind.CONFLICT])
def test_a_customer_whose_call_was_refused_is_called_for_again(shelf, give_up, kind):
    give_up(unknown_attempt(shelf, kind=kind, ending=Hold(kind.value, "no")))
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.WAITING


def test_another_customer_and_another_purpose_are_not_held(shelf, give_up):
    give_up(unknown_attempt(shelf))
    shelf.add(customer("Jonas"), customer("Ona", purpose="renewal"))
    assert len(shelf.claim()) == 2


def test_a_message_with_an_unknown_outcome_does_not_hold_the_next_row(shelf, give_up):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.clock.advance(minutes=1)
    shelf.hand_over(shelf.claim_messages(), UNKNOWN)
    give_up(batch)
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.WAITING


def test_after_the_longest_life_of_a_session_the_next_row_is_not_held(shelf, give_up):
    give_up(unknown_attempt(shelf))
    opened_at = shelf.row(Attempt).opened_at
    shelf.clock.now = opened_at + UNKNOWN_FOR - timedelta(seconds=1)
    held = shelf.add(customer("Ona"))
    assert of(shelf, held).state is JobState.HELD
    give_up(held)
    shelf.clock.now = opened_at + UNKNOWN_FOR
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.WAITING


def test_a_repeat_by_an_operator_settles_the_unknown_outcome(shelf, decide, give_up):
    batch = unknown_attempt(shelf)
    repeat(shelf, decide, batch)
    call(shelf, kind=Kind.BAD_INPUT, ending=Cancel("bad_input", "no"))
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.WAITING


def test_a_decision_holds_when_its_row_is_cancelled_before_the_call(shelf, decide, give_up):
    batch = unknown_attempt(shelf)
    repeat(shelf, decide, batch)
    give_up(batch)
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.WAITING


def test_a_decision_about_the_later_row_settles_the_earlier_call(shelf, decide, give_up):
    give_up(unknown_attempt(shelf))
    again = shelf.add(customer("Ona"))
    repeat(shelf, decide, again)
    call(shelf, kind=Kind.BAD_INPUT, ending=Cancel("bad_input", "no"))
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.WAITING


def test_a_call_of_a_later_list_from_before_the_unknown_call_settles_nothing(shelf, decide, give_up):
    refused = Cancel("bad_input", "no")
    first = unknown_attempt(shelf, kind=Kind.BAD_INPUT, ending=refused)
    unknown_attempt(shelf, kind=Kind.BAD_INPUT, ending=refused)
    decide.retry(Which(first), now=shelf.clock())
    call(shelf)
    give_up(first)
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.HELD


def test_a_repeated_call_whose_outcome_is_unknown_again_must_be_decided_again(shelf, decide, give_up):
    batch = unknown_attempt(shelf)
    repeat(shelf, decide, batch)
    call(shelf)
    give_up(batch)
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.HELD


def test_a_session_that_was_opened_since_settles_the_unknown_outcome(shelf, decide, give_up):
    failed = unknown_attempt(shelf, kind=Kind.BAD_INPUT, ending=Cancel("bad_input", "no"))
    give_up(unknown_attempt(shelf))
    decide.retry(Which(failed), now=shelf.clock())  # held
    repeat(shelf, decide, failed)
    shelf.issue()
    shelf.set(SessionRow, state=SessionState.EXPIRED)
    shelf.set(Job, Job.batch_id == failed, state=JobState.LAPSED)
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.WAITING


def test_a_session_from_before_the_call_does_not_settle_the_unknown_outcome(shelf, decide, give_up):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.set(SessionRow, state=SessionState.EXPIRED)
    shelf.set(Job, state=JobState.LAPSED)
    give_up(unknown_attempt(shelf))
    assert of(shelf, shelf.add(customer("Ona"))).state is JobState.HELD
    assert of(shelf, batch).state is JobState.LAPSED


def test_a_row_of_a_cancelled_batch_is_cancelled_even_with_an_unknown_outcome(shelf, decide, give_up):
    give_up(unknown_attempt(shelf))
    cancelled = shelf.batch()
    decide.cancel(cancelled, now=shelf.clock())
    shelf.add(customer("Ona"), batch=cancelled)
    assert (of(shelf, cancelled).state, of(shelf, cancelled).detail) == (JobState.CANCELLED, "")
