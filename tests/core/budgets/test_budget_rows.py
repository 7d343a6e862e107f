"""The budget rows: what locks one, what is counted and given back, and what ends a stop."""

import logging
from dataclasses import replace
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.database.tables import Budget
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.rules.budgets import (
    ASK_AGAIN_AFTER,
    LATE_NOW,
    BudgetRule,
    BudgetState,
    Grant,
    at_cap,
    with_credits,
)
from onboarding_worker.core.rules.call_outcomes import repeating
from onboarding_worker.core.rules.limits import FREE, CreditCap, Limit, Slots, UsedCredits
from onboarding_worker.core.rules.rate_adaptation import Pace
from onboarding_worker.core.rules.throughput import MeasuredThroughput, Stretch
from tests.core.rules.call_outcomes import call_outcome
from tests.stored.statements import statements

pytestmark = pytest.mark.both_databases

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
RULE = BudgetRule("kyc")
LIMITED = replace(RULE, limits=(Limit.parse("10/second"),))
CAPPED = replace(RULE, credits=5)
OTHER = "sender/sms"


@pytest.fixture
def put(shelf):
    """Stores a state of the budget."""

    def state(**values):
        stored = replace(BudgetState(), **values)
        with shelf.database.write() as connection:
            budgets.save(connection, "kyc", stored)
        return stored

    return state


@pytest.fixture
def now(shelf):
    return shelf.clock()


def stored(shelf):
    return shelf.budgets.all()["kyc"]


def made(shelf, what, *given, **how):
    """What this function of the store returns, in a transaction of its own."""
    with shelf.database.write() as connection:
        return what(connection, *given, now=shelf.clock(), **how)


def claimed_by(shelf, rule, *, is_locked=False):
    """The state that a claim goes by, and whether it has locked the budget, or had done so already."""
    with shelf.database.write() as connection:
        if is_locked:
            budgets.lock(connection, rule)
        state = budgets.to_claim(connection, rule, now=shelf.clock(), reach=SECOND, lease=MINUTE)
        return state, budgets.is_locked(connection, rule.name)


LATER = LATE_NOW + 2 * SECOND


@pytest.mark.parametrize(
    ("rule", "values", "after", "locked"),
    [
        (RULE, {}, None, False),
        (LIMITED, {"next_at": SECOND}, None, False),
        (RULE, {"next_at": LATER}, None, False),
        (replace(RULE, credits=6), {"credits_used": 5}, None, False),
        (RULE, {"pauses": 1}, None, True),
        (RULE, {"stopped_at": SECOND}, None, True),
        (RULE, {"pace": Pace(rate=5.0)}, None, True),
        (CAPPED, {"credits_used": 5}, None, True),
        (LIMITED, {"next_at": LATER}, {"next_at": SECOND * 1.1}, True),
        (LIMITED, {"probe_until": LATER + MINUTE}, {"probe_until": None}, True),
    ],
)
def test_a_claim_locks_the_budget_where_one_worker_must_decide_alone(shelf, put, now, rule, values, after, locked):
    def at(changes):
        return {name: now + value if isinstance(value, timedelta) else value for name, value in changes.items()}

    before = put(**at(values))
    expected = before if after is None else replace(before, **at(after))
    assert claimed_by(shelf, rule) == (expected, locked)
    assert stored(shelf) == expected
    if rule.paces or "next_at" not in values:
        assert claimed_by(shelf, rule, is_locked=True) == (expected, True)


def test_a_budget_is_read_again_as_it_is_locked_and_not_once_more(shelf, put):
    put(pauses=2, failures=3)
    others = sa.update(Budget).where(Budget.name == RULE.name).values(failures=Budget.failures + 1)
    with shelf.database.write() as connection:
        seen = [budgets.read(connection, RULE.name).failures]
        for lock in (False, True, True, False):
            connection.execute(others)
            seen.append(budgets.read(connection, RULE.name, lock=lock).failures)
    assert seen == [3, 3, 5, 5, 5]


def test_what_a_transaction_changes_of_a_budget_is_seen_in_it_and_written_once_at_its_end(shelf, put):
    put(failures=3)
    with statements(shelf.database) as made, shelf.database.write() as connection:
        for _ in range(3):
            state = budgets.read(connection, RULE.name, lock=True)
            budgets.save(connection, RULE.name, replace(state, failures=state.failures + 1))
        budgets.count_credits(connection, RULE, 2, now=shelf.clock())
        assert budgets.read(connection, RULE.name).failures == 6
        assert budgets.to_claim(connection, RULE, now=shelf.clock(), reach=SECOND, lease=MINUTE) == budgets.read(
            connection, RULE.name
        )
    assert [text.split()[0] for text in made if "budget" in text] == ["SELECT", "UPDATE"]
    assert (stored(shelf).failures, stored(shelf).credits_used) == (6, 2)


