"""Issuing waits for the senders, so that no link grows too old in their queue, and no customer waits for ever."""

from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.budgets.backpressure import ask_again_at, room, sender_state
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.core.rules.limits import Limit

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def sender_of(interval=SECOND, paused_until=None, stopped=False, unproven=False):
    rule = BudgetRule("email", limits=(Limit(1, interval),) if interval else ())
    state = BudgetState(blocked_until=paused_until, stopped_at=NOW if stopped else None, unproven=unproven)
    return sender_state(state, rule, now=NOW)


def left(max_age=30 * MINUTE, waiting=0, **sender):
    return room(max_age=max_age, sender=sender_of(**sender), waiting=waiting)


def test_there_is_room_for_the_messages_of_half_a_links_usable_time():
    assert left() == 900
    assert left(waiting=800) == 100
    assert left(waiting=900) == left(waiting=5000) == 0


def test_a_channel_without_a_limit_has_room_for_any_number():
    assert left(interval=timedelta(0), waiting=10**6) is None


@pytest.mark.parametrize("interval", [timedelta(0), SECOND])
def test_a_channel_that_sends_nothing_has_no_room(interval):
    assert left(interval=interval, stopped=True) == 0
    assert left(interval=interval, unproven=True) == 0
    assert left(interval=interval, paused_until=NOW + 2 * MINUTE) == 0
    assert left(interval=interval, paused_until=NOW) != 0


def test_a_pause_that_is_over_soon_is_a_part_of_the_queue():
    assert left(paused_until=NOW + MINUTE) == 840
    assert left(paused_until=NOW + MINUTE, interval=timedelta(0)) is None


def test_without_room_it_is_asked_again_before_the_sender_has_nothing_to_do():
    def again(max_age=30 * MINUTE, **sender):
        return ask_again_at(max_age=max_age, sender=sender_of(**sender), now=NOW) - NOW

    assert again() == 225 * SECOND  # the queue is fifteen minutes long then
    assert [again(max_age) for max_age in (2 * SECOND, 8 * HOUR)] == [SECOND, 10 * MINUTE]
    assert again(paused_until=NOW + 2 * HOUR) == 2 * HOUR
    assert again(stopped=True) == 5 * MINUTE
    assert again(unproven=True) == again(unproven=True, paused_until=NOW - HOUR) == SECOND
    assert again(unproven=True, paused_until=NOW + 8 * SECOND) == 8 * SECOND


def test_a_channel_slower_than_a_links_life_has_room_for_one_at_a_time():
    assert left(interval=HOUR) == 1
    assert left(interval=HOUR, waiting=1) == 0


@given(
    st.integers(1, 3600).map(lambda count: count * SECOND),
    st.integers(1, 600).map(lambda count: count * SECOND),
    st.integers(1, 400),
)
def test_a_list_of_any_length_goes_out_with_no_link_too_old(max_age, interval, customers):
    """The sender sends one an interval; sessions are opened at once, as many as there is room for."""
    now, queue, sent = NOW, deque(), 0
    while sent < customers:
        more = left(max_age=max_age, interval=interval, waiting=len(queue))
        queue.extend([now] * min(more, customers - sent - len(queue)))
        assert now - queue.popleft() <= max_age
        sent += 1
        now += interval
