"""What a budget grants: times that can be true, slots that were not used, and calls in any order."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from onboarding_worker.core.model.endings import Kind, RetryPolicy
from onboarding_worker.core.rules.budgets import (
    BudgetRule,
    BudgetState,
    after_claim,
    after_release,
    clamp_future_times,
    found_in_words,
    grant,
    is_stopped,
    next_slot,
    resumed,
)
from onboarding_worker.core.rules.call_outcomes import STOPS, after_outcomes
from onboarding_worker.core.rules.limits import CreditCap, Limit
from onboarding_worker.core.rules.ramp import Ramp
from onboarding_worker.core.rules.rate_adaptation import Pace
from tests.core.rules.call_outcomes import LIMITED, MINUTE, NOW, RULE, SECOND, WELL, call_outcome, granted


def test_what_a_claim_has_reserved_is_believed_also_by_a_claim_that_waited_for_the_lock(subtests):
    for waited, limit in product(
        [timedelta(0), 15 * SECOND], [Limit(20, SECOND), Limit(1, MINUTE), Limit(1, timedelta(days=1))]
    ):
        with subtests.test(waited=waited, limit=limit):
            rule = replace(RULE, limits=(limit,))
            theirs = NOW + waited
            grant = granted(WELL, now=theirs, most=1000, rule=rule)
            state = after_claim(WELL, rule, grant, grant.slots.count, now=theirs, probe_for=MINUTE)
            assert clamp_future_times(state, rule, now=NOW, reach=SECOND, probe_for=MINUTE) == state


@pytest.mark.parametrize("behind", [31 * SECOND, 50 * SECOND, 6 * MINUTE])
def test_a_process_that_stood_still_brings_no_call_forward_under_a_slow_limit(behind):
    """Its clock is behind until the database's time is asked for."""
    rule = replace(RULE, limits=(Limit.parse("10/hour"),), ahead=6 * MINUTE)
    state = WELL
    for _ in range(2):  # one goes ahead, and is paid back by those that follow
        at = max(NOW, state.next_at or NOW)
        state = after_claim(state, rule, granted(state, now=at, most=1, rule=rule), 1, now=at, probe_for=MINUTE)
    assert rule.burst.slow < state.next_at - NOW < state.even_at - NOW
    assert clamp_future_times(state, rule, now=NOW - behind, reach=SECOND, probe_for=MINUTE) == state


def test_a_time_that_only_a_wrong_clock_can_have_written_keeps_calls_waiting_for_a_moment_at_most(subtests):
    for ahead, field in product(
        [timedelta(minutes=2), timedelta(hours=1), timedelta(days=8)], ["next_at", "probe_until"]
    ):
        with subtests.test(ahead=ahead, field=field):
            poisoned = replace(WELL, pauses=1, **{field: NOW + ahead})
            state = clamp_future_times(poisoned, LIMITED, now=NOW, reach=SECOND, probe_for=MINUTE)
            assert granted(poisoned, rule=LIMITED, now=NOW + SECOND).slots.count == 0
            assert granted(state, rule=LIMITED, now=NOW + SECOND).slots.count == 1


@pytest.mark.parametrize("before", [Limit(25, timedelta(days=1)), Limit(1, timedelta(minutes=5))])
def test_after_a_limit_was_raised_the_next_call_keeps_to_the_new_one(before):
    """Calls of the old limit may be reserved until the end of the reach."""
    after = replace(RULE, limits=(Limit(1, MINUTE),))
    reserved = granted(WELL, rule=replace(RULE, limits=(before,)), most=1)
    state = after_claim(WELL, replace(RULE, limits=(before,)), reserved, 1, now=NOW, probe_for=MINUTE)
    state = clamp_future_times(state, after, now=NOW, reach=SECOND, probe_for=MINUTE)
    assert MINUTE <= state.next_at - reserved.slots.at(0) <= MINUTE + SECOND


DAY, TICK = timedelta(days=1), timedelta(microseconds=1)
LATE_NOW, PROBE_PATIENCE, ASK_AGAIN_AFTER = 30 * SECOND, SECOND / 5, 5 * MINUTE
BURST = replace(RULE, limits=(Limit.parse("1000/hour"),), ahead=2 * MINUTE)


