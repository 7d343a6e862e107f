"""The plan for a deadline, held against every possible order of small lists."""

from datetime import UTC, datetime, time, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.rules.quiet_hours import QuietHours
from onboarding_worker.plans.deadlines import DAY, HOUR, QUARTER, Group, Paces, Slots, is_open, plan, room

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def slots_of(number):
    return Slots(NOW, QUARTER, number)


def per_slot(number):
    return number / QUARTER.total_seconds()


def most_in_time(rows, opens, number, accounts, channels):
    """The most rows that any order sends in time: each row, in each open slot or in none."""
    names = [group for group, count in rows.items() for _ in range(count)]

    @cache
    def best(index, used):
        if index == len(names):
            return 0
        group, found = names[index], best(index + 1, used)
        for slot in range(number):
            of_account = sum(count for (account, _, at), count in used if account == group.account and at == slot)
            of_channel = sum(count for (_, channel, at), count in used if channel == group.channel and at == slot)
            if opens(group, slot) and of_account < accounts[group.account] and of_channel < channels[group.channel]:
                more = dict(used)
                key = (group.account, group.channel, slot)
                more[key] = more.get(key, 0) + 1
                found = max(found, 1 + best(index + 1, tuple(sorted(more.items()))))
        return found

    return best(0, ())


@st.composite
def lists(draw, accounts=("a",)):
    number = draw(st.integers(1, 4))
    groups = [
        Group(account, channel, (str(index),))
        for account in accounts
        for channel in ("sms", "email")
        for index in (0, 1)
    ]
    rows = {group: count for group in groups if (count := draw(st.integers(0, 2)))}
    windows = {group: frozenset(draw(st.sets(st.integers(0, number - 1)))) for group in rows}
    account = {name: draw(st.integers(1, 2)) for name in accounts}
    channel = {name: draw(st.integers(1, 2)) for name in ("sms", "email")}
    return rows, windows, number, account, channel


def planned(case):
    rows, windows, number, accounts, channels = case
    paces = Paces(
        {name: per_slot(most) for name, most in accounts.items()},
        {name: per_slot(most) for name, most in channels.items()},
    )
    return plan(rows, slots_of(number), lambda group, slot: slot in windows[group], paces)


@settings(max_examples=150, deadline=None)
@given(lists())
def test_no_order_sends_more_rows_in_time_than_the_plan(case):
    rows, windows, number, accounts, channels = case
    late = sum(planned(case).late.values())
    in_time = most_in_time(rows, lambda group, slot: slot in windows[group], number, accounts, channels)
    assert sum(rows.values()) - late == in_time


@settings(max_examples=150, deadline=None)
@given(lists(accounts=("a", "b")))
def test_the_plan_keeps_windows_and_limits_and_loses_no_row(case):
    rows, windows, number, accounts, channels = case
    found = planned(case)
    for group, count in rows.items():
        assert sum(taken for _, taken in found.by_slot[group]) + found.late.get(group, 0) == count
        assert {slot for slot, taken in found.by_slot[group] if taken} <= windows[group]
        assert all(taken >= 0 for _, taken in found.by_slot[group])
    for slot in range(number):
        for account, most in accounts.items():
            taken = [dict(found.by_slot[group]).get(slot, 0) for group in rows if group.account == account]
            assert sum(taken) <= most
        for channel, most in channels.items():
            taken = [dict(found.by_slot[group]).get(slot, 0) for group in rows if group.channel == channel]
            assert sum(taken) <= most + 1  # two accounts' shares are rounded up


def test_rows_whose_window_closes_first_go_first():
    soon, later = Group("a", "sms", ("Sydney",)), Group("a", "sms", ("London",))
    windows = {soon: {0, 1}, later: {0, 1, 2, 3}}
    found = plan(
        {later: 2, soon: 2}, slots_of(4), lambda group, slot: slot in windows[group], Paces({"a": per_slot(1)})
    )
    assert (found.by_slot[soon], found.by_slot[later]) == ([(0, 1), (1, 1)], [(2, 1), (3, 1)])
    assert found.late == {}


def test_the_pace_of_a_list_is_shared_by_the_accounts_of_its_rows_as_their_rows_are():
    rows = {Group("many", "email", ()): 30, Group("slow", "email", ()): 8, Group("slow", "sms", ()): 2}
    limits = Paces({"many": None, "slow": per_slot(1) / 2, "not in the list": None}, {"email": per_slot(50)})

    assert limits.at_most(None, rows) == limits
    paces = limits.at_most(round(4 * HOUR / QUARTER), rows)

    assert paces == Paces({"many": pytest.approx(per_slot(3)), "slow": per_slot(1) / 2}, limits.channels)
    assert paces.at_most(2, {}).accounts == {}


def test_slots_are_quarters_for_days_and_hours_for_weeks_and_a_pace_begins_at_once():
    assert Slots.until(NOW + 3 * DAY, now=NOW) == Slots(NOW, QUARTER, 288)
    assert Slots.until(NOW + 14 * DAY, now=NOW) == Slots(NOW, HOUR, 336)
    assert Slots.until(NOW + 100 * DAY, now=NOW) == Slots(NOW, DAY, 100)
    assert Slots.until(NOW - DAY, now=NOW).number == 0
    assert Slots.until(NOW + 10_000 * DAY, now=NOW).number == 1500
    assert [room(1 / 3600, slots_of(5), slot) for slot in range(5)] == [1, 0, 0, 0, 1]
    assert room(None, slots_of(1), 0) is None


def test_a_slot_is_open_if_no_part_of_it_is_quiet():
    quiet = QuietHours(time(21, 0), time(8, 0))
    noon = NOW.replace(hour=20, minute=45)
    assert is_open(("UTC",), quiet, noon, noon + QUARTER)
    assert not is_open(("UTC",), quiet, noon + timedelta(minutes=5), noon + timedelta(minutes=20))
    assert not is_open(("UTC",), quiet, noon + QUARTER, noon + 2 * QUARTER)


@pytest.mark.parametrize("left", [timedelta(minutes=10), timedelta(minutes=29), 5 * DAY + QUARTER, 30 * DAY - HOUR])
def test_all_time_before_a_deadline_is_in_a_slot(left):
    slots = Slots.until(NOW + left, now=NOW)
    assert slots.number >= 1
    assert abs(slots.at(slots.number) - (NOW + left)) < timedelta(seconds=1)
    assert plan({Group("a", "email", ()): 5}, slots, lambda _group, _slot: True, Paces()).late == {}


def test_a_day_is_open_though_its_list_is_imported_in_quiet_hours():
    quiet, night = QuietHours(time(21, 0), time(8, 0)), NOW.replace(hour=22)
    slots = Slots.until(night + 20 * DAY, now=night)
    assert slots.number
    assert all(is_open(("UTC",), quiet, slots.at(slot), slots.at(slot + 1)) for slot in range(slots.number))