KINDS = [(kind, False) for kind in (None, *Kind)] + [(Kind.TRANSIENT, True)]


@pytest.mark.parametrize(("kind", "unreachable"), KINDS)
def test_a_call_that_opened_nothing_gives_its_credit_back_to_its_day(shelf, put, now, kind, unreachable):
    spent = UsedCredits().plus(4, on=now.date(), now=now)
    before = put(credits_used=9, spent=spent, failures=1)
    outcome = call_outcome(now, kind, "why", **({"unreachable": True} if unreachable else {}))
    free = int(kind in FREE or unreachable)
    made(shelf, budgets.apply_outcomes, RULE, [outcome], refund=False)
    assert (stored(shelf).credits_used, stored(shelf).spent) == (9, spent)
    put(**{name: getattr(before, name) for name in ("credits_used", "spent", "failures")})
    made(shelf, budgets.apply_outcomes, RULE, [outcome, outcome._replace(began_at=now - DAY)])
    after = stored(shelf)
    assert (after.credits_used, after.spent.today, after.spent.week) == (9 - 2 * free, 4 - free, 4 - 2 * free)


@pytest.mark.parametrize(
    ("values", "kinds", "changed"),
    [
        ({}, [None, None], False),
        ({"pauses": 1}, [None], True),
        ({"pace": Pace(granted=9.0, refused=3.0)}, [None], True),
        ({}, [None, Kind.TRANSIENT], True),
        ({}, [], False),
    ],
)
def test_a_success_changes_a_budget_that_is_in_trouble_or_was_refused_lately(shelf, put, now, values, kinds, changed):
    before = put(**values)
    made(shelf, budgets.apply_outcomes, RULE, [call_outcome(now, kind, "") for kind in kinds])
    assert (stored(shelf) != before) is changed


def test_a_busy_stretch_is_measured_with_and_without_outcomes(shelf, put, now):
    put()
    for outcomes in ([], [call_outcome(now)], [call_outcome(now, Kind.TRANSIENT, "")]):
        with shelf.database.write() as connection:
            budgets.measure(connection, RULE, Stretch(5, SECOND), now=now)
            budgets.apply_outcomes(connection, RULE, outcomes, now=now)
    assert stored(shelf).measured == MeasuredThroughput(15.0, 1.0, now)
    assert stored(shelf).failures == 1


def test_a_flush_adds_its_busy_stretch_to_the_measured_pace(shelf):
    shelf.jobs.flush(shelf.policy, [], None, clock=shelf.clock, stretch=Stretch(5, SECOND))
    assert shelf.budgets.all()["kyc"].measured == MeasuredThroughput(5.0, 1.0, shelf.clock())


def warned(caplog):
    """How many warnings were logged since it was last asked."""
    number = sum(record.levelno == logging.WARNING for record in caplog.records)
    caplog.clear()
    return number


def test_an_outage_and_a_stop_are_logged_when_they_begin_and_end_and_not_meanwhile(shelf, put, now, caplog):
    well, opened = BudgetState(), replace(BudgetState(), opened_at=now)
    stopped, both = replace(well, stopped_at=now), replace(well, stopped_at=now, opened_at=now)
    for before, after, logged in [
        (well, well, 0),
        (well, opened, 1),
        (well, stopped, 1),
        (opened, opened, 0),
        (opened, both, 1),
        (opened, well, 1),
        (stopped, stopped, 0),
        (stopped, well, 1),
        (both, stopped, 0),
        (both, opened, 0),
        (stopped, opened, 1),
    ]:
        with shelf.database.write() as connection:
            budgets.save_turn(connection, RULE, before, after)
        assert (warned(caplog), stored(shelf)) == (logged, after)