def test_a_time_is_believed_up_to_the_latest_one_that_may_be_true(subtests):
    evenly, slow = LIMITED.limits[0].interval, BURST.burst.slow
    found = replace(WELL, pace=Pace(rate=0.5))
    for what, before, under, field, free, instead in [
        ("by its limit", WELL, LIMITED, "next_at", evenly, NOW + SECOND + evenly),
        ("by the rate found", found, LIMITED, "next_at", 2 * SECOND, NOW + 3 * SECOND),
        ("while a burst is paid back", WELL, BURST, "next_at", slow, NOW + SECOND + slow),
        ("a probe", WELL, RULE, "probe_until", MINUTE - SECOND, None),
    ]:
        with subtests.test(what=what):
            latest = NOW + LATE_NOW + SECOND + free
            true = replace(before, **{field: latest})
            assert clamp_future_times(true, under, now=NOW, reach=SECOND, probe_for=MINUTE) == true
            false = replace(before, **{field: latest + TICK})
            after = clamp_future_times(false, under, now=NOW, reach=SECOND, probe_for=MINUTE)
            assert after == replace(before, **{field: instead})


def test_with_the_next_call_all_that_is_known_of_reserved_calls_is_planned_anew():
    free = NOW + SECOND + BURST.burst.slow
    late = replace(WELL, next_at=NOW + 2 * MINUTE, left_at=NOW, even_at=NOW + MINUTE, ahead_at=NOW + MINUTE)
    after = clamp_future_times(late, BURST, now=NOW, reach=SECOND, probe_for=MINUTE)
    assert after == replace(WELL, next_at=free, even_at=free - MINUTE, ahead_at=free - MINUTE)


def test_what_a_claim_leaves_behind(subtests):
    """All of the state: what is not named here stays as it was."""
    ramp = replace(RULE, ramp=Ramp.parse("86400/day x2"))
    waits = replace(WELL, asks_again_at=NOW, stopped_at=NOW - MINUTE, stop_reason="HTTP 401")
    probed = {"probe_until": NOW + MINUTE}
    for what, before, under, claimed, changes in [
        ("no limit", WELL, RULE, 3, {}),
        ("a limit", WELL, LIMITED, 3, {"next_at": NOW + 3 * SECOND / 20}),
        ("no row", WELL, LIMITED, 0, {}),
        ("a pause is over", replace(WELL, pauses=2), RULE, 1, probed),
        ("a probe that is lost", replace(WELL, pauses=2, probe_until=NOW), RULE, 1, probed),
        ("a stop that asks again", waits, RULE, 1, {**probed, "asks_again_at": NOW + ASK_AGAIN_AFTER}),
        ("no first message", WELL, ramp, 2, {"ramp_from": NOW, "next_at": NOW + 2 * SECOND}),
        ("its second day", replace(WELL, ramp_from=NOW - DAY), ramp, 2, {"next_at": NOW + SECOND}),
        ("an old probe", replace(WELL, probe_until=NOW - SECOND), RULE, 2, {}),
    ]:
        with subtests.test(what=what):
            after = after_claim(before, under, granted(before, rule=under), claimed, now=NOW, probe_for=MINUTE)
            assert replace(after, pace=before.pace) == replace(before, **changes)
            assert after.pace.granted == (claimed if under.paces else 0)


