"""A paused batch is not claimed; a resumed batch is claimed again."""

import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Audit, Batch, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.endings import Cancel, Kind, Retry, Snooze
from onboarding_worker.core.model.states import BATCH, EVENT, PAUSED, InvitationState, JobState
from onboarding_worker.lists.decisions.store import decisions
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Decided
from tests.stored.decisions import OUTCOME_UNKNOWN, adds_up, fail, names, pause, resolve, retry
from tests.stored.plans import plans_of
from tests.stored.row_locks import wait_until_blocked
from tests.stored.shelf import customer

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # when the clock stands


def test_nothing_of_a_paused_batch_is_claimed_and_all_of_other_batches(shelf, decide):
    paused = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.add(customer("Rasa"))
    assert pause(shelf, decide, paused) == Decided(2)
    assert names(shelf.claim()) == ["Rasa"]
    assert shelf.looks.look(accounts=["kyc"], channels=["email"], now=shelf.clock()).accounts == set()
    adds_up(shelf, paused, 2)


def test_no_message_of_a_paused_batch_is_claimed_and_all_of_other_batches(shelf, decide):
    paused = shelf.add(customer("Ona"))
    other = shelf.add(customer("Rasa"))
    shelf.issue()
    pause(shelf, decide, paused)
    assert [message.batch_id for message in shelf.claim_messages()] == [other]
    assert shelf.looks.look(accounts=["kyc"], channels=["email"], now=shelf.clock()).channels == set()


@pytest.mark.parametrize("priority", [EVENT, BATCH])
def test_resuming_restores_exactly_what_was_paused(shelf, decide, priority):
    batch = shelf.add(customer("Ona"), customer("Jonas"), customer("Rasa"), priority=priority)
    first, second = shelf.claim(most=2)
    (opened,) = shelf.open([first])
    shelf.finish(shelf.got(opened))
    before = shelf.rows(Job), shelf.rows(InvitationRow)
    pause(shelf, decide, batch)
    assert {row.priority for row in (*shelf.rows(Job), *shelf.rows(InvitationRow))} == {priority + PAUSED}
    decided = decide.resume(batch, now=shelf.clock())
    assert (decided.rows, decided.accounts, decided.channels) == (3, {"kyc"}, {"email"})
    assert (shelf.rows(Job), shelf.rows(InvitationRow)) == before
    assert shelf.row(Batch).paused_at is None
    assert names(shelf.claim()) == ["Rasa"]
    assert second.fence == shelf.job("Jonas").fence  # still its worker's


@pytest.mark.both_databases
def test_the_rows_that_a_decision_concerns_are_counted_by_an_index(shelf, decide, database):
    """However many rows other batches have."""
    shelf.add(*(customer(f"C-{number:03}") for number in range(300)))
    batch = shelf.add(customer("Ona"))
    with plans_of(database, "SELECT count(*)", is_small=True) as plans:
        assert pause(shelf, decide, batch) == Decided(1)
    assert plans
    assert not any("SCAN job" in plan or "Seq Scan" in plan for plan in plans), plans


def test_pausing_twice_is_pausing_once(shelf, decide):
    batch = shelf.add(customer("Ona"))
    assert pause(shelf, decide, batch).rows == 1
    assert pause(shelf, decide, batch).rows == 0
    assert decide.resume(batch, now=shelf.clock()).rows == 1
    assert shelf.job("Ona").priority == BATCH


def test_resuming_a_batch_that_is_not_paused_changes_nothing(shelf, decide):
    batch = shelf.add(customer("Ona"))
    pause(shelf, decide, batch)
    decide.resume(batch, now=shelf.clock())
    before = shelf.rows(Job), shelf.rows(Batch), shelf.rows(Audit)
    shelf.clock.advance(minutes=1)
    assert decide.resume(batch, now=shelf.clock()).rows == 0
    assert (shelf.rows(Job), shelf.rows(Batch), shelf.rows(Audit)) == before


@pytest.mark.parametrize(
    "ending",
    [None, Snooze(NOON, "rate_limited", ""), Retry(NOON, "transient", "")],
    ids=["not made", "rate-limited", "failed"],
)
def test_what_is_in_flight_at_the_pause_comes_back_and_is_not_claimed(shelf, decide, ending):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    pause(shelf, decide, batch)
    shelf.finish(shelf.failed(opened, Kind.TRANSIENT, ending))
    shelf.clock.advance(minutes=1)
    assert shelf.job("Ona").state is JobState.WAITING
    assert shelf.claim() == []
    decide.resume(batch, now=shelf.clock())
    assert names(shelf.claim()) == ["Ona"]


def test_what_is_released_or_lost_after_the_pause_is_not_claimed(shelf, decide):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    released, lost = shelf.claim()
    pause(shelf, decide, batch)
    shelf.jobs.release(shelf.policy, [released], now=shelf.clock())
    shelf.clock.advance(minutes=5)
    assert shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock()).released == 1
    assert shelf.job(lost.customer.customer_id).state is JobState.WAITING
    assert shelf.claim() == []


