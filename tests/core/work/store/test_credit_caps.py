"""Caps on credits, of an account by period and of a list: with a cap of N, call N+1 is never written down."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, BatchPlan, Budget, Job
from onboarding_worker.core.model.endings import Asked, Cancel, Hold, Kind, Retry
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.limits import CreditCap
from onboarding_worker.core.rules.reconciliation import Nothing
from onboarding_worker.plans.store import plans
from onboarding_worker.plans.store.plans import Plan
from onboarding_worker.reporting.store.waiting import credits_spent
from tests.stored.reconciling import advance, drop, reconcilable
from tests.stored.shelf import POLICY, customer

DAILY = (CreditCap(3, "day"),)
DAY = timedelta(days=1)


def capped(shelf, most, *names):
    batch, _ = shelf.batches.open(
        name="x", digest=names[0], again=False, now=shelf.clock(), plan=Plan(most_credits=most)
    )
    shelf.add(*map(customer, names), batch=batch.id)
    return batch.id


def midnight_after(shelf):
    return datetime.combine(shelf.clock().date() + DAY, datetime.min.time(), UTC)


def due(shelf, name):
    row = shelf.job(name)
    return row.reason, row.due_at


def test_a_used_up_day_stops_nothing_and_goes_on_after_midnight(shelf):
    policy = shelf.ruled(credits_by=DAILY)
    shelf.add(*(customer(f"C{number}") for number in range(5)))
    flushed = shelf.flush(policy=policy)
    assert (len(flushed.opened), len(shelf.rows(Attempt))) == (3, 3)
    flushed = shelf.flush(policy=policy)
    midnight = midnight_after(shelf)
    assert (flushed.opened, flushed.again_at) == ([], midnight)
    assert shelf.row(Budget, name="kyc").stopped_at is None
    shelf.clock.advance(seconds=(midnight - shelf.clock()).total_seconds())
    assert len(shelf.flush(policy=policy).opened) == 2


def at_the_end_of_a_day(shelf):
    """The policy of a daily cap, with five rows, a second before midnight."""
    shelf.add(*(customer(f"C{number}") for number in range(5)))
    shelf.clock.advance(seconds=(midnight_after(shelf) - shelf.clock()).total_seconds() - 1)
    return shelf.ruled(credits_by=DAILY)


def test_a_row_that_is_opened_before_midnight_is_not_called_after_it(shelf):
    policy = at_the_end_of_a_day(shelf)
    opened = shelf.flush(policy=policy).opened
    assert {item.call_before - shelf.clock() <= timedelta(seconds=1) for item in opened} == {True}
    shelf.clock.advance(seconds=2)
    again = shelf.flush(*(CallResult(item, shelf.clock(), None) for item in opened), policy=policy).opened
    assert len(again) == 3  # of the new day; nothing was given back to it
    assert shelf.flush(policy=policy).opened == []


def test_rows_of_two_days_that_are_released_at_once_give_each_day_its_own_credits_back(shelf):
    policy = at_the_end_of_a_day(shelf)
    before = shelf.flush(policy=policy, most=3).opened
    shelf.clock.advance(seconds=2)
    after = shelf.flush(policy=policy, most=2).opened
    assert shelf.row(Budget, name="kyc").credits_today == 2
    shelf.jobs.release(policy, [*after[:1], *before], now=shelf.clock())
    assert shelf.row(Budget, name="kyc").credits_today == 1
    assert shelf.row(Budget, name="kyc").credits_used == 1


def test_a_call_that_was_not_made_gives_its_own_day_the_credit_back(shelf):
    policy = at_the_end_of_a_day(shelf)
    before = shelf.flush(policy=policy, most=3).opened
    shelf.clock.advance(seconds=2)
    after = shelf.flush(policy=policy, most=2).opened
    for item, credits_today in ((before[0], 2), (after[0], 1)):
        shelf.finish(CallResult(item, shelf.clock(), None), policy=policy)
        assert shelf.row(Budget, name="kyc").credits_today == credits_today
    assert shelf.row(Budget, name="kyc").credits_used == 3


def stop_of(shelf):
    row = shelf.row(Budget, name="kyc")
    return row.credits_used, row.stop_reason


@pytest.mark.both_databases
def test_at_the_cap_an_account_asks_about_sessions_and_stops_only_then(shelf):
    policy = shelf.ruled(credits=2)
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue(policy=policy)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock(), needs_status_check=True)
    shelf.add(customer("Rasa"))
    opened = shelf.flush(policy=policy).opened
    assert [item.asks_about for item in opened] == ["scan-1", "scan-2"]
    assert stop_of(shelf) == (2, "")
    asked = [CallResult(item, shelf.clock(), Asked()) for item in opened]
    assert shelf.flush(*asked, policy=policy).opened == []
    assert stop_of(shelf) == (2, "the cap of 2 credits is used up")


@pytest.mark.both_databases
def test_an_account_that_is_stopped_at_its_cap_still_makes_the_calls_that_cost_nothing(shelf):
    policy = reconcilable(shelf.ruled(credits=2))
    shelf.add(customer("Ona"))
    shelf.issue(policy=policy)
    drop(shelf, policy, customer("Jonas"))
    shelf.add(customer("Rasa"))
    stopped = (2, "the cap of 2 credits is used up")
    assert (shelf.flush(policy=policy).opened, stop_of(shelf)) == ([], stopped)
    shelf.set(Job, Job.customer_id == "Ona", state=JobState.WAITING, due_at=shelf.clock(), needs_status_check=True)
    advance(shelf)
    question, look_up = shelf.flush(policy=policy).opened
    assert (question.asks_about, look_up.unknown_call is not None) == ("scan-1", True)
    assert (shelf.flush(policy=policy).opened, stop_of(shelf)) == ([], stopped)
    answered = [CallResult(question, shelf.clock(), Asked())]
    assert (shelf.flush(*answered, policy=policy).opened, stop_of(shelf)) == ([], stopped)
    anew = Retry(shelf.clock(), "", "")
    opened = shelf.flush(CallResult(look_up, shelf.clock(), anew, found=Nothing()), policy=policy).opened
    assert ([item.customer.customer_id for item in opened], len(shelf.rows(Attempt))) == (["Rasa"], 5)
    assert (shelf.flush(policy=policy).opened, stop_of(shelf)) == ([], stopped)


def test_an_account_that_is_stopped_for_another_reason_makes_no_call_at_its_cap(shelf):
    policy = reconcilable(shelf.ruled(credits=1))
    drop(shelf, policy, customer("Ona"))
    shelf.set(Budget, Budget.name == "kyc", stopped_at=shelf.clock(), stop_reason="HTTP 402")
    advance(shelf)
    assert shelf.flush(policy=policy).opened == []


def test_a_list_at_a_pace_gives_the_places_of_rows_without_a_credit_back(shelf):
    plan = Plan(most_credits=1, per_hour=3600)
    batch, _ = shelf.batches.open(name="x", digest="x", again=False, now=shelf.clock(), plan=plan)
    shelf.add(customer("Ona"), customer("Jonas"), batch=batch.id)
    opened = 0
    for _ in range(5):
        opened += len(shelf.flush().opened)
        shelf.clock.advance(seconds=2)
    assert (opened, {due(shelf, name)[0] for name in ("Ona", "Jonas")}) == (1, {"", "credits_spent"})
    shelf.set(Job, Job.customer_id == "Jonas", due_at=shelf.clock())
    before = shelf.row(BatchPlan).issue_next_at
    assert (shelf.flush().opened, due(shelf, "Jonas")[0]) == ([], "credits_spent")
    assert shelf.row(BatchPlan).issue_next_at == before


@pytest.mark.both_databases
def test_a_list_costs_no_more_than_it_may_and_a_refused_call_costs_nothing(shelf):
    batch = capped(shelf, 2, "Ona", "Jonas", "Rūta", "Ieva")
    first, second = shelf.flush().opened
    assert {due(shelf, name)[0] for name in ("Rūta", "Ieva")} == {"credits_spent"}
    assert shelf.facts.counts(batch).waits["credits_spent"].rows == 2
    assert [(one.id, rows) for one, rows in credits_spent(shelf.database)] == [(batch, 2)]
    shelf.finish(shelf.failed(first, Kind.BAD_INPUT, Cancel("bad_input", "")), shelf.got(second))
    shelf.clock.advance(hours=1)
    (third,) = shelf.flush().opened
    shelf.finish(shelf.failed(third, Kind.UNKNOWN, Hold("unknown", "")))
    shelf.clock.advance(hours=1)
    assert shelf.flush().opened == []  # what may have cost stays counted
    plans.set_most_credits(shelf.database, batch, 9, now=shelf.clock())
    assert due(shelf, "Ieva")[0] == "credits_spent"  # until the next look
    assert credits_spent(shelf.database) == []


@pytest.mark.parametrize(
    ("look_ups", "costs"),
    [([], True), ([("done", "")], False), ([("transient", "")], True), ([("done", "scan-1"), ("done", "")], True)],
    ids=["none", "it opened nothing", "one that failed", "a session that is gone by now"],
)
def test_a_lost_call_costs_the_list_nothing_only_once_it_is_known_to_have_opened_nothing(shelf, look_ups, costs):
    capped(shelf, 1, "Ona", "Jonas")
    (lost,) = shelf.flush().opened
    shelf.finish(shelf.failed(lost, Kind.UNKNOWN, Hold("unknown", "")))
    for outcome, found in look_ups:
        more = {"reconciles": lost.attempt_id, "outcome": outcome, "found": found, "id": uuid4()}
        with shelf.database.write() as connection:
            values = {**shelf.row(Attempt, id=lost.attempt_id)._mapping, **more}
            connection.execute(sa.insert(Attempt).values(values))
    shelf.clock.advance(hours=1)
    assert (shelf.flush().opened == []) is costs


def test_more_credits_make_the_rows_of_a_list_due_at_once(shelf):
    batch = capped(shelf, 1, "Ona", "Jonas", "Rūta")
    shelf.flush()
    assert shelf.flush().opened == []
    plans.set_most_credits(shelf.database, batch, 2, now=shelf.clock())
    assert len(shelf.flush().opened) == 1
    assert shelf.row(BatchPlan, batch_id=batch).most_credits == 2


def test_a_cap_can_be_set_for_a_list_that_had_no_plan(shelf):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    plans.set_most_credits(shelf.database, batch, 1, now=shelf.clock())
    assert len(shelf.flush().opened) == 1


@pytest.mark.both_databases
def test_workers_at_once_never_open_more_than_the_list_and_the_day_allow(shelf):
    batch = capped(shelf, 7, *(f"C{number}" for number in range(20)))
    policies = [replace(shelf.ruled(credits_by=(CreditCap(9, "day"),)), owner=f"here:{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda policy: shelf.flush(most=4, policy=policy), policies))
    assert len(shelf.rows(Attempt, batch_id=batch)) == 7


@pytest.mark.parametrize("seed", range(6))
def test_kills_lost_answers_changed_caps_and_midnights_never_make_one_call_too_many(shelf, seed):
    """The model counts at the provider: a call is made unless its worker died before it, and costs unless refused."""
    play, made, in_all = random.Random(seed), Counter(), Counter()  # noqa: S311 -- a test's dice
    batch = capped(shelf, 15, *(f"C{number}" for number in range(60)))
    shelf.add(*(customer(f"D{number}") for number in range(60)))
    highest, most = Counter(), 15
    for _ in range(40):
        day = shelf.clock().date()
        cap = play.choice([2, 4, 6])
        policy = replace(
            shelf.ruled(credits_by=(CreditCap(cap, "day"), CreditCap(20, "week"))), owner=f"w:{play.randrange(3)}"
        )
        highest[day] = max(highest[day], cap)
        opened = shelf.flush(most=play.randrange(1, 6), policy=policy).opened
        for item in opened:
            if shelf.clock() >= item.call_before:
                continue
            match play.choice(["got", "got", "refused", "lost", "killed", "not made"]):
                case "got":
                    made[day] += 1
                    in_all[item.batch_id] += 1
                    shelf.finish(shelf.got(item), policy=policy)
                case "refused":
                    shelf.finish(shelf.failed(item, Kind.BAD_INPUT, Cancel("bad_input", "")), policy=policy)
                case "not made":
                    shelf.finish(CallResult(item, shelf.clock(), None), policy=policy)
                case "lost":
                    made[day] += 1
                    in_all[item.batch_id] += 1
                    shelf.finish(shelf.failed(item, Kind.UNKNOWN, Hold("unknown", "")), policy=policy)
                case "killed":  # the call was made, and nothing of it is written
                    made[day] += 1
                    in_all[item.batch_id] += 1
        assert made[day] <= highest[day]
        assert in_all[batch] <= most
        if play.random() < 0.3:
            shelf.clock.advance(hours=play.choice([1, 9, 25]))
            shelf.expired_leases.end(POLICY, now=shelf.clock())
        if play.random() < 0.1:
            most += 3
            plans.set_most_credits(shelf.database, batch, most, now=shelf.clock())
    weeks = Counter()
    for day, calls in made.items():
        weeks[day - timedelta(days=day.weekday())] += calls
    assert sum(made.values()) > 20
    assert max(weeks.values()) <= 20
