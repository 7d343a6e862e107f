"""Rows of an account that cannot work go to the next of their route; what may have a session there never does."""

import re
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from worker.budgets import BudgetRule
from worker.customers import Channel
from worker.endings import Cancel, Hold, Kind, Retry, Snooze
from worker.failover import LEAST, LOT, SOON
from worker.ids import new_id
from worker.models import Attempt, Budget, Job, SessionRow
from worker.pacing import Limit
from worker.states import JobState, SessionState
from worker.store.batches import AcceptedLine
from worker.store.decisions import Decisions, Verdict, Which
from worker.store.failover import Failover, TakeOver
from worker.store.jobs import BATCH, EVENT, PRIORITIES

from .beside import on_postgresql
from .shelf import customer

HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture
def failover(database) -> Failover:
    return Failover(database)


@pytest.fixture(autouse=True)
def accounts(shelf):
    shelf.budgets.ensure(["au", "us"])


def what(target="au", *, source="kyc", well=("au",), sharing=(), **rule) -> TakeOver:
    return TakeOver(
        source=source,
        source_budget=source,
        target=target,
        rule=BudgetRule(target, **rule),
        floor=HALF_AN_HOUR,
        sharing=(target, *sharing),
        well=well,
    )


def add(shelf, *customers, others=("au",), freshness=None, account="kyc", priority=BATCH) -> int:
    batch = shelf.batch()
    lines = [
        AcceptedLine(row, who, account, "route 1: every customer", 12 * 3600, others, freshness)
        for row, who in enumerate(customers, 2)
    ]
    shelf.batches.add(batch, lines, [], priority=priority, now=shelf.clock())
    return batch


def add_many(shelf, count, prefix="C", **how) -> int:
    return add(shelf, *(customer(f"{prefix}{number:04}") for number in range(count)), **how)


def stop(shelf, name="kyc"):
    shelf.set(Budget, Budget.name == name, stopped_at=shelf.clock(), stop_reason="HTTP 401")


def open_breaker(shelf, name="kyc", *, blocked_for=timedelta(minutes=5)):
    values = {"opened_at": shelf.clock(), "blocked_until": shelf.clock() + blocked_for, "failures": 5}
    shelf.set(Budget, Budget.name == name, **values)


def move(shelf, failover, taking=None) -> int:
    return failover.move(taking or what(), now=shelf.clock())


def left(shelf, failover, batch, taking=None):
    """How many rows of the batch may still go, and when the first of them is due."""
    which = (taking or what(), batch)
    return failover.count(*which, now=shelf.clock()), failover.first_due(*which, now=shelf.clock())


def accounts_of(shelf) -> dict[str, str]:
    return {row.customer_id: row.account for row in shelf.rows(Job)}


def at(shelf, account="au") -> int:
    return sum(row.account == account for row in shelf.rows(Job))


# What is taken over.


@pytest.mark.parametrize(("trouble", "words"), [(stop, "is stopped"), (open_breaker, "has its breaker open")])
def test_rows_of_an_account_in_trouble_are_taken_over_with_the_reason(shelf, failover, trouble, words):
    add(shelf, customer("Ona"), customer("Jonas"), others=("au", "us"))
    trouble(shelf)
    shelf.clock.advance(seconds=1)
    assert move(shelf, failover) == 2
    row = shelf.job("Ona")
    assert (row.account, row.others, row.state) == ("au", "kyc,au,us", JobState.WAITING)
    assert row.route == f"route 1: every customer; taken over from kyc, which {words}"
    assert (row.reason, row.detail) == ("taken_over", f"taken over from kyc, which {words}")
    assert row.changed_at == shelf.clock()
    assert row.due_at < shelf.clock()  # it has not lost its place


def test_nothing_moves_while_the_account_is_well_or_only_told_to_wait(shelf, failover):
    add(shelf, customer("Ona"))
    assert move(shelf, failover) == 0
    shelf.set(Budget, Budget.name == "kyc", blocked_until=shelf.clock() + timedelta(hours=1), pauses=3)
    assert move(shelf, failover) == 0
    assert accounts_of(shelf) == {"Ona": "kyc"}


@pytest.mark.parametrize("trouble", [stop, open_breaker])
def test_nothing_moves_to_an_account_that_is_in_trouble_itself(shelf, failover, trouble):
    add(shelf, customer("Ona"))
    stop(shelf)
    trouble(shelf, "au")
    assert move(shelf, failover) == 0
    assert accounts_of(shelf) == {"Ona": "kyc"}