@pytest.mark.parametrize(
    ("before", "granted", "after", "level"),
    [
        (None, 500.0, 5.0, logging.INFO),
        (5.0, 500.0, 2.5, logging.INFO),
        (5.0, 50.0, 5.25, logging.DEBUG),
        (9.9, 100.0, None, logging.INFO),
        (5.0, 1.0, 5.0, None),
    ],
)
def test_a_rate_found_is_logged_for_the_operator_and_its_many_steps_up_are_not(
    shelf, put, now, caplog, before, granted, after, level
):
    caplog.set_level(logging.DEBUG, budgets.__name__)
    pace = Pace(rate=before, granted=granted, raised_at=now - 5 * SECOND)
    if after is not None and (before is None or after < before):
        pace = replace(pace, refused=granted / 50)
    state = put(pace=pace)
    grant = Grant(Slots(now, SECOND / 10, 1))
    made(shelf, budgets.reserve, LIMITED, state, grant, 1, probe_for=MINUTE)
    assert stored(shelf).pace.rate == pytest.approx(after)
    assert [record.levelno for record in caplog.records] == ([] if level is None else [level])


@pytest.mark.parametrize("asks", [False, True])
def test_where_the_probe_is_not_made_another_one_may_go_at_once(shelf, put, now, asks):
    class Row:
        def __init__(self, probe):
            self.probe = probe

    before = put(
        pauses=1,
        probe_until=now + MINUTE,
        stopped_at=now - MINUTE if asks else None,
        asks_again_at=now + ASK_AGAIN_AFTER if asks else None,
    )
    with shelf.database.write() as connection:
        budgets.save(connection, OTHER, before)
        budgets.end_probe(connection, RULE, [Row(False), Row(False)])
        assert budgets.read(connection, "kyc") == before
        budgets.end_probe(connection, RULE, [Row(False), Row(True)])
        assert budgets.read(connection, OTHER) == before
    assert stored(shelf) == replace(before, probe_until=None, asks_again_at=now - MINUTE if asks else None)
    without = put(stopped_at=now - MINUTE, asks_again_at=now + ASK_AGAIN_AFTER)
    with shelf.database.write() as connection:
        budgets.end_probe(connection, RULE, [Row(True)])
    assert stored(shelf) == without


@pytest.mark.parametrize(
    "spent",
    [UsedCredits(date(2026, 11, day), 1, 2, 3) for day in (1, 13, 15, 16, 19, 20, 21)]
    + [UsedCredits(date(2026, 10, 31), 1, 2, 3), UsedCredits()],
)
def test_credits_without_a_cap_are_counted_into_the_periods_of_their_day_as_with_one(shelf, put, now, spent):
    before = put(credits_used=20, spent=spent)
    made(shelf, budgets.count_credits, RULE, 0)
    assert stored(shelf) == before
    made(shelf, budgets.count_credits, RULE, 4)
    assert stored(shelf) == with_credits(before, {max(spent.day or now.date(), now.date()): 4}, now=now)
    assert shelf.budgets.all()[OTHER] == BudgetState()


@pytest.mark.parametrize(
    ("rule", "used", "wanted", "allowed", "stops"),
    [
        (RULE, 9, 4, 4, False),
        (CAPPED, 1, 4, 4, False),
        (CAPPED, 1, 5, 4, True),
        (CAPPED, 5, 1, 0, True),
        (CAPPED, 5, 0, 0, False),
        (replace(RULE, credits_by=(CreditCap(3, "day"),)), 1, 5, 2, False),
        (replace(CAPPED, credits_by=(CreditCap(3, "day"),)), 1, 5, 2, False),
        (replace(CAPPED, credits_by=(CreditCap(3, "day"),)), 3, 5, 0, False),
    ],
)
def test_credits_are_spent_up_to_the_caps_and_the_cap_on_all_stops_the_account(
    shelf, put, now, rule, used, wanted, allowed, stops
):
    before = put(credits_used=used, spent=UsedCredits(now.date(), used, used, used))
    assert made(shelf, budgets.spend_credits, rule, wanted) == allowed
    after = with_credits(before, {now.date(): allowed}, now=now)
    assert stored(shelf) == (at_cap(after, rule, now=now) if stops else after)


@pytest.mark.parametrize(("rule", "used", "stops"), [(RULE, 9, False), (CAPPED, 4, False), (CAPPED, 5, True)])
def test_a_row_that_waits_for_a_credit_stops_the_account_only_at_its_cap(shelf, put, now, rule, used, stops):
    before = put(credits_used=used)
    made(shelf, budgets.stop_at_cap, rule)
    assert stored(shelf) == (at_cap(before, rule, now=now) if stops else before)


