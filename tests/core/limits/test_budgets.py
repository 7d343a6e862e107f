"""What a budget grants: times that can be true, slots that were not used, and calls in any order."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.core.limits.call_outcomes import LIMITED, MINUTE, NOW, RULE, SECOND, WELL, call_outcome, granted
from worker.core.limits.budgets import (
    BudgetRule,
    BudgetState,
    after_claim,
    after_release,
    clamp_future_times,
    grant,
    is_stopped,
    resumed,
)
from worker.core.limits.call_outcomes import STOPS, after_outcomes
from worker.core.limits.limits import Limit
from worker.core.model.endings import Kind, RetryPolicy


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