def test_when_to_ask_again_where_no_call_is_granted(subtests):
    capped = replace(RULE, credits_by=(CreditCap(5, "day"),))
    used = replace(WELL, credits_used=5, spent=WELL.spent.plus(5, on=NOW.date(), now=NOW))
    for what, state, under, again_at in [
        ("a pause", replace(WELL, pauses=1, blocked_until=NOW + TICK), RULE, NOW + TICK),
        ("a probe", replace(WELL, pauses=1, probe_until=NOW + SECOND), RULE, NOW + PROBE_PATIENCE),
        ("a probe's end", replace(WELL, pauses=1, probe_until=NOW + TICK), RULE, NOW + TICK),
        ("a stop's probe", replace(WELL, stopped_at=NOW, asks_again_at=NOW, probe_until=NOW + TICK), RULE, NOW + TICK),
        ("a stop", replace(WELL, stopped_at=NOW), RULE, None),
        ("the next probe of a stop", replace(WELL, stopped_at=NOW, asks_again_at=NOW + TICK), RULE, None),
        ("a period's cap", used, capped, NOW.replace(hour=0) + DAY),
        ("the cap on all", used, replace(capped, credits=5), None),
        ("no slot", replace(WELL, next_at=NOW + 9 * SECOND), LIMITED, NOW + 9 * SECOND - SECOND / 3),
    ]:
        with subtests.test(what=what):
            given = granted(state, rule=under)
            assert (given.slots.count, given.again_at) == (0, again_at)
    assert granted(replace(WELL, pauses=1, blocked_until=NOW, probe_until=NOW)).slots.count == 1
    assert granted(replace(WELL, stopped_at=NOW, asks_again_at=NOW, probe_until=NOW)).slots.count == 1
    assert granted(replace(WELL, probe_until=NOW + MINUTE)).slots.count == 10


def test_slots_begin_after_the_lead_and_it_is_asked_again_before_that(subtests):
    for what, state, count, first, again_in in [
        ("free", WELL, 21, 5 * SECOND, None),
        ("reserved until then", replace(WELL, next_at=NOW + 5.5 * SECOND), 11, 5.5 * SECOND, None),
        ("reserved beyond", replace(WELL, next_at=NOW + 8 * SECOND), 0, 8 * SECOND, 3 * SECOND - SECOND / 3),
    ]:
        with subtests.test(what=what):
            given = grant(state, LIMITED, most=99, now=NOW, horizon=SECOND, lead=5 * SECOND)
            assert (given.slots.count, given.slots.first) == (count, NOW + first)
            assert given.again_at == (None if again_in is None else NOW + again_in)


def test_what_went_ahead_holds_calls_up_for_a_tenth_of_the_longest_period_at_most(subtests):
    day = replace(BURST, limits=(*BURST.limits, Limit.parse("24000/day")))
    late = replace(WELL, next_at=NOW, ahead_at=NOW, even_at=NOW + DAY)
    for what, state, under, even_at in [
        ("an hour", late, BURST, NOW + 6 * MINUTE),
        ("a day", late, day, NOW + 144 * MINUTE),
        ("less", replace(late, even_at=NOW + MINUTE), BURST, NOW + MINUTE),
        ("nothing reserved", replace(late, next_at=None), BURST, NOW + DAY),
    ]:
        with subtests.test(what=what):
            assert next_slot(state, under, now=NOW).even_at == even_at


def test_more_may_go_ahead_until_as_much_is_ahead_as_the_burst_allows():
    burst = BURST.burst
    full = NOW + burst.even + burst.ahead
    state = replace(WELL, next_at=NOW, even_at=full, ahead_at=NOW - MINUTE)
    assert next_slot(state, BURST, now=NOW).at == NOW - MINUTE
    assert next_slot(replace(state, even_at=full + TICK), BURST, now=NOW).at == full + TICK
    assert next_slot(state, LIMITED, now=NOW) is None


def test_the_rate_found_is_said_in_the_period_of_the_tightest_limit(subtests):
    for limits, rate, words in [
        ((), None, None),
        ((), 25.0, "25/second"),
        ((), 9.96, "10.0/second"),
        ((), 10.0, "10/second"),
        (("100/hour",), 0.005, "18/hour"),
        (("20/second", "100/minute"), 0.1, "6.0/minute"),
    ]:
        with subtests.test(limits=limits, rate=rate):
            under = replace(RULE, limits=tuple(map(Limit.parse, limits)))
            assert found_in_words(under, replace(WELL, pace=Pace(rate=rate))) == words


