"""When a batch ends, and what limits it: arithmetic over its remaining calls and its accounts' limits. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.limits.budgets import BudgetRule, BudgetState, credits_left, found_in_words
from worker.domain.limits.rate_limits import tightest

# The time of one call while no call is known: bounds the pace of accounts without a limit.
ASSUMED_CALL = timedelta(milliseconds=500)
QUARTER = timedelta(minutes=15)
_QUARTERS = timedelta(days=366) // QUARTER


@dataclass(frozen=True)
class Load:
    """The calls left for one account or channel. `name` is for people."""

    name: str
    left: int
    rule: BudgetRule
    state: BudgetState


@dataclass(frozen=True)
class Forecast:
    """`finishes_at` None: nothing is left, or a person must act. `limited_by` is the limiting account, in words."""

    finishes_at: datetime | None
    limited_by: str | None


def forecast(loads: Iterable[Load], *, now: datetime) -> Forecast:
    """The end of the slowest load; all loads are worked in parallel."""
    latest = Forecast(None, None)
    for load in loads:
        if load.left == 0:
            continue
        one = _one(load, now=now)
        if one.finishes_at is None:
            return one
        if latest.finishes_at is None or one.finishes_at > latest.finishes_at:
            latest = one
    return latest


def _one(load: Load, *, now: datetime) -> Forecast:
    state, rule = load.state, load.rule
    if state.stopped_at is not None:
        return Forecast(None, f"{load.name} is stopped: {state.stop_reason}")
    left = credits_left(state, rule)
    if left is not None and left < load.left:
        return Forecast(None, f"{load.name} has {left} credits left for {load.left} calls")
    starts, why = now, f"{load.name}: {rule.concurrency} calls at a time"
    if state.blocked_until is not None and state.blocked_until > now:
        starts, why = state.blocked_until, f"{load.name} is paused: {state.pause_reason}"
    at_once = ASSUMED_CALL / rule.concurrency
    configured, found = tightest(rule.limits), state.pace.interval
    spacing = max(configured.interval if configured else at_once, found, at_once)
    if spacing > at_once:
        limit = f"its limit of {configured}"
        if spacing == found:
            limit = f"the limit of {found_in_words(rule, state)} that was found"
        why = why if starts > now else f"{load.name}: {limit}"
        starts = max(starts, state.next_at or starts)
    return Forecast(starts + load.left * spacing, why)


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
