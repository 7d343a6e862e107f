"""What calls show about their account: pauses that double and end, stops, the probe, credits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worker.domain.limits.budgets import (
    ASK_AGAIN_AFTER,
    FREE,
    BudgetRule,
    BudgetState,
    after_claim,
    after_release,
    at_cap,
    believable,
    grant,
    is_stopped,
    outage_of,
    proved,
    refunded,
    resumed,
    stop_in_words,
)
from worker.domain.limits.lessons import STOPS, Lesson, learned
from worker.domain.limits.rate_limits import Limit
from worker.domain.model.endings import Kind, RetryPolicy
from worker.foundation.timestamps import written

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
RULE = BudgetRule("kyc", retry=RetryPolicy(first=SECOND, most=timedelta(seconds=10)))
WELL = BudgetState()


def rate_limited(after=None, *, began_at=NOW):
    return Lesson(began_at, Kind.RATE_LIMITED, "HTTP 429", after)


def learn(state, *lessons, now=NOW):
    return learned(state, RULE, lessons, now=now)


def granted(state, *, most=10, now=NOW, rule=RULE):
    return grant(state, rule, most=most, now=now, horizon=SECOND)


LIMITED = replace(RULE, limits=(Limit(20, SECOND),))


def test_what_a_claim_has_reserved_is_believed_also_by_a_claim_that_waited_for_the_lock(subtests):
    for waited, limit in product(
        [timedelta(0), 15 * SECOND], [Limit(20, SECOND), Limit(1, MINUTE), Limit(1, timedelta(days=1))]
    ):
        with subtests.test(waited=waited, limit=limit):
            rule = replace(RULE, limits=(limit,))
            theirs = NOW + waited
            grant = granted(WELL, now=theirs, most=1000, rule=rule)
            state = after_claim(WELL, rule, grant, grant.slots.count, now=theirs, probe_for=MINUTE)
            assert believable(state, rule, now=NOW, reach=SECOND, probe_for=MINUTE) == state


def test_a_time_that_only_a_wrong_clock_can_have_written_keeps_calls_waiting_for_a_moment_at_most(subtests):
    for ahead, field in product(
        [timedelta(minutes=2), timedelta(hours=1), timedelta(days=8)], ["next_at", "probe_until"]
    ):
        with subtests.test(ahead=ahead, field=field):
            poisoned = replace(WELL, pauses=1, **{field: NOW + ahead})
            state = believable(poisoned, LIMITED, now=NOW, reach=SECOND, probe_for=MINUTE)
            assert granted(poisoned, rule=LIMITED, now=NOW + SECOND).slots.count == 0
            assert granted(state, rule=LIMITED, now=NOW + SECOND).slots.count == 1


@pytest.mark.parametrize("before", [Limit(25, timedelta(days=1)), Limit(1, timedelta(minutes=5))])
def test_after_a_limit_was_raised_the_next_call_keeps_to_the_new_one(before):
    """Calls of the old limit may be reserved until the end of the reach."""
    after = replace(RULE, limits=(Limit(1, MINUTE),))
    reserved = granted(WELL, rule=replace(RULE, limits=(before,)), most=1)
    state = after_claim(WELL, replace(RULE, limits=(before,)), reserved, 1, now=NOW, probe_for=MINUTE)
    state = believable(state, after, now=NOW, reach=SECOND, probe_for=MINUTE)
    assert MINUTE <= state.next_at - reserved.slots.at(0) <= MINUTE + SECOND


def test_a_429_with_a_time_pauses_until_then():
    state = learn(WELL, rate_limited(30 * SECOND))
    assert (state.blocked_until, state.pause_reason) == (NOW + 30 * SECOND, "HTTP 429")
    assert granted(state).slots.count == 0
    assert granted(state).again_at == NOW + 30 * SECOND
    succeeded = learn(state, Lesson(NOW))
    assert succeeded.blocked_until == state.blocked_until
    assert (state.why_paused, succeeded.why_paused) == ("HTTP 429", "the wait that was asked for is not over")


def test_a_429_without_a_time_pauses_for_the_first_wait():
    assert learn(WELL, rate_limited()).blocked_until == NOW + SECOND


def test_each_further_pause_is_twice_as_long_up_to_the_longest():
    state, now, waits = WELL, NOW, []
    for _ in range(6):
        state = learn(state, rate_limited(began_at=now), now=now)
        waits.append((state.blocked_until - now).total_seconds())
        now = state.blocked_until
    assert waits == [1, 2, 4, 8, 10, 10]


def test_after_a_success_pauses_begin_anew():
    state = learn(WELL, rate_limited())
    later = state.blocked_until
    state = learn(state, rate_limited(began_at=later), now=later)
    later = state.blocked_until
    state = learn(state, Lesson(later), now=later)
    assert (state.pauses, state.pause_reason) == (0, "")
    assert learn(state, rate_limited(began_at=later), now=later).blocked_until == later + SECOND


def test_calls_that_began_before_the_pause_do_not_make_it_longer():
    began = NOW - SECOND
    state = learn(WELL, rate_limited(began_at=began))
    again = learn(state, *[rate_limited(began_at=began)] * 50, now=NOW + SECOND / 2)
    assert replace(again, pace=state.pace) == state


def test_fifty_answers_of_one_moment_are_one_pause():
    state = learn(WELL, *[rate_limited(began_at=NOW - SECOND)] * 50)
    assert (state.pauses, state.blocked_until) == (1, NOW + SECOND)


def test_a_late_answer_that_names_a_later_time_is_kept_to():
    state = learn(WELL, rate_limited(2 * SECOND, began_at=NOW - SECOND))
    state = learn(state, rate_limited(30 * SECOND, began_at=NOW - SECOND))
    assert (state.blocked_until, state.pauses) == (NOW + 30 * SECOND, 1)


def test_a_late_answer_never_shortens_a_pause():
    state = learn(WELL, rate_limited(30 * SECOND, began_at=NOW - SECOND))
    assert learn(state, rate_limited(SECOND, began_at=NOW - SECOND)).blocked_until == NOW + 30 * SECOND


def test_a_success_that_began_before_the_pause_says_nothing_about_it():
    state = learn(WELL, rate_limited())
    after = learn(state, Lesson(NOW - SECOND), now=NOW + SECOND)
    assert replace(after, pace=state.pace) == state


def test_after_a_pause_one_call_goes_first_and_the_others_wait_for_it():
    state = learn(WELL, rate_limited())
    later = state.blocked_until
    first = granted(state, now=later)
    assert (first.slots.count, first.probe) == (1, True)
    state = after_claim(state, RULE, first, 1, now=later, probe_for=MINUTE)
    second = granted(state, now=later)
    assert second.slots.count == 0
    assert later < second.again_at <= later + MINUTE
    # it succeeded: all calls go on
    assert granted(learn(state, Lesson(later), now=later), now=later).slots.count == 10


def test_where_no_row_was_found_for_the_first_call_another_worker_may_make_it():
    state = learn(WELL, rate_limited())
    later = state.blocked_until
    assert after_claim(state, RULE, granted(state, now=later), 0, now=later, probe_for=MINUTE) == state


def test_a_first_call_that_never_comes_back_is_waited_for_no_longer_than_a_lease():
    state = replace(WELL, pauses=1, probe_until=NOW + MINUTE)
    assert granted(state, now=NOW + MINUTE).slots.count == 1


@pytest.mark.parametrize("kind", [Kind.BAD_INPUT, Kind.CONFLICT])
def test_an_account_that_refuses_a_row_answers_so_its_pause_is_over(kind):
    state = replace(WELL, pauses=2, probe_until=NOW + MINUTE, paused_at=NOW - MINUTE)
    after = learn(state, Lesson(NOW, kind, "HTTP 400"))
    assert (after.pauses, after.probe_until) == (0, None)


@pytest.mark.parametrize("kind", [Kind.TRANSIENT, Kind.UNKNOWN])
def test_a_first_call_that_fails_otherwise_lets_the_next_one_try(kind):
    state = replace(WELL, pauses=2, probe_until=NOW + MINUTE, paused_at=NOW - MINUTE)
    after = learn(state, Lesson(NOW, kind, "HTTP 500"))
    assert (after.pauses, after.probe_until) == (2, None)


def test_an_account_that_cannot_be_reached_is_paused_like_a_rate_limited_one():
    unreachable = Lesson(NOW, Kind.TRANSIENT, "connection refused", None, unreachable=True)
    state = learn(WELL, unreachable)
    assert (state.blocked_until, state.pauses, state.pause_reason) == (NOW + SECOND, 1, "connection refused")


UNREACHABLE = Lesson(NOW, Kind.TRANSIENT, "connection refused", None, unreachable=True)
LESSONS = [Lesson(NOW, kind, "") for kind in Kind] + [Lesson(NOW), UNREACHABLE]


def test_a_sender_is_proven_by_any_answer_but_a_refusal_of_us(subtests):
    for lesson, before in product(LESSONS, [False, True]):
        with subtests.test(case=f"{lesson.kind} {lesson.detail}", before=before):
            after = learn(replace(WELL, unproven=before), lesson)
            assert after.unproven is (lesson.unreachable or lesson.kind in STOPS)


def test_an_answer_from_before_the_pause_proves_nothing():
    state = learn(WELL, UNREACHABLE)
    assert learn(state, Lesson(NOW - SECOND)).unproven


def test_a_log_in_ends_the_pause_and_the_stop_of_a_sender_that_refused_one():
    assert proved(learn(WELL, UNREACHABLE)) == replace(WELL, paused_at=NOW)
    assert proved(learn(WELL, Lesson(NOW, Kind.AUTH, "SMTP 535"))) == WELL
    assert proved(learn(WELL, Lesson(NOW, Kind.OUT_OF_CREDIT, "HTTP 402"))).stopped_at == NOW
    limited = learn(WELL, Lesson(NOW, Kind.RATE_LIMITED, "HTTP 429"))
    assert proved(limited) == limited  # a log-in says nothing of the rate


def test_rows_without_a_credit_left_stop_the_account_once_with_the_reason():
    rule = replace(RULE, credits=3)
    state = at_cap(BudgetState(credits_used=3), rule, now=NOW)
    assert (state.stopped_at, state.stop_reason) == (NOW, "the cap of 3 credits is used up")
    assert at_cap(state, rule, now=NOW + SECOND) == state


def test_a_refund_ends_the_stop_that_the_lack_of_credits_made_and_no_other():
    rule = replace(RULE, credits=3)
    assert refunded(at_cap(BudgetState(credits_used=3), rule, now=NOW), rule, 2) == BudgetState(credits_used=1)
    refused = BudgetState(credits_used=3, stopped_at=NOW, stop_reason="HTTP 401")
    assert refunded(refused, rule, 2) == replace(refused, credits_used=1)
    assert refunded(BudgetState(credits_used=1), rule, 5).credits_used == 0


@pytest.mark.parametrize("kind", sorted(STOPS))
def test_bad_credentials_and_no_credit_stop_the_account_with_the_reason(kind):
    state = learn(WELL, Lesson(NOW, kind, "HTTP 401: key revoked"))
    assert (state.stopped_at, state.stop_reason) == (NOW, "HTTP 401: key revoked (the credentials are refused)")
    stopped = granted(state, now=NOW + ASK_AGAIN_AFTER - SECOND)
    assert (stopped.slots.count, stopped.again_at) == (0, None)


def test_without_credit_a_person_must_act():
    state = learn(WELL, Lesson(NOW, Kind.OUT_OF_CREDIT, "HTTP 402"))
    assert granted(state, now=NOW + timedelta(days=30)).slots.count == 0
    assert stop_in_words(state) == "HTTP 402 (no credit is left)"


def asked_again(kind):
    """A stop for refused credentials, and what its one call after a while was answered with, a second later."""
    stopped = learn(WELL, Lesson(NOW, Kind.AUTH, "HTTP 401"))
    later = NOW + ASK_AGAIN_AFTER
    given = granted(stopped, now=later)
    assert (given.slots.count, given.probe) == (1, True)
    probing = after_claim(stopped, RULE, given, 1, now=later, probe_for=MINUTE)
    assert granted(probing, now=later).slots.count == 0  # one call, however many workers ask
    return learn(probing, Lesson(later, kind, "the answer"), now=later + SECOND), later + SECOND


@pytest.mark.parametrize("kind", [None, Kind.BAD_INPUT, Kind.CONFLICT])
def test_refused_credentials_are_tried_again_with_one_call_and_an_answer_ends_the_stop(kind):
    state, now = asked_again(kind)
    assert (state.stopped_at, state.stop_reason, state.asks_again_at) == (None, "", None)
    assert granted(state, now=now).slots.count == 10


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.TRANSIENT, Kind.UNKNOWN, Kind.RATE_LIMITED])
def test_without_an_answer_the_stop_stays_and_the_next_call_is_again_minutes_later(kind):
    state, now = asked_again(kind)
    assert state.stopped_at == NOW
    assert NOW + 2 * ASK_AGAIN_AFTER <= state.asks_again_at <= now + ASK_AGAIN_AFTER
    assert granted(state, now=now).slots.count == 0
    assert granted(state, now=now + 2 * ASK_AGAIN_AFTER).slots.count == 1
    assert stop_in_words(state).endswith(f"; a running worker asks again from {written(state.asks_again_at)} on")


def test_a_success_of_a_call_that_was_in_flight_does_not_undo_a_stop():
    state = learn(WELL, Lesson(NOW, Kind.AUTH, "HTTP 401"), Lesson(NOW + SECOND))
    assert state.stopped_at == NOW


def test_a_resumed_account_tries_with_one_call():
    state = resumed(learn(WELL, Lesson(NOW, Kind.AUTH, "HTTP 401")))
    assert (state.stopped_at, state.stop_reason) == (None, "")
    assert granted(state).slots.count == 1
    assert granted(learn(state, Lesson(NOW))).slots.count == 10


def test_a_starting_worker_that_resumes_a_paused_account_changes_nothing():
    state = learn(WELL, rate_limited())
    assert resumed(state) == state


def test_an_operator_ends_a_pause_too_and_one_call_goes_first():
    state = resumed(learn(WELL, rate_limited(MINUTE)), pauses_too=True)
    assert state.blocked_until is None
    assert granted(state, rule=LIMITED).slots.count == 1


def test_no_resumption_brings_a_call_nearer_to_the_last_one_than_the_limit_allows():
    slow = replace(RULE, limits=(Limit(6, timedelta(hours=1)),))
    state = after_claim(WELL, slow, granted(WELL, rule=slow, most=1), 1, now=NOW, probe_for=MINUTE)
    for paused in (learn(state, rate_limited(MINUTE)), learn(state, Lesson(NOW, Kind.AUTH, "HTTP 401"))):
        assert resumed(paused, pauses_too=True).next_at == NOW + timedelta(minutes=10)


def test_no_more_is_granted_than_the_credits_allow():
    rule = replace(RULE, credits=10)
    assert granted(BudgetState(credits_used=7), rule=rule).slots.count == 3
    assert granted(BudgetState(credits_used=10), rule=rule).slots.count == 0
    assert granted(BudgetState(credits_used=12), rule=rule).slots.count == 0


def test_the_kinds_that_cost_nothing_are_those_that_open_nothing():
    assert {Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.BAD_INPUT, Kind.CONFLICT} == FREE


def failing(*kinds, began_at=NOW):
    return [Lesson(began_at + SECOND * index / 1000, kind, "HTTP 500") for index, kind in enumerate(kinds)]


@pytest.mark.parametrize("kind", [Kind.TRANSIENT, Kind.UNKNOWN])
def test_five_failures_in_a_row_open_the_breaker_with_the_reason(kind):
    state = learn(WELL, *failing(*[kind] * 4))
    assert (state.failures, state.opened_at, granted(state).slots.count) == (4, None, 10)
    state = learn(state, *failing(kind, began_at=NOW + SECOND), now=NOW + SECOND)
    assert state.opened_at == NOW + SECOND
    assert state.pause_reason == "5 calls in a row failed, the last with HTTP 500"
    assert (granted(state).slots.count, state.blocked_until) == (0, NOW + 2 * SECOND)


def test_an_answer_in_between_keeps_the_breaker_closed():
    state = learn(WELL, *failing(*[Kind.TRANSIENT] * 4, None, *[Kind.TRANSIENT] * 4))
    assert (state.failures, state.opened_at, state.blocked_until) == (4, None, None)


def test_failures_here_and_there_never_open_it():
    state, opened = WELL, 0
    for chunk in range(200):
        kinds = [Kind.TRANSIENT if (chunk * 10 + index) % 97 == 0 else None for index in range(10)]
        state = learn(state, *failing(*kinds, began_at=NOW + chunk * SECOND), now=NOW + chunk * SECOND)
        opened += state.opened_at is not None
    assert opened == 0


def test_behind_an_open_breaker_one_call_goes_first_and_each_that_fails_doubles_the_wait():
    state, now, waits = learn(WELL, *failing(*[Kind.TRANSIENT] * 5), now=NOW + SECOND), NOW + SECOND, []
    for _ in range(4):
        waits.append((state.blocked_until - now).total_seconds())
        now = state.blocked_until
        first = granted(state, now=now)
        assert (first.slots.count, first.probe) == (1, True)
        state = learn(state, *failing(Kind.TRANSIENT, began_at=now), now=now)
    assert waits == [1, 2, 4, 8]
    assert state.opened_at == NOW + SECOND
    assert "9 calls in a row failed" in state.pause_reason


@pytest.mark.parametrize("kind", [None, Kind.BAD_INPUT, Kind.CONFLICT])
def test_an_answer_closes_the_breaker(kind):
    state = learn(WELL, *failing(*[Kind.TRANSIENT] * 5), now=NOW + SECOND)
    later = state.blocked_until
    state = learn(state, Lesson(later, kind), now=later)
    assert (state.failures, state.opened_at, state.pauses, state.pause_reason) == (0, None, 0, "")
    assert granted(state, now=later).slots.count == 10


def test_calls_in_flight_when_the_breaker_opened_neither_close_nor_extend_it():
    state = learn(WELL, *failing(*[Kind.TRANSIENT] * 5), now=NOW + SECOND)
    assert learn(state, Lesson(NOW), *failing(*[Kind.TRANSIENT] * 30), now=NOW + SECOND) == state


def test_an_unreachable_account_is_paused_at_once_and_its_breaker_opens_after_five():
    unreachable = Lesson(NOW, Kind.TRANSIENT, "connection refused", None, unreachable=True)
    state, now = learn(WELL, unreachable), NOW
    assert (state.failures, state.opened_at) == (1, None)
    for _ in range(4):
        now = state.blocked_until
        state = learn(state, unreachable._replace(began_at=now), now=now)
    assert (state.failures, state.opened_at) == (5, now)
    assert state.pause_reason == "5 calls in a row failed, the last with connection refused"


def test_the_breaker_of_a_sender_never_opens_because_of_messages_that_fail():
    rule = replace(RULE, opens_after=None)
    state = learned(WELL, rule, failing(*[Kind.TRANSIENT] * 50), now=NOW + SECOND)
    assert (state.opened_at, state.blocked_until) == (None, None)


@pytest.mark.parametrize("kind", [None, Kind.TRANSIENT, Kind.BAD_INPUT, Kind.RATE_LIMITED])
def test_the_breaker_of_a_sender_is_open_from_its_first_silence_to_its_next_answer(kind):
    rule, now = replace(RULE, opens_after=None), NOW
    state = WELL
    for _ in range(3):
        state = learned(state, rule, [UNREACHABLE._replace(began_at=now)], now=now)
        assert outage_of(state, now=now) == "no call has succeeded since 2026-11-20T12:00:00Z: connection refused"
        assert outage_of(state, now=state.blocked_until) == ""
        now = state.blocked_until
    assert state.opened_at == NOW
    answered = learned(state, rule, [Lesson(now, kind, "an answer")], now=now)
    assert (answered.opened_at, outage_of(answered, now=now, due=True)) == (None, "")


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
        self.state = learned(before, self.rule, [Lesson(began, kind, "detail", after)], now=self.now)
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