def test_nothing_moves_to_an_account_whose_cap_is_used_up(shelf, failover):
    add_many(shelf, 5)
    stop(shelf)
    shelf.set(Budget, Budget.name == "au", credits_used=3)
    assert move(shelf, failover, what(credits=3)) == 0
    assert move(shelf, failover, what(credits=5)) == 2
    assert move(shelf, failover, what(credits=5)) == 0


def test_what_was_taken_over_is_worked_there_under_that_account_s_name(shelf, failover):
    add(shelf, customer("Ona"))
    stop(shelf)
    move(shelf, failover)
    au = replace(shelf.terms, account="au", provider="frankieone-v2", rule=BudgetRule("au"))
    shelf.issue(terms=au)
    row = shelf.job("Ona")
    assert (row.state, row.reason, shelf.row(SessionRow).account) == (JobState.ISSUED, "", "au")
    (told,) = shelf.facts.lines(row.batch_id)
    assert (told.account, told.route) == ("au", row.route)


def test_the_floor_is_the_route_s_or_else_that_of_the_account_that_took_over(shelf, failover):
    add(shelf, customer("Ona"))
    add(shelf, customer("Jonas"), freshness=2 * 3600)
    stop(shelf)
    move(shelf, failover)
    assert shelf.job("Ona").floor_seconds == 30 * 60
    assert shelf.job("Jonas").floor_seconds == 2 * 3600


def test_rows_come_back_when_the_second_fails_and_stay_while_both_are_well(shelf, failover):
    add(shelf, customer("Ona"))
    stop(shelf)
    move(shelf, failover)
    shelf.budgets.resume("kyc")
    back = what("kyc", source="au", well=("kyc",))
    assert move(shelf, failover) == move(shelf, failover, back) == 0
    assert accounts_of(shelf) == {"Ona": "au"}
    stop(shelf, "au")
    assert move(shelf, failover, back) == 1
    row = shelf.job("Ona")
    assert (row.account, row.others) == ("kyc", "kyc,au")
    assert row.route == "route 1: every customer; taken over from au, which is stopped"


def test_each_row_goes_to_the_most_preferred_of_its_own_others_that_is_well(shelf, failover):
    add(shelf, customer("Ona"), others=("au", "us"))
    add(shelf, customer("Jonas"), others=("us", "au"))
    add(shelf, customer("Rasa"), others=("us",))
    add(shelf, customer("Petras"), others=())
    add(shelf, customer("Lina"), others=("aus", "us-au"))
    stop(shelf)
    both = ("au", "us", "aus")
    assert move(shelf, failover, what("au", well=both)) == 1
    assert move(shelf, failover, what("us", well=both)) == 2
    assert accounts_of(shelf) == {"Ona": "au", "Jonas": "us", "Rasa": "us", "Petras": "kyc", "Lina": "kyc"}


def test_rows_that_go_elsewhere_do_not_keep_others_from_going(shelf, failover):
    add_many(shelf, 2 * LEAST, others=("us", "au"))
    shelf.clock.advance(seconds=1)
    add(shelf, customer("Ona"))
    stop(shelf)
    slow = what("au", well=("au", "us"), limits=(Limit.parse("1/minute"),))
    assert move(shelf, failover, slow) == 1
    assert shelf.job("Ona").account == "au"


# How much.


def test_a_slow_account_is_given_a_few_and_more_once_they_are_done(shelf, failover):
    add_many(shelf, 3 * LEAST)
    stop(shelf)
    slow = what(limits=(Limit.parse("1/minute"),))
    assert move(shelf, failover, slow) == LEAST
    assert move(shelf, failover, slow) == 0
    shelf.set(Job, Job.account == "au", state=JobState.ISSUED)
    assert move(shelf, failover, slow) == LEAST
    # The next of them are those that have waited longest.
    assert [row.account for row in shelf.rows(Job)] == ["au"] * 2 * LEAST + ["kyc"] * LEAST


def test_what_shares_the_budget_counts_as_due_there(shelf, failover):
    add_many(shelf, LEAST - 3, "U", account="us", others=())
    add_many(shelf, 2 * LEAST)
    stop(shelf)
    assert move(shelf, failover, what(sharing=("us",), limits=(Limit.parse("1/minute"),))) == 3