def test_what_a_rule_says_of_itself(subtests):
    ramp = Ramp.parse("5/day x2")
    for what, under, paces, rate, capped, bursts in [
        ("nothing", RULE, False, None, False, False),
        ("a limit", LIMITED, True, 20.0, False, False),
        ("a ramp", replace(RULE, ramp=ramp), True, None, False, False),
        ("no credit at all", replace(RULE, credits=0), False, None, True, False),
        ("a cap by period", replace(RULE, credits_by=(CreditCap(5, "day"),)), False, None, True, False),
        ("a burst", BURST, True, pytest.approx(1000 / 3600), False, True),
    ]:
        with subtests.test(what=what):
            assert (under.paces, under.rate, under.is_capped, under.burst is not None) == (paces, rate, capped, bursts)


def test_what_troubles_an_account(subtests):
    """An account without any of it learns nothing from a further success."""
    assert WELL.is_well
    for trouble in [
        {"failures": 1},
        {"pauses": 1},
        {"unproven": True},
        {"pause_reason": "HTTP 429"},
        {"opened_at": NOW},
        {"probe_until": NOW},
        {"asks_again_at": NOW},
    ]:
        with subtests.test(**trouble):
            assert not replace(WELL, **trouble).is_well


def test_what_a_resumption_ends_and_what_stays(subtests):
    stop = {"stopped_at": NOW, "stop_reason": "HTTP 401", "asks_again_at": NOW}
    state = replace(WELL, blocked_until=NOW + MINUTE, probe_until=NOW, failures=2, pause_reason="HTTP 500", next_at=NOW)
    ended = {"blocked_until": None, "probe_until": None}
    for what, changes, by_start, by_person in [
        ("a stop", stop, {"pauses": 1, "probe_until": None}, {"pauses": 1, **ended}),
        ("a stop after pauses", {**stop, "pauses": 3}, {"pauses": 3, "probe_until": None}, {"pauses": 3, **ended}),
        ("a pause", {"pauses": 2}, {"pauses": 2}, {"pauses": 2, **ended}),
    ]:
        with subtests.test(what=what):
            before = replace(state, **changes)
            assert resumed(before) == replace(state, **by_start)
            assert resumed(before, pauses_too=True) == replace(state, **by_person)


PACED = BudgetRule("kyc", (Limit.parse("10/second"),))


def slots_of(grant):
    return [grant.slots.at(index) for index in range(grant.slots.count)]


def test_slots_that_were_not_used_are_free_again():
    first = granted(WELL, rule=PACED)
    state = after_claim(WELL, PACED, first, 10, now=NOW, probe_for=MINUTE)
    assert after_release(state, PACED, slots_of(first)[4:]).next_at == slots_of(first)[4]
    assert after_release(state, PACED, slots_of(first)).next_at == NOW


def test_an_unused_slot_before_a_reserved_one_is_not_given_twice():
    first = granted(WELL, most=3, rule=PACED)
    state = after_claim(WELL, PACED, first, 3, now=NOW, probe_for=MINUTE)
    second = granted(state, most=3, rule=PACED)
    state = after_claim(state, PACED, second, 3, now=NOW, probe_for=MINUTE)
    assert after_release(state, PACED, slots_of(first)) == state
    assert after_release(state, PACED, [slots_of(second)[0], slots_of(second)[2], None]).next_at == slots_of(second)[2]


def test_without_a_limit_there_is_no_slot_to_release():
    assert after_release(WELL, RULE, [None, NOW]) == WELL


def test_of_slots_under_a_ramp_the_pace_of_their_day_decides_what_is_free():
    rule = replace(RULE, ramp=Ramp.parse("86400/day x2"))
    last = NOW + DAY - SECOND  # of the first day, whose slots are a second apart
    state = replace(WELL, ramp_from=NOW, next_at=last + SECOND)
    assert after_release(state, rule, [last, last - SECOND]).next_at == last - SECOND
    assert after_release(state, rule, []) == state
    beyond = replace(state, next_at=NOW + DAY + SECOND)  # the claim reserved one of the second day at that pace
    assert after_release(beyond, rule, [last, NOW + DAY]).next_at == last


