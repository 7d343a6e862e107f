"""Rows that stay with an account that cannot work: above all, rows that may have a session there."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.tables import Attempt, Job, SessionRow
from onboarding_worker.core.model.endings import Cancel, Hold, Kind, Retry, Snooze
from onboarding_worker.core.model.states import PRIORITIES, JobState, Result, SessionState
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.upkeep.takeovers import SOON
from onboarding_worker.lists.decisions.store.decisions import Decisions, Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from tests.stored.shelf import customer
from tests.stored.takeovers import accounts_of, add, count_at, move, remaining, stop, takeover


def test_a_row_that_is_due_later_stays_until_it_is_soon(shelf, failover):
    add(shelf, customer("Ona"))
    stop(shelf)
    shelf.set(Job, due_at=shelf.clock() + SOON + timedelta(seconds=1))
    assert move(shelf, failover) == 0
    shelf.clock.advance(seconds=1)
    assert move(shelf, failover) == 1


def test_rows_of_a_paused_batch_stay(shelf, failover, database):
    batch = add(shelf, customer("Ona"))
    Decisions(database).pause(batch, by="ann", now=shelf.clock())
    stop(shelf)
    assert move(shelf, failover) == 0
    Decisions(database).resume(batch, now=shelf.clock())
    assert move(shelf, failover) == 1


def test_a_row_that_joined_another_stays_with_it(shelf, failover):
    add(shelf, customer("Ona"))
    second = add(shelf, customer("Ona"))
    stop(shelf)
    assert move(shelf, failover) == 1
    joined = shelf.job("Ona", batch_id=second)
    assert (joined.account, joined.fallback_accounts) == ("kyc", "au")


def call(shelf, kind=Kind.TRANSIENT, *, repeatable=False, ending=None, most=100, **problem):
    """The call of the due row ends so, and the row waits to be called again."""
    (opened,) = shelf.open(shelf.claim(most), repeatable=repeatable)
    again = ending or Retry(shelf.clock(), kind.value, "")
    shelf.finish(shelf.failed(opened, kind, again, **problem))
    return opened


def expired_lease(shelf):
    shelf.open(shelf.claim())
    shelf.clock.advance(minutes=5)
    shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock())


def open_attempt_of_a_row_that_is_free(shelf):
    shelf.open(shelf.claim())
    shelf.set(Job, state=JobState.WAITING, lease_until=None)


def being_called(shelf):
    shelf.open(shelf.claim())


def unknown_call(shelf):
    call(shelf, Kind.UNKNOWN, repeatable=True)


def held(shelf):
    call(shelf, Kind.UNKNOWN, ending=Hold("unknown", ""))


def held_and_repeated_by_a_person(shelf):
    held(shelf)
    for batch in {row.batch_id for row in shelf.rows(Job)}:
        Decisions(shelf.database).resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())


def late(shelf):
    (opened,) = shelf.open(shelf.claim(), repeatable=True)
    shelf.clock.advance(minutes=5)
    shelf.expired_leases.end(shelf.policy.rule.retry, now=shelf.clock())
    shelf.finish(shelf.got(opened))
    shelf.clock.advance(minutes=5)


def conflict(shelf):
    call(shelf, Kind.CONFLICT, ending=Hold("conflict", ""), status=409)
    for batch in {row.batch_id for row in shelf.rows(Job)}:
        Decisions(shelf.database).resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())


def failed_where_a_repeat_does_no_harm(shelf):
    call(shelf, repeatable=True, status=500)


def broke_where_a_repeat_does_no_harm(shelf):
    call(shelf, repeatable=True)


def failed_there_and_retried_by_a_person(shelf):
    call(shelf, repeatable=True, status=500, ending=Cancel("attempts_spent", ""))
    for batch in {row.batch_id for row in shelf.rows(Job)}:
        Decisions(shelf.database).retry(Which(batch), now=shelf.clock())


def to_be_looked_up(shelf):
    shelf.set(Job, unknown_attempt=new_id(shelf.clock()))


def to_be_issued_again(shelf):
    shelf.issue()
    shelf.set(SessionRow, state=SessionState.SUPERSEDED)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())


def customer_with_a_session_that_opens(shelf):
    shelf.issue()
    shelf.set(Job, state=JobState.LAPSED)
    add(shelf, customer("Ona"))


BOUND = [
    expired_lease,
    open_attempt_of_a_row_that_is_free,
    being_called,
    unknown_call,
    held,
    held_and_repeated_by_a_person,
    late,
    conflict,
    failed_where_a_repeat_does_no_harm,
    broke_where_a_repeat_does_no_harm,
    failed_there_and_retried_by_a_person,
    to_be_looked_up,
    to_be_issued_again,
    customer_with_a_session_that_opens,
]


@pytest.mark.parametrize("unknown_call", BOUND, ids=lambda unknown_call: unknown_call.__name__)
def test_a_row_that_may_have_a_session_at_the_first_never_goes_to_the_second(shelf, failover, unknown_call):
    batch = add(shelf, customer("Ona"))
    unknown_call(shelf)
    stop(shelf)
    shelf.clock.advance(hours=1)
    assert remaining(shelf, failover, batch) == (0, None)
    assert move(shelf, failover) == 0
    assert "au" not in {row.account for row in shelf.rows(Job)}


def refused_for_credentials(shelf):
    call(shelf, Kind.AUTH, ending=Snooze(shelf.clock(), "auth", ""), status=401)


def refused_for_want_of_credit(shelf):
    call(shelf, Kind.OUT_OF_CREDIT, ending=Snooze(shelf.clock(), "out_of_credit", ""), status=402)


def told_to_wait(shelf, **how):
    call(shelf, Kind.RATE_LIMITED, ending=Snooze(shelf.clock(), "rate_limited", ""), status=429, **how)


def failed_for_certain(shelf):
    call(shelf, status=500)


def not_let_in(shelf):
    call(shelf, repeatable=True, status=503)


def not_reached(shelf):
    call(shelf, repeatable=True, unreachable=True, ending=Snooze(shelf.clock(), "unreachable", ""))


def not_sent(shelf):
    (opened,) = shelf.open(shelf.claim())
    shelf.finish(replace(shelf.got(opened), ending=None, session=None))


def claimed_and_released(shelf):
    shelf.jobs.release(shelf.policy, shelf.claim(), now=shelf.clock())


def customer_whose_last_session_is_over(shelf):
    shelf.issue(lifetime=timedelta(minutes=1))
    shelf.set(Job, state=JobState.LAPSED)
    add(shelf, customer("Ona"))


FREE = [
    refused_for_credentials,
    refused_for_want_of_credit,
    told_to_wait,
    failed_for_certain,
    not_let_in,
    not_reached,
    not_sent,
    claimed_and_released,
    customer_whose_last_session_is_over,
]


@pytest.mark.parametrize("harmless", FREE, ids=lambda harmless: harmless.__name__)
def test_a_row_whose_call_certainly_opened_nothing_is_taken_over(shelf, failover, harmless):
    add(shelf, customer("Ona"))
    harmless(shelf)
    stop(shelf)
    shelf.clock.advance(hours=1)
    assert move(shelf, failover) == 1
    assert count_at(shelf) == 1


def test_a_message_with_an_unknown_outcome_binds_no_row_of_another_purpose(shelf, failover):
    add(shelf, customer("Jonas"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages(), Hold("unknown", ""))
    add(shelf, customer("Jonas", purpose="renewal"))
    stop(shelf)
    assert move(shelf, failover) == 1


def test_a_row_whose_session_has_ended_unused_goes_like_one_that_had_none(shelf, failover):
    add(shelf, customer("Ona"), customer("Rasa"), customer("Jonas"))
    shelf.issue()
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), reason="session_expired")
    shelf.set(SessionRow, SessionRow.customer_id != "Rasa", state=SessionState.EXPIRED)
    shelf.set(Job, Job.customer_id == "Jonas", entity_id="ent-1")  # the source made it, and alone knows it
    stop(shelf)
    assert failover.move(takeover(), now=shelf.clock()) == 1
    assert shelf.job("Ona").account == "au"


@pytest.mark.both_databases
def test_a_row_that_is_asked_once_more_goes_when_it_is_due(shelf, failover):
    add(shelf, customer("Ona"), customer("Rasa"))
    shelf.issue()
    shelf.set(SessionRow, SessionRow.customer_id == "Ona", state=SessionState.COMPLETED, result=Result.DENIED)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), reason="asked_again")
    stop(shelf)
    assert move(shelf, failover) == 1
    assert (shelf.job("Ona").account, shelf.job("Rasa").account) == ("au", "kyc")


@pytest.mark.both_databases
def test_a_row_that_waits_for_its_sessions_end_goes_after_it_and_not_before(shelf, failover):
    batch = add(shelf, customer("Ona"))
    shelf.issue(lifetime=timedelta(minutes=30))
    ends_at = shelf.clock() + timedelta(minutes=30)
    shelf.set(Job, state=JobState.WAITING, due_at=ends_at, reason="session_ends_first")
    stop(shelf)
    shelf.clock.advance(minutes=29, seconds=55)
    assert (move(shelf, failover), remaining(shelf, failover, batch)) == (0, (0, None))
    shelf.clock.advance(seconds=5)
    assert remaining(shelf, failover, batch) == (1, ends_at)
    assert move(shelf, failover) == 1
    shelf.issue(policy=replace(shelf.policy, account="au", rule=BudgetRule("au")))
    row = shelf.job("Ona")
    assert (row.state, {one.state for one in shelf.rows(SessionRow)}) == (JobState.ISSUED, {"expired", "waiting"})


@pytest.mark.both_databases
def test_a_row_that_is_to_ask_about_its_session_goes_only_when_the_account_has_answered(shelf, failover):
    batch = add(shelf, customer("Ona"))
    shelf.issue(lifetime=timedelta(minutes=1))
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), reason="status_check", needs_status_check=True)
    stop(shelf)
    shelf.clock.advance(hours=1)
    assert (move(shelf, failover), remaining(shelf, failover, batch)) == (0, (0, None))
    shelf.set(Job, needs_status_check=False, reason="session_expired")
    assert move(shelf, failover) == 1


@pytest.mark.postgresql_alone
def test_a_row_whose_calls_outcome_becomes_unknown_after_the_query_stays(shelf, failover, database):
    add(shelf, customer("Ona"), customer("Jonas"))
    told_to_wait(shelf, most=1)
    stop(shelf)
    locked = []

    @sa.event.listens_for(database.engine, "after_cursor_execute")
    def learn(_connection, _cursor, text, *_):
        locked.extend(["SKIP LOCKED"] if "SKIP LOCKED" in text else [])
        if len(locked) == len(PRIORITIES):  # the batch's rows are locked last
            locked.clear()
            # What the statement's own snapshot could not show: it sees the row's last version, and old attempts.
            other = threading.Thread(target=shelf.set, args=(Attempt,), kwargs={"outcome": "unknown"})
            other.start()
            other.join()

    assert move(shelf, failover) == 1
    assert accounts_of(shelf) == {"Ona": "kyc", "Jonas": "au"}