def test_a_fast_account_is_given_several_lots_and_one_without_limits_a_single_one(shelf, failover):
    add_many(shelf, LOT + 5, "A")
    add_many(shelf, 7, "U", others=("us",))
    stop(shelf)
    assert move(shelf, failover, what()) == LOT
    assert move(shelf, failover, what()) == 0
    shelf.set(Job, account="kyc", others="au")
    assert move(shelf, failover, what(limits=(Limit.parse("2000/second"),))) == LOT + 12


def test_an_event_s_row_goes_before_those_of_a_batch(shelf, failover):
    add_many(shelf, LEAST)
    shelf.clock.advance(seconds=1)
    add(shelf, customer("Ona"), priority=EVENT)
    stop(shelf)
    move(shelf, failover, what(limits=(Limit.parse("1/minute"),)))
    assert shelf.job("Ona").account == "au"


def test_a_row_stays_for_the_probe_of_an_open_breaker_and_none_for_one_that_is_stopped(shelf, failover):
    add_many(shelf, 3)
    open_breaker(shelf, blocked_for=SOON)
    assert move(shelf, failover) == 2
    assert shelf.job("C0002").account == "kyc"  # the one that would have been last
    assert move(shelf, failover) == 0
    stop(shelf)
    assert move(shelf, failover) == 1


# What stays.


def test_a_row_that_is_due_later_stays_until_it_is_soon(shelf, failover):
    add(shelf, customer("Ona"))
    stop(shelf)
    shelf.set(Job, due_at=shelf.clock() + SOON + timedelta(seconds=1))
    assert move(shelf, failover) == 0
    shelf.clock.advance(seconds=1)
    assert move(shelf, failover) == 1


def test_rows_of_a_paused_batch_stay(shelf, failover, database):
    batch = add(shelf, customer("Ona"))
    Decisions(database).pause(batch, now=shelf.clock())
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
    assert (joined.account, joined.others) == ("kyc", "au")


def call(shelf, kind=Kind.TRANSIENT, *, repeatable=False, ending=None, most=100, **problem):
    """The call of the due row ends so, and the row waits to be called again."""
    (opened,) = shelf.open(shelf.take(most), repeatable=repeatable)
    again = ending or Retry(shelf.clock(), kind.value, "")
    shelf.finish(shelf.failed(opened, kind, again, **problem))
    return opened


def expired_lease(shelf):
    shelf.open(shelf.take())
    shelf.clock.advance(minutes=5)
    shelf.sweeps.return_leases(shelf.terms.rule.policy, now=shelf.clock())


def open_attempt_of_a_row_that_is_free(shelf):
    shelf.open(shelf.take())
    shelf.set(Job, state=JobState.WAITING, lease_until=None)


def being_called(shelf):
    shelf.open(shelf.take())


def unknown(shelf):
    call(shelf, Kind.UNKNOWN, repeatable=True)


def held(shelf):
    call(shelf, Kind.UNKNOWN, ending=Hold("unknown", ""))


def held_and_repeated_by_a_person(shelf):
    held(shelf)
    for batch in {row.batch_id for row in shelf.rows(Job)}:
        Decisions(shelf.database).resolve(Which(batch), Verdict.REPEAT, now=shelf.clock())


def late(shelf):
    (opened,) = shelf.open(shelf.take(), repeatable=True)
    shelf.clock.advance(minutes=5)
    shelf.sweeps.return_leases(shelf.terms.rule.policy, now=shelf.clock())
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
    shelf.set(Job, in_doubt=new_id(shelf.clock()))


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
    unknown,
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


@pytest.mark.parametrize("doubt", BOUND, ids=lambda doubt: doubt.__name__)
def test_a_row_that_may_have_a_session_at_the_first_never_goes_to_the_second(shelf, failover, doubt):
    batch = add(shelf, customer("Ona"))
    doubt(shelf)
    stop(shelf)
    shelf.clock.advance(hours=1)
    assert left(shelf, failover, batch) == (0, None)
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
    (opened,) = shelf.open(shelf.take())
    shelf.finish(replace(shelf.got(opened), ending=None, session=None))


def taken_and_given_back(shelf):
    shelf.jobs.release(shelf.terms.rule, shelf.take(), now=shelf.clock())


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
    taken_and_given_back,
    customer_whose_last_session_is_over,
]


