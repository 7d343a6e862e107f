"""What claims cost in counts of the senders' queues: nothing without a limit, little with a limit."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.budgets import backpressure
from onboarding_worker.core.database.tables import Budget, Job
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.limits import Limit
from tests.stored.shelf import customer
from tests.stored.statements import statements

HOUR = timedelta(hours=1)


def policy(shelf, *limits, max_age=HOUR):
    senders = {"email": BudgetRule("sender/email", tuple(map(Limit.parse, limits))), "sms": BudgetRule("sender/sms")}
    return replace(shelf.policy, senders=senders, max_age=max_age)


def claimed(shelf, policy, most=100):
    with statements(shelf.database) as made:
        jobs = shelf.claim(most, policy)
    return jobs, made


def counts(made):
    return sum("count(*)" in statement and "FROM invitation" in statement for statement in made)


@pytest.fixture
def four_rows(shelf):
    shelf.add(*(customer(f"C{number}") for number in range(4)))
    return shelf


def test_a_sender_without_a_limit_costs_no_statement(four_rows):
    four_rows.claim(1)  # the first claim reads the permits
    jobs, without = claimed(four_rows, four_rows.policy, most=1)
    more, made = claimed(four_rows, policy(four_rows), most=1)
    assert len(jobs) == len(more) == 1
    assert len(made) == len(without)  # the claim's first statement says whether the sender is stopped or paused


def test_no_session_is_opened_for_a_message_whose_sender_was_taken_out_of_the_configuration(four_rows):
    senders = policy(four_rows).senders
    jobs, _ = claimed(four_rows, replace(policy(four_rows), senders={"sms": senders["sms"]}))
    assert (jobs, {row.reason for row in four_rows.rows(Job)}) == ([], {"waits_for_sender"})


@pytest.mark.both_databases
def test_a_limit_that_no_queue_will_ever_fill_lets_all_jobs_go(four_rows):
    jobs, made = claimed(four_rows, policy(four_rows, "999999999/second", max_age=timedelta(days=7)))
    assert (len(jobs), counts(made)) == (4, 1)


@pytest.mark.both_databases
def test_with_a_full_sender_only_rows_that_wait_for_it_are_put_off_unclaimed(four_rows):
    four_rows.add(*(customer(f"D{number}") for number in range(3)))
    four_rows.add(customer("Text", channel="sms"))
    others = {
        "C1": {"needs_status_check": True},
        "C2": {"unknown_attempt": uuid.uuid4()},
        "C3": {"invite_at": four_rows.clock() + HOUR},
        "D0": {"account": "au"},
        "D1": {"due_at": four_rows.clock() + HOUR},
        "Text": {},
    }
    later = four_rows.clock() - timedelta(minutes=1)
    four_rows.set(Job, Job.customer_id != "C0", due_at=later)
    four_rows.set(Job, Job.customer_id == "C0", due_at=later - HOUR)  # it is claimed first
    for name, values in others.items():
        if values:
            four_rows.set(Job, Job.customer_id == name, **values)
    senders = {"sms": BudgetRule("sender/sms")}
    assert four_rows.claim(1, replace(four_rows.policy, senders=senders)) == []
    put_off = {row.customer_id for row in four_rows.rows(Job, reason="waits_for_sender")}
    assert put_off == {"C0", "D2"}


def test_a_queue_is_counted_once_for_many_claims_and_again_when_there_seems_to_be_no_room(four_rows):
    four = policy(four_rows, "8/hour")  # room for four in half an hour
    first, made = claimed(four_rows, four, most=1)
    assert (len(first), counts(made)) == (1, 1)
    more, made = claimed(four_rows, four, most=3)
    assert (len(more), counts(made)) == (3, 0)
    four_rows.add(customer("Late"))
    none, made = claimed(four_rows, four)
    assert (none, counts(made)) == ([], 0)  # the four jobs were claimed a moment ago and have no message yet
    four_rows.clock.advance(minutes=8)
    late, made = claimed(four_rows, four)
    assert [job.customer.customer_id for job in late] == ["Late"]
    assert counts(made) == 1


def test_a_row_with_both_channels_waits_for_both_senders(shelf):
    shelf.add(customer("Both", channel="both"), customer("Mail"))
    shelf.set(Budget, Budget.name == "sender/sms", blocked_until=shelf.clock() + 2 * HOUR)
    jobs = shelf.claim(policy=policy(shelf))
    assert [job.customer.customer_id for job in jobs] == ["Mail"]
    row = shelf.row(Job, customer_id="Both")
    assert (row.reason, row.due_at) == ("waits_for_sender", shelf.clock() + 2 * HOUR)


@pytest.mark.both_databases
def test_jobs_that_wait_for_a_sender_are_made_due_chunk_by_chunk(shelf, monkeypatch):
    shelf.add(*(customer(f"C{number}") for number in range(5)))
    shelf.set(Budget, Budget.name == "sender/email", blocked_until=shelf.clock() + 2 * HOUR)
    assert shelf.claim(policy=policy(shelf)) == []
    monkeypatch.setattr(backpressure, "CHUNK", 2)
    with statements(shelf.database) as made:
        backpressure.make_waiting_jobs_due(shelf.database, now=shelf.clock())
    assert sum(statement.startswith("UPDATE job") for statement in made) == 3
    assert {row.due_at for row in shelf.rows(Job)} == {shelf.clock()}