def test_which_slots_are_free_again_where_calls_may_go_ahead(subtests):
    even, slow = BURST.burst.even, BURST.burst.slow
    paid = replace(WELL, next_at=NOW, even_at=NOW, ahead_at=NOW - MINUTE, last_at=NOW - even)
    ahead = replace(paid, even_at=NOW + MINUTE, last_at=NOW - SECOND)
    for what, state, slots, changes in [
        (
            "the last at the even pace",
            paid,
            [NOW - even],
            {"next_at": NOW - even, "even_at": NOW - even, "last_at": None},
        ),
        ("none at the even pace", paid, [NOW - 2 * even], {}),
        (
            "the last that went ahead",
            ahead,
            [NOW - 2 * SECOND, NOW - SECOND],
            {"next_at": NOW - SECOND, "even_at": NOW + MINUTE - even, "ahead_at": NOW - MINUTE - slow, "last_at": None},
        ),
        (
            "the last, while it is paid back",
            replace(ahead, ahead_at=NOW + MINUTE),
            [NOW - SECOND],
            {
                "next_at": NOW + MINUTE - slow,
                "even_at": NOW + MINUTE - even,
                "ahead_at": NOW + MINUTE - slow,
                "last_at": None,
            },
        ),
        ("an earlier one that went ahead", ahead, [NOW - 2 * SECOND], {}),
        ("one of which nothing is known", replace(ahead, last_at=None), [NOW - SECOND], {}),
        ("one before there was a burst", replace(ahead, even_at=None), [NOW - SECOND], {}),
        ("one before calls went ahead", replace(ahead, ahead_at=None), [NOW - SECOND], {}),
        ("where nothing is reserved", replace(ahead, next_at=None), [NOW - SECOND], {}),
    ]:
        with subtests.test(what=what):
            assert after_release(state, BURST, slots) == replace(state, **changes)


KINDS = st.sampled_from([None, *Kind])


PACES = st.sampled_from([(), (Limit.parse("1/second"),), (Limit.parse("20/second"), Limit.parse("100/minute"))])


class Account(RuleBasedStateMachine):
    """Workers that share one budget row claim, call and learn in any order."""

    @initialize(limits=PACES)
    def start(self, limits):
        self.rule = BudgetRule("kyc", limits, retry=RetryPolicy(first=SECOND, most=timedelta(seconds=60)))
        self.state, self.now = BudgetState(), NOW
        self.out = []  # when the calls in flight began
        self.unwell = False

    @rule(step=st.timedeltas(timedelta(0), timedelta(seconds=90)))
    def time_passes(self, step):
        self.now += step

    @rule(most=st.integers(1, 20), found=st.integers(0, 20))
    def claim(self, most, found):
        given = grant(self.state, self.rule, most=most, now=self.now, horizon=SECOND)
        if given.slots.count:
            assert not is_stopped(self.state, now=self.now)
            assert self.state.stopped_at is None or given.slots.count == 1
            assert self.state.blocked_until is None or self.state.blocked_until <= self.now
            assert given.slots.count <= (1 if self.state.pauses else most)
        else:
            assert given.again_at is not None or self.state.stopped_at is not None
        claimed = min(given.slots.count, found)
        self.out += [self.now] * claimed
        self.state = after_claim(self.state, self.rule, given, claimed, now=self.now, probe_for=MINUTE)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), kind=KINDS, after=st.none() | st.timedeltas(timedelta(0), timedelta(minutes=5)))
    def come_back(self, data, kind, after):
        began = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.state
        self.state = after_outcomes(before, self.rule, [call_outcome(began, kind, "detail", after)], now=self.now)
        if before.blocked_until is not None:
            assert self.state.blocked_until >= before.blocked_until
        assert self.state.pauses <= before.pauses + 1
        if kind in STOPS:
            assert self.state.stopped_at is not None
        if before.stopped_at is not None and (before.asks_again_at is None or began <= before.stopped_at):
            assert self.state.stopped_at == before.stopped_at

    @rule()
    def resume(self):
        self.state = resumed(self.state)

    @invariant()
    def an_account_that_is_not_stopped_gets_going_again(self):
        if not hasattr(self, "state") or self.state.stopped_at is not None:
            return
        patient = self.now + timedelta(hours=1)
        given = grant(self.state, self.rule, most=1, now=patient, horizon=SECOND)
        assert given.slots.count == 1


Account.TestCase.settings = settings(max_examples=60, stateful_step_count=30)


TestAnyOrderOfCalls = Account.TestCase