@pytest.mark.parametrize("harmless", FREE, ids=lambda harmless: harmless.__name__)
def test_a_row_whose_call_certainly_opened_nothing_is_taken_over(shelf, failover, harmless):
    add(shelf, customer("Ona"))
    harmless(shelf)
    stop(shelf)
    shelf.clock.advance(hours=1)
    assert move(shelf, failover) == 1
    assert at(shelf) == 1


def test_a_message_in_doubt_binds_no_row_of_another_purpose(shelf, failover):
    add(shelf, customer("Jonas"))
    shelf.issue()
    shelf.hand_over(shelf.take_letters(), Hold("unknown", ""))
    add(shelf, customer("Jonas", purpose="renewal"))
    stop(shelf)
    assert move(shelf, failover) == 1


# What is left of a batch.


def test_what_can_still_go_is_counted_with_the_rows_that_others_joined(shelf, failover):
    first = add(shelf, customer("Ona"), customer("Jonas"))
    second = add(shelf, customer("Ona"), customer("Rasa", channel=Channel.NONE))
    third = add(shelf, customer("Petras"), others=())
    stop(shelf)
    later = shelf.clock() + timedelta(hours=2)
    shelf.set(Job, Job.customer_id == "Rasa", due_at=later)
    now = shelf.clock()
    assert left(shelf, failover, first) == (2, now)
    assert left(shelf, failover, second) == (2, now)
    assert left(shelf, failover, third) == (0, None)
    assert left(shelf, failover, first, what("us", well=("au", "us"))) == (0, None)
    shelf.set(Job, Job.customer_id == "Ona", state=JobState.HELD)
    assert left(shelf, failover, second) == (1, later)


# Beside others.


@on_postgresql
def test_what_a_worker_is_taking_is_passed_over(shelf, failover, database):
    add(shelf, customer("Ona"), customer("Jonas"))
    stop(shelf)
    with database.write() as connection:
        connection.execute(sa.select(Job.id).where(Job.customer_id == "Ona").with_for_update())
        assert move(shelf, failover) == 1
    assert accounts_of(shelf) == {"Ona": "kyc", "Jonas": "au"}


@on_postgresql
def test_a_row_whose_call_turns_out_to_be_in_doubt_once_it_was_looked_at_stays(shelf, failover, database):
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


@on_postgresql
def test_two_timers_do_not_give_the_same_room_away_twice(shelf, failover, database):
    add_many(shelf, 4 * LEAST)
    stop(shelf)
    slow = what(limits=(Limit.parse("1/minute"),))
    timers = [threading.Thread(target=failover.move, args=(slow,), kwargs={"now": shelf.clock()}) for _ in range(4)]
    for timer in timers:
        timer.start()
    for timer in timers:
        timer.join(30)
    assert at(shelf) == LEAST


def test_looking_reads_indexes_and_no_whole_table(shelf, failover, database):
    add_many(shelf, 500, "D", others=())
    shelf.finish(*(shelf.got(opened) for opened in shelf.open(shelf.take(500))))
    add_many(shelf, 300)
    stop(shelf)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    plans: list[str] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def keep(_connection, cursor, text, parameters, *_):
        if text.startswith("SELECT job.id, job.others"):
            if not database.is_sqlite:
                cursor.execute("SET enable_seqscan = off")  # tables as small as these are read whole
            cursor.execute(("EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN ") + text, parameters)
            plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))
            if not database.is_sqlite:
                cursor.execute("SET enable_seqscan = on")

    assert move(shelf, failover) == 300
    for plan in plans:
        for index in ("ix_job_backed", "ix_attempt_job_id", "uq_session_live"):
            assert index in plan, plan
        assert not re.search(r"SCAN|Seq Scan", plan), plan
    assert len(plans) >= 3


def test_a_row_whose_session_has_ended_unused_goes_like_one_that_had_none(shelf, failover):
    add(shelf, customer("Ona"), customer("Rasa"), customer("Jonas"))
    shelf.issue()
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), reason="session_expired")
    shelf.set(SessionRow, SessionRow.customer_id != "Rasa", state=SessionState.EXPIRED)
    shelf.set(Job, Job.customer_id == "Jonas", entity_id="ent-1")  # the source made it, and alone knows it
    stop(shelf)
    assert failover.move(what(), now=shelf.clock()) == 1
    assert shelf.job("Ona").account == "au"