def test_credits_are_given_back_and_counted_again_by_their_days(shelf, put, now):
    before = put(credits_used=5, spent=UsedCredits(now.date(), 2, 4, 5))
    before = at_cap(before, CAPPED, now=now)
    put(**{name: getattr(before, name) for name in ("credits_used", "spent", "stopped_at", "stop_reason")})
    yesterday = now.date() - DAY
    made(shelf, budgets.refund, CAPPED, {})
    assert stored(shelf) == before
    made(shelf, budgets.refund, CAPPED, {now.date(): 1, yesterday: 2})
    assert stored(shelf) == replace(BudgetState(), credits_used=2, spent=UsedCredits(now.date(), 1, 1, 2))
    made(shelf, budgets.count_earlier_credits, CAPPED, {yesterday: 2})
    assert stored(shelf) == replace(BudgetState(), credits_used=4, spent=UsedCredits(now.date(), 1, 3, 4))


def test_missing_budgets_are_added_and_known_ones_kept(shelf, put):
    put(failures=3)
    shelf.budgets.ensure(["kyc", "new"])
    shelf.budgets.ensure(["new"])
    found = shelf.budgets.all()
    assert (found["kyc"].failures, found["new"]) == (3, BudgetState())
    with shelf.database.read() as connection, pytest.raises(LookupError):
        budgets.read(connection, "unknown")


@pytest.mark.parametrize(("credits", "lifted"), [(6, True), (None, True), (5, False), (4, False)])
def test_a_start_ends_the_stops_at_caps_that_were_raised(shelf, put, now, credits, lifted):
    before = replace(at_cap(replace(BudgetState(), credits_used=5), CAPPED, now=now), failures=2)
    put(**{name: getattr(before, name) for name in ("credits_used", "stopped_at", "stop_reason", "failures")})
    shelf.budgets.lift_stops_at_caps([replace(RULE, credits=credits), BudgetRule("not there")])
    assert stored(shelf) == (replace(before, stopped_at=None, stop_reason="") if lifted else before)


@pytest.mark.parametrize(
    ("values", "by_start", "by_person"),
    [
        ({}, [], []),
        ({"blocked_until": MINUTE, "pauses": 1}, [], ["pause"]),
        ({"blocked_until": timedelta(0), "pauses": 1}, [], []),
        ({"stopped_at": timedelta(0), "stop_reason": "HTTP 401"}, ["stop"], ["stop"]),
        ({"stopped_at": timedelta(0), "stop_reason": "repeats", "blocked_until": MINUTE}, [], ["stop", "pause"]),
    ],
)
def test_what_a_start_and_what_a_person_ends(shelf, put, now, values, by_start, by_person):
    def at(changes):
        return {name: now + value if isinstance(value, timedelta) else value for name, value in changes.items()}

    if values.get("stop_reason") == "repeats":
        values = {**values, "stop_reason": repeating(BudgetState(), 3, now=now).stop_reason}
    for person, ended in [(None, by_start), (now, by_person)]:
        before = put(**at(values))
        assert shelf.budgets.resume("kyc", by_person_at=person) == ended
        assert (stored(shelf) == before) is (ended == [])
        assert stored(shelf).stopped_at == (None if "stop" in ended else before.stopped_at)
        assert stored(shelf).blocked_until == (None if person and ended else before.blocked_until)


def test_a_sender_is_tried_while_it_is_unproven_and_may_be_called(shelf, put, now):
    for values, tried in [
        ({}, False),
        ({"unproven": True}, True),
        ({"unproven": True, "blocked_until": now + SECOND}, False),
        ({"unproven": True, "stopped_at": now}, False),
        ({"unproven": True, "stopped_at": now, "asks_again_at": now}, True),
    ]:
        put(**values)
        assert shelf.budgets.is_unverified("kyc", now=now) is tried


def test_the_first_answers_are_of_the_budgets_that_were_asked_for(shelf, put):
    put(failures=3)
    shelf.budgets.mark_unverified([OTHER])
    for due in (True, False):
        event = sa.exists(sa.select(sa.literal(1)).where(sa.literal(due)))
        with shelf.database.read() as connection:
            first = budgets.ask_first(connection, "kyc", event, {}, beside=[OTHER])
        assert (first.state.failures, first.stopped, first.event_is_due) == (3, False, due)
        assert {name: state.unproven for name, state in first.beside.items()} == {OTHER: True}


@pytest.mark.postgresql_alone
@pytest.mark.parametrize("locks", ["for a claim", "with its state"])
def test_a_budget_is_locked_alone(shelf, locks):
    with shelf.database.write() as one, shelf.database.write() as other:
        if locks == "for a claim":
            budgets.lock(one, RULE)
        assert budgets.read(one, "kyc", lock=locks == "with its state") == BudgetState()
        free = set(other.execute(sa.select(Budget.name).with_for_update(skip_locked=True)).scalars())
    assert ("kyc" in free, OTHER in free) == (False, True)
