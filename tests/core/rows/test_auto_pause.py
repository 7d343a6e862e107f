"""A batch with too many bounced messages is paused with the reason; its counts start again when it is resumed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Audit, Batch, BounceCount, InvitationRow, Job
from onboarding_worker.core.model.states import BATCH, EVENT, PAUSED, InvitationState
from onboarding_worker.core.rows import message_rows as tallies
from onboarding_worker.core.rows.message_rows import BounceCounts as Counted
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.contact import PauseRule
from onboarding_worker.lists.decisions.store import decisions
from tests.stored.shelf import customer

RULE = PauseRule(percent=10, least=50)


@pytest.fixture
def count(shelf):
    def add(batch, tried=0, refused=0, bounced=0, rule=RULE):
        with shelf.database.write() as connection:
            tallies.count_bounces(connection, {batch: Counted(tried, refused, bounced)}, rule, now=shelf.clock())

    return add


def reason(shelf, batch):
    return shelf.row(Batch, id=batch).pause_reason


def test_messages_of_one_minute_are_one_row(shelf, count):
    batch = shelf.batch()
    for _ in range(2):
        count(batch, tried=10, refused=1)
    count(batch)
    assert [(row.tried, row.refused, row.bounced) for row in shelf.rows(BounceCount)] == [(20, 2, 0)]


@pytest.mark.postgresql_alone  # SQLite has one writer at a time
def test_no_transaction_waits_for_a_count_before_the_other_one_ends(shelf, count):
    batch = shelf.batch()

    with shelf.database.write() as connection:
        tallies.count_bounces(connection, {batch: Counted(10, 1, 0)}, RULE, now=shelf.clock())
        count(batch, tried=5)

    assert [(row.tried, row.refused) for row in shelf.rows(BounceCount)] == [(15, 1)]


@pytest.mark.both_databases
def test_what_goes_wrong_now_shows_behind_many_that_arrived(shelf, count):
    batch = shelf.batch()
    count(batch, tried=100_000)
    shelf.clock.advance(minutes=61)
    count(batch, tried=49, refused=40)
    assert reason(shelf, batch) == ""
    count(batch, tried=1)
    assert reason(shelf, batch) == "", "delivered messages do not pause it"
    count(batch, bounced=1)
    assert reason(shelf, batch).startswith("41 of 50 messages were refused (40) or bounced (1)")


def test_a_batch_too_slow_for_the_hour_is_paused_by_all_of_its_time(shelf, count):
    batch = shelf.batch()
    for _ in range(10):
        count(batch, tried=5, bounced=1)
        shelf.clock.advance(hours=2)
    assert reason(shelf, batch).startswith("10 of 50 messages")


def test_a_pause_of_its_own_is_in_the_audit_log_once_and_stays_there_after_the_resume(shelf, decide, count):
    batch = shelf.batch()
    for _ in range(3):
        count(batch, tried=50, refused=40)
    decide.resume(batch, now=shelf.clock())
    (entry,) = (one for one in shelf.rows(Audit) if one.action == "batch.paused")
    assert (entry.actor, entry.subject) == ("schedule", f"batch {batch}")
    assert entry.reason.startswith("40 of 50 messages were refused")


@pytest.mark.parametrize("kept", [{"cancelled_at": True}, {"pause_cause": "person"}, {"last_row": 9}])
def test_neither_a_stopped_batch_nor_the_daily_batch_is_paused_automatically(shelf, count, kept):
    batch = shelf.batch()
    shelf.set(Batch, **{name: shelf.clock() if value is True else value for name, value in kept.items()})
    count(batch, tried=100, refused=100)
    assert reason(shelf, batch) == ""


def test_nothing_is_counted_without_automatic_pauses(shelf, count):
    count(shelf.batch(), tried=100, refused=100, rule=None)
    assert shelf.rows(BounceCount) == []


@pytest.mark.both_databases
def test_its_rows_are_not_claimed_until_it_is_resumed_and_the_counts_start_again(shelf, decide, count):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    other = shelf.add(customer("Rasa"))
    shelf.issue(policy=replace(shelf.policy, rule=BudgetRule("kyc", (), 400, None, shelf.policy.rule.retry)))
    shelf.add(customer("Late"), batch=batch, first_row=9)
    count(batch, tried=100, bounced=11)
    assert decide.finish_pauses(now=shelf.clock()) == {batch: reason(shelf, batch)}
    assert shelf.row(Batch, id=batch).paused_at == shelf.clock()
    assert [message.customer.customer_id for message in shelf.claim_messages()] == ["Rasa"]
    assert shelf.claim() == []
    assert decide.finish_pauses(now=shelf.clock()) == {}
    shelf.add(customer("Latest"), batch=batch, first_row=10)
    assert shelf.claim() == []

    decided = decide.resume(batch, now=shelf.clock.advance(minutes=5))
    row = shelf.row(Batch, id=batch)
    assert (row.paused_at, row.pause_reason, row.resumed_at) == (None, "", shelf.clock())
    assert decided.channels == {"email"}
    assert len(shelf.claim_messages()) == 2
    assert len(shelf.claim()) == 2
    shelf.clock.advance(minutes=1)
    count(batch, tried=49, bounced=49)
    assert reason(shelf, batch) == ""
    count(batch, bounced=1, tried=1)
    assert reason(shelf, batch).startswith("50 of 50")
    assert other != batch


def test_a_pause_that_was_cut_off_is_finished_by_the_next_sweep(shelf, decide, count, monkeypatch):
    batch = shelf.add(*(customer(f"C{number}") for number in range(6)))
    count(batch, tried=100, bounced=11)
    monkeypatch.setattr(decisions, "CHUNK", 2)
    bulk = iter([True, False])
    move = decisions._move_chunk

    def cut_off(database, what, *how):
        if what is Job and not next(bulk):
            raise KeyboardInterrupt
        return move(database, what, *how)

    monkeypatch.setattr(decisions, "_move_chunk", cut_off)
    with pytest.raises(KeyboardInterrupt):
        decide.finish_pauses(now=shelf.clock())
    assert shelf.row(Batch).paused_at is None
    monkeypatch.setattr(decisions, "_move_chunk", move)
    decide.finish_pauses(now=shelf.clock())
    assert {row.priority for row in shelf.rows(Job)} == {BATCH + PAUSED}


def test_one_that_a_person_resumes_while_it_is_paused_goes_on(shelf, decide, count, monkeypatch):
    batch = shelf.add(*(customer(f"C{number}") for number in range(6)))
    shelf.set(Job, Job.row == 2, priority=EVENT)
    count(batch, tried=100, bounced=11)
    monkeypatch.setattr(decisions, "CHUNK", 2)
    move, bulk = decisions._move_chunk, iter([False, True])

    def resumed_meanwhile(database, what, *how):
        if what is Job and next(bulk, False):
            decide.resume(batch, now=shelf.clock())
        return move(database, what, *how)

    monkeypatch.setattr(decisions, "_move_chunk", resumed_meanwhile)
    decide.finish_pauses(now=shelf.clock())
    assert shelf.row(Batch).paused_at is None
    assert [row.priority for row in shelf.rows(Job)] == [EVENT] + 5 * [BATCH]


def test_messages_that_have_been_sent_keep_their_priority(shelf, decide, count):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    count(batch, tried=100, bounced=11)
    decide.finish_pauses(now=shelf.clock() + timedelta(seconds=1))
    row = shelf.row(InvitationRow)
    assert (row.state, row.priority) == (InvitationState.SENT, BATCH)


def test_an_hour_is_the_sixty_minutes_before(shelf, count):
    exact, within = shelf.batch(), shelf.batch()
    for batch in (exact, within):
        count(batch, tried=100_000)
    shelf.clock.advance(hours=3)
    count(exact, tried=49, refused=49)
    shelf.clock.advance(minutes=1)
    count(within, tried=49, refused=49)
    shelf.clock.advance(minutes=59)
    for batch in (exact, within):
        count(batch, tried=1, bounced=1)
    assert reason(shelf, exact) == ""
    assert reason(shelf, within).startswith("50 of 50")


def test_what_was_counted_in_the_minute_of_a_resume_was_seen(shelf, count):
    batch = shelf.batch()
    shelf.set(Batch, resumed_at=shelf.clock())
    count(batch, tried=60, bounced=60)
    assert reason(shelf, batch) == ""
    shelf.clock.advance(minutes=1)
    count(batch, tried=60, bounced=60)
    assert reason(shelf, batch).startswith("60 of 60")


def test_of_several_batches_each_is_judged_by_its_own_counts(shelf):
    good, bad, few, empty = (shelf.batch() for _ in range(4))
    counts = {bad: Counted(50, 6, 0), good: Counted(50, 5, 0), few: Counted(49, 49, 0), empty: Counted(0, 0, 0)}
    with shelf.database.write() as connection:
        tallies.count_bounces(connection, counts, RULE, now=shelf.clock())
    assert [bool(reason(shelf, batch)) for batch in (good, bad, few, empty)] == [False, True, False, False]
    assert {row.batch_id for row in shelf.rows(BounceCount)} == {good, bad, few}
