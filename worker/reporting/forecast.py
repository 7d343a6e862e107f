"""When a batch ends, and what limits it: arithmetic over its remaining calls and its accounts' limits. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.core.foundation.plural import counted
from worker.core.limits.budgets import BudgetRule, BudgetState, credits_left, found_in_words
from worker.core.limits.rate_adaptation import is_refused_at_lowest
from worker.core.limits.rate_limits import DAY, Ramp, tightest
from worker.reporting.account_words import outage_of, stop_in_words

# The time of one call while nothing is known: gives a pace where there is neither a limit nor a measurement.
ASSUMED_CALL = timedelta(milliseconds=50)
# A measured pace that is slower than the limit by more than this is named instead of the limit.
NOTICEABLE = 1.1
QUARTER = timedelta(minutes=15)
_QUARTERS = timedelta(days=366) // QUARTER


@dataclass(frozen=True)
class Load:
    """The calls left for one account or channel, or for `several` that share a budget. `name` is for people.

    `ahead`: calls of others that go before these.
    """

    name: str
    left: int
    rule: BudgetRule
    state: BudgetState
    several: bool = False
    ahead: int = 0

    @property
    def is_or_are(self) -> str:
        return "are" if self.several else "is"

    @property
    def until_done(self) -> int:
        return self.ahead + self.left

    @property
    def behind_in_words(self) -> str:
        return f"; {self.ahead:,} of earlier batches go first" if self.ahead else ""


@dataclass(frozen=True)
class Forecast:
    """`finishes_at` None: nothing is left, a person must act, or an outage lasts.

    `limited_by` is the limiting account, in words. `assumed`: the pace is neither configured nor measured, so the time
    is rough. `apart`: the rows that `finishes_at` leaves out, since they wait for longer than the rest, for something
    else; in words.
    """

    finishes_at: datetime | None
    limited_by: str | None
    assumed: bool = False
    apart: tuple[str, ...] = ()


def forecast(loads: Iterable[Load], *, now: datetime) -> Forecast:
    """The end of the slowest load; all loads are worked in parallel.

    A load whose pace is only assumed counts if the loads with a known pace have fewer calls: otherwise each of its rows
    also waits for one of them. A pause counts in any case.
    """
    loads = [load for load in loads if load.left]
    for load in loads:
        if why := _cannot_finish(load):
            return Forecast(None, why)
    for load in loads:
        # The end of such a pause is not the end of the outage.
        if why := outage_of(load.state, now=now):
            return Forecast(None, f"{load.name} {load.is_or_are} paused: {why}")
        if why := _real_limit_unknown(load, now):
            return Forecast(None, why)
    known = sum(load.left for load in loads if _interval(load, now)[0] is not None)
    ends = [_end(load, now=now) for load in loads]
    counted = [
        end
        for end, load in zip(ends, loads, strict=True)
        if not end.assumed or load.left > known or load.state.paused_until(now)
    ]
    latest = Forecast(None, None)
    for end in counted:
        if latest.finishes_at is None or (end.finishes_at is not None and end.finishes_at > latest.finishes_at):
            latest = end
    return latest


def pace_of(load: Load, *, now: datetime) -> float | None:
    """How many calls a second the load's limits and the last minutes' pace allow; None: nothing is known."""
    interval, _ = _interval(load, now)
    return 1 / interval.total_seconds() if interval else None


def _cannot_finish(load: Load) -> str:
    state, left = load.state, credits_left(load.state, load.rule)
    if state.stopped_at is not None:
        return f"{load.name} {load.is_or_are} stopped: {stop_in_words(state)}"
    if left is not None and left < load.left:
        have = "have" if load.several else "has"
        return f"{load.name} {have} {counted(left, 'credit')} left for {counted(load.left, 'call')}"
    return ""


def _real_limit_unknown(load: Load, now: datetime) -> str:
    state, rule = load.state, load.rule.at(load.state.ramp_from, now)
    if state.measured.is_fresh(now) and state.measured.interval is not None:
        return ""
    if not is_refused_at_lowest(state.pace, rule.rate, now=now):
        return ""
    lowest = found_in_words(load.rule, state)
    return f"{load.name}: calls are refused at {lowest} too, the lowest rate that is tried; give its real `limits`"


def _interval(load: Load, now: datetime) -> tuple[timedelta | None, str]:
    """The time between two calls, and what it follows from, in words. None: nothing is known."""
    state, limit = load.state, tightest(load.rule.at(load.state.ramp_from, now).limits)
    intervals = [(limit.interval, f"the limit of {limit}")] if limit else []
    if state.pace.rate is not None:
        found = found_in_words(load.rule, state)
        intervals.append((state.pace.interval, f"the limit of {found} that was found"))
    slowest, why = max(intervals, default=(timedelta(0), ""), key=lambda one: one[0])
    measured = state.measured.interval
    if measured is not None and (state.measured.is_fresh(now) or not intervals):
        if measured > slowest * NOTICEABLE:
            why = f"the pace of the last minutes, {1 / measured.total_seconds():.3g}/second"
        slowest = max(slowest, measured)
    return (slowest, why) if why else (None, "")


def _pause_in_words(load: Load) -> str:
    return f"{load.name} {load.is_or_are} paused: {load.state.why_paused}"


def _end(load: Load, *, now: datetime) -> Forecast:
    state, rule = load.state, load.rule
    interval, why = _interval(load, now)
    paused = state.paused_until(now)
    starts = paused or now
    if interval is None:
        at_once = f"{rule.concurrency} calls at a time"
        why = _pause_in_words(load) if paused else f"{load.name}: roughly, by {at_once}"
        return Forecast(starts + load.until_done * ASSUMED_CALL / rule.concurrency, why, assumed=True)
    if rule.paces or state.pace.rate is not None:
        starts = max(starts, state.next_at or starts)
    if rule.ramp is not None and rule.ramp.limit(state.ramp_from, now) is not None:
        without, _ = _interval(replace(load, rule=replace(rule, ramp=None)), now)
        day = (now - state.ramp_from) // DAY + 1 if state.ramp_from is not None else 1
        today = rule.ramp.limit(state.ramp_from, now)
        why = _pause_in_words(load) if paused else f"{load.name}: the ramp of {rule.ramp}, day {day}: {today}"
        ends = ramp_ends(rule.ramp, load.until_done, state.ramp_from, least=without or timedelta(0), now=starts)
        return Forecast(ends, why + load.behind_in_words)
    why = _pause_in_words(load) if paused else f"{load.name}: {why}"
    return Forecast(starts + load.until_done * interval, why + load.behind_in_words)


def through_nights(takes: timedelta, awake: Callable[[datetime], datetime], *, now: datetime) -> datetime:
    """When work that takes `takes` is over, if it goes on only outside quiet hours.

    `awake` gives the earliest time outside quiet hours that is not before its argument. Exact to a quarter of an hour,
    and for at most a year of work.
    """
    at, left = awake(now), takes
    for _ in range(_QUARTERS):
        if left <= QUARTER:
            break
        left -= QUARTER
        at = awake(at + QUARTER)
    return awake(at + max(left, timedelta(0)))


def ramp_ends(ramp: Ramp, messages: int, began_at: datetime | None, *, least: timedelta, now: datetime) -> datetime:
    """When so many messages have left, at this ramp and no closer than `least`; `now` where the ramp is over."""
    began_at, at = began_at or now, now
    while (limit := ramp.limit(began_at, at)) is not None:
        interval = max(limit.interval, least)
        day_ends = began_at + DAY * ((at - began_at) // DAY + 1)
        fit = max((day_ends - at) // interval, 1)
        if messages <= fit:
            return at + interval * messages
        messages, at = messages - fit, day_ends
    return at + least * messages