def test_a_session_that_comes_after_the_pause_is_kept_and_its_message_waits(shelf, decide):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    pause(shelf, decide, batch)
    shelf.finish(shelf.got(opened))
    assert (shelf.job("Ona").state, len(shelf.rows(SessionRow))) == (JobState.ISSUED, 1)
    assert shelf.claim_messages() == []
    decide.resume(batch, now=shelf.clock())
    assert len(shelf.send()) == 1
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.both_databases
def test_a_message_in_flight_at_the_pause_comes_back_and_is_not_claimed(shelf, decide):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    pause(shelf, decide, batch)
    shelf.hand_over(messages, Retry(shelf.clock(), "transient", "451"))
    assert shelf.row(InvitationRow).state is InvitationState.WAITING
    assert shelf.claim_messages() == []
    decide.resume(batch, now=shelf.clock())
    assert len(shelf.claim_messages()) == 1


def test_lines_that_come_into_a_paused_batch_wait_with_it(shelf, decide):
    batch = shelf.add(customer("Ona"))
    pause(shelf, decide, batch)
    shelf.add(customer("Jonas"), batch=batch, first_row=3)
    assert shelf.claim() == []
    assert decide.resume(batch, now=shelf.clock()).rows == 2
    assert names(shelf.claim()) == ["Jonas", "Ona"]


def test_a_row_that_failed_before_the_pause_and_is_retried_in_it_waits(shelf, decide):
    batch = shelf.add(customer("Ona"))
    fail(shelf)
    assert pause(shelf, decide, batch).rows == 0  # it had ended: nothing of it waits
    assert retry(shelf, decide, batch).rows == 1
    assert shelf.claim() == []
    decide.resume(batch, now=shelf.clock())
    assert names(shelf.claim()) == ["Ona"]


def test_a_row_that_failed_in_the_pause_and_is_retried_after_it_is_claimed(shelf, decide):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    pause(shelf, decide, batch)
    shelf.finish(shelf.failed(opened, Kind.BAD_INPUT, Cancel("bad_input", "no")))
    decide.resume(batch, now=shelf.clock())
    retry(shelf, decide, batch)
    assert names(shelf.claim()) == ["Ona"]


@pytest.mark.parametrize("of_message", [False, True])
def test_a_held_row_that_is_settled_in_a_pause_waits(shelf, decide, of_message):
    batch = shelf.add(customer("Ona"))
    if of_message:
        shelf.issue()
        shelf.hand_over(shelf.claim_messages(), OUTCOME_UNKNOWN)
    else:
        fail(shelf, ending=OUTCOME_UNKNOWN)
    pause(shelf, decide, batch)
    assert resolve(shelf, decide, batch, Verdict.REPEAT).rows == 1
    assert (shelf.claim(), shelf.claim_messages()) == ([], [])
    decide.resume(batch, now=shelf.clock())
    assert (len(shelf.claim()), len(shelf.claim_messages())) == (int(not of_message), int(of_message))


def test_more_rows_than_a_chunk_are_paused_resumed_and_cancelled(shelf, decide, monkeypatch):
    monkeypatch.setattr(decisions, "CHUNK", 3)
    batch = shelf.add(*(customer(f"C{number}") for number in range(10)))
    shelf.jobs.release(shelf.policy, shelf.claim(most=4), now=shelf.clock())
    assert pause(shelf, decide, batch).rows == 10
    assert shelf.claim() == []
    assert decide.resume(batch, now=shelf.clock()).rows == 10
    shelf.issue()
    assert pause(shelf, decide, batch).rows == 10
    assert shelf.claim_messages() == []
    assert decide.cancel(batch, now=shelf.clock()).rows == 10
    assert {row.state for row in shelf.rows(InvitationRow)} == {InvitationState.SUPERSEDED}


# While a worker holds the rows.


@pytest.mark.postgresql_alone
def test_a_pause_waits_for_the_worker_that_holds_a_row(shelf, decide, database):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    thread = threading.Thread(target=pause, args=(shelf, decide, batch))
    with database.write() as connection:
        connection.execute(sa.select(Job.id).where(Job.customer_id == "Jonas").with_for_update())
        thread.start()
        wait_until_blocked(database, thread)
        assert shelf.claim() == []  # the pause has locked Ona's row by now: a worker skips it without waiting
    thread.join()
    assert {row.priority for row in shelf.rows(Job)} == {BATCH + PAUSED}


@pytest.mark.postgresql_alone
def test_a_pause_waits_for_lines_that_are_coming_in_and_pauses_them_too(shelf, decide, database):
    shelf.add(customer("Jonas"))
    batch = shelf.add(customer("Ona"))
    adding = threading.Thread(target=shelf.add, args=(customer("Jonas"),), kwargs={"batch": batch, "first_row": 3})
    pausing = threading.Thread(target=pause, args=(shelf, decide, batch))
    with database.write() as connection:
        # The lines stop half way: another transaction holds the customer's row.
        connection.execute(sa.select(CustomerRow).where(CustomerRow.customer_id == "Jonas").with_for_update())
        adding.start()
        wait_until_blocked(database, adding)
        pausing.start()
        wait_until_blocked(database, pausing, number=2)
    adding.join()
    pausing.join()
    assert [row.priority for row in shelf.rows(Job, batch_id=batch)] == [BATCH + PAUSED] * 2


def test_a_resumed_batch_wakes_the_accounts_and_channels_that_have_something_due(shelf, decide):
    batch = shelf.add(customer("Ona"))
    due = []
    for _ in range(2):
        pause(shelf, decide, batch)
        resumed = decide.resume(batch, now=shelf.clock())
        due.append((resumed.accounts, resumed.channels))
        shelf.issue()
    assert due == [({"kyc"}, set()), (set(), {"email"})]
