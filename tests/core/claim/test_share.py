"""An account's permits: never more than its concurrency, shared fairly by the dispatchers, and all used."""

from collections import namedtuple
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.core.claim.leases import Share, share

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
TURN = timedelta(seconds=5)
Held = namedtuple("Held", "owner permits until")


def held(**permits):
    return [Held(owner, count, LATER) for owner, count in permits.items()]


def settle(cap, owners, busy=None, rounds=40, rows=None):
    """The shares after each owner asks in turn, with as many calls in flight as it may have, or `busy`."""
    rows = {} if rows is None else rows
    for _ in range(rounds):
        for owner in owners:
            out = rows.get(owner, Share(0, 0)).use if busy is None else busy[owner]
            rows[owner] = share(cap, held(**{o: s.keep for o, s in rows.items()}), owner, busy=out, now=NOW)
    return rows


def test_a_dispatcher_that_works_alone_gets_all_permits():
    assert settle(50, ["a"])["a"].use == 50


def test_dispatchers_share_permits_fairly_and_all_are_used():
    assert [settle(50, "abc")[owner].use for owner in "abc"] == [17, 17, 16]


def test_a_dispatcher_begins_with_a_part_and_no_less_than_a_few():
    assert share(100, [], "a", busy=0, now=NOW).use == 25
    assert share(10, [], "a", busy=0, now=NOW).use == 8
    assert share(3, [], "a", busy=0, now=NOW).use == 3


def test_a_dispatcher_that_waits_for_a_slow_call_does_not_stop_the_other_dispatchers():
    rows = settle(50, "ab", {"a": 1, "b": 0})
    assert rows["a"].use + rows["b"].use <= 50
    assert settle(50, ["b"], rows={"a": rows["a"]})["b"].use >= 25


def test_the_permit_of_a_call_in_flight_stays_its_owners_until_the_call_ends():
    assert share(10, held(a=10, b=0), "a", busy=9, now=NOW) == Share(use=5, keep=9)
    assert share(10, held(a=9, b=0), "b", busy=0, now=NOW) == Share(use=1, keep=1)
    assert share(10, held(a=9, b=1), "a", busy=4, now=NOW) == Share(use=5, keep=5)


def test_expired_permits_go_to_the_other_dispatchers():
    gone = Held("gone", 10, NOW)
    assert share(10, [gone, *held(a=8)], "a", busy=8, now=NOW).use == 10


def test_with_fewer_permits_than_dispatchers_each_dispatcher_has_its_turn():
    turns = {owner: 0 for owner in "abc"}
    for turn in range(6):
        now = NOW + turn * TURN
        rows = [Held(owner, 0, now + TURN) for owner in "abc"]
        uses = {owner: share(1, rows, owner, busy=0, now=now).use for owner in "abc"}
        assert sum(uses.values()) == 1
        for owner, use in uses.items():
            turns[owner] += use
    assert set(turns.values()) == {2}


@settings(max_examples=200)
@given(
    cap=st.integers(1, 40),
    steps=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["call", "end", "ask", "leave"])), max_size=120),
)
def test_in_any_order_of_dispatchers_no_more_calls_are_in_flight_than_there_are_permits(cap, steps):
    rows, out = {}, {}
    for owner, what in steps:
        mine = rows.get(owner, Share(0, 0))
        if what == "call":
            out[owner] = max(out.get(owner, 0), mine.use)
        elif what == "end":
            out[owner] = max(out.get(owner, 0) - 3, 0)
        elif what == "leave":
            rows.pop(owner, None)
            out.pop(owner, None)
        else:
            all_held = held(**{name: kept.keep for name, kept in rows.items()})
            rows[owner] = share(cap, all_held, owner, busy=out.get(owner, 0), now=NOW)
        assert sum(kept.keep for kept in rows.values()) <= cap
        assert sum(out.values()) <= cap


def test_a_dispatcher_that_uses_nearly_all_its_permits_gets_twice_as_many_and_else_keeps_them():
    assert share(100, held(a=40), "a", busy=30, now=NOW) == Share(80, 80, alone=True)
    assert share(100, held(a=40), "a", busy=29, now=NOW) == Share(40, 40, alone=True)


def test_a_dispatcher_that_uses_less_than_a_fourth_releases_half_but_keeps_what_it_began_with():
    assert share(100, held(a=80), "a", busy=20, now=NOW) == Share(80, 80, alone=True)
    assert share(100, held(a=80), "a", busy=19, now=NOW) == Share(40, 40, alone=True)
    assert share(100, held(a=40), "a", busy=0, now=NOW) == Share(25, 25, alone=True)
