"""Finds the rate that a provider really allows, where the provider refuses calls made at the configured rate.

    a sustained share of refusals ──▶ half the rate, as a trial ──▶ fewer refusals: kept, and raised again step by step
                                                               └──▶ as many: the old rate; the share is remembered

Pure. The counts fade, so that they describe the last seconds. `budgets` keeps the counts with the account's state and
calls `adapted` whenever calls are reserved. Only this module decides whether an account goes slower than its
configuration says (docs/decisions/0009-adaptation-and-breaker.md).
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# Counts fade to a third in this time, and over no fewer calls than these. One pause fades them by a tenth at most: the
# refusals before the pause are what is known about the rate after it.
FADING_TIME = timedelta(seconds=20)
FADING_CALLS = 120
MOST_FADING_AT_ONCE = 0.1
NEGLIGIBLE_REFUSALS = 0.05

# When a trial at a lower rate begins: fewer refusals may be an accident.
TRIAL_REFUSALS = 5
TRIAL_SHARE = 0.01
TRIAL_HABIT_FACTOR = 2.5
TRIAL_RATE_FACTOR = 0.5
TWO_TRIALS_RATE_FACTOR = TRIAL_RATE_FACTOR**2
# Below a limit almost nothing is refused. A share that was high by chance when the trial began falls by itself, but not
# so far.
SHARE_LEFT_IF_HELPED = 0.25
SHARE_SURELY_FROM_RATE = 0.2  # no provider refuses so many calls by habit: no need to prove that the trial helped

# How far a rate is lowered at most.
LOWEST_SHARE_OF_CONFIGURED = 0.1
LOWEST_RATE_IF_UNCONFIGURED = 0.05  # calls per second

# How a rate is raised again: fast while far below the rate at which refusals began, slowly near it, and above it only
# after a time without refusals.
FAR_STEP, FAR_STEP_EVERY = 0.05, timedelta(seconds=2)
NEAR_STEP, NEAR_STEP_EVERY = 0.02, timedelta(seconds=5)
NEAR_REFUSED_RATE = 0.85
CLOSEST_TO_REFUSED_RATE = 0.97
PASS_REFUSED_RATE_AFTER = timedelta(seconds=60)
USED_SHARE_TO_RAISE = 0.5
HABIT_FACTOR_TO_RAISE = 1.5

# While the rate is raised, a few more refusals lower it by a small step, not by half.
SMALL_STEP_REFUSALS = 2
SMALL_STEP_SHARE = 0.002
SMALL_STEP_RATE_FACTOR = 0.9

FORGET_HABIT_AFTER = timedelta(minutes=10)  # the provider may stop refusing calls at every rate
FORGET_FOUND_LIMIT_AFTER = timedelta(hours=1)  # without a configured limit, only time says that the limit is gone
MEASURING_TIME = timedelta(seconds=2)


@dataclass(frozen=True)
class Pace:
    """What is known from an account's calls about the rate that it may have. Rates are calls per second."""

    rate: float | None = None  # the rate that was found; None: the configured one
    good: float | None = None  # the highest rate at which a trial had few refusals
    refused_from: float | None = None  # the lowest rate at which refusals began again
    granted: float = 0.0
    refused: float = 0.0
    counted_at: datetime | None = None
    refused_at: datetime | None = None
    lowered_at: datetime | None = None  # calls that began earlier say nothing about the present rate
    raised_at: datetime | None = None
    trial_rate: float | None = None  # during a trial: the rate before it
    trial_share: float = 0.0
    habit: float = 0.0  # the share of calls that is refused at every rate
    habit_at: datetime | None = None

    @property
    def share(self) -> float:
        """The share of the latest calls that was refused."""
        return self.refused / self.granted if self.granted else 0.0

    @property
    def interval(self) -> timedelta:
        """The least time between two calls at the rate that was found; zero if none was found."""
        return timedelta(0) if self.rate is None else timedelta(seconds=1 / self.rate)


def counted(pace: Pace, configured: float | None, *, granted: int = 0, refused: int = 0, now: datetime) -> Pace:
    """The pace with these calls counted. `configured` is the account's own rate, None if it has no limit."""
    kept = 1.0  # all of the counts during a trial, which is judged as a whole
    if pace.counted_at is not None and pace.trial_rate is None:
        passed = (now - pace.counted_at) / _fading_time(pace.rate or configured)
        kept = math.exp(-min(max(passed, 0.0), MOST_FADING_AT_ONCE))
    refusals = pace.refused * kept + refused
    if pace.rate is None and configured is None and refusals < NEGLIGIBLE_REFUSALS:
        # The calls of an account without a limit are not counted while none is refused: that saves writing its row.
        return replace(pace, granted=0.0, refused=0.0, counted_at=None, lowered_at=None)
    return replace(
        pace,
        granted=pace.granted * kept + granted,
        refused=refusals,
        counted_at=now,
        refused_at=now if refused else pace.refused_at,
        # For an account without a limit: when counting began.
        lowered_at=now if pace.rate is None and configured is None and pace.lowered_at is None else pace.lowered_at,
    )


def adapted(pace: Pace, configured: float | None, *, now: datetime) -> Pace:
    """The pace for the next calls."""
    if pace.habit_at is not None and now - pace.habit_at >= FORGET_HABIT_AFTER:
        pace = replace(pace, habit=0.0, habit_at=None)
    if pace.trial_rate is not None:
        pace = _judged(pace, configured, now=now)
    if (
        pace.trial_rate is None
        and pace.refused >= TRIAL_REFUSALS
        and pace.share >= max(TRIAL_SHARE, TRIAL_HABIT_FACTOR * pace.habit)
    ):
        return _lowered(pace, configured, now=now)
    if pace.rate is None:
        return pace
    a_few_more = pace.refused >= SMALL_STEP_REFUSALS and pace.share >= SMALL_STEP_SHARE
    if pace.trial_rate is None and not pace.habit and a_few_more:
        lower = max(pace.rate * SMALL_STEP_RATE_FACTOR, pace.good or 0.0, _floor(configured))
        if lower < pace.rate:
            return _anew(pace, lower, refused_from=pace.rate, now=now)
        if pace.refused >= TRIAL_REFUSALS:  # as many at a rate that was good before: the rate is not the cause
            return replace(pace, refused_from=None, habit=pace.share, habit_at=now)
    return _raised(pace, configured, now=now)


def is_refused_at_lowest(pace: Pace, configured: float | None, *, now: datetime) -> bool:
    """Whether calls were refused in the last minute at the lowest rate that is tried: the real one is not known."""
    if pace.rate is None or pace.refused_at is None or pace.lowered_at is None:
        return False
    refused_since = pace.lowered_at < pace.refused_at and now - pace.refused_at < PASS_REFUSED_RATE_AFTER
    return refused_since and pace.rate <= _floor(configured)


def _fading_time(rate: float | None) -> timedelta:
    return FADING_TIME if not rate else max(FADING_TIME, timedelta(seconds=FADING_CALLS / rate))


def _judged(pace: Pace, configured: float | None, *, now: datetime) -> Pace:
    """The pace after a trial, once enough calls show whether the lower rate lowered the share of refusals."""
    before = pace.trial_rate
    if pace.rate is None or before is None:
        return pace
    expected = pace.granted * pace.trial_share
    if pace.refused < TRIAL_REFUSALS and expected < 2 * TRIAL_REFUSALS and (pace.refused or expected < TRIAL_REFUSALS):
        return pace
    helped = pace.share <= SHARE_LEFT_IF_HELPED * pace.trial_share or pace.trial_share >= SHARE_SURELY_FROM_RATE
    if not helped:
        if pace.rate > max(before * TWO_TRIALS_RATE_FACTOR, _floor(configured)):
            # Far above the real limit, half the rate is refused about as often. A second step shows the difference.
            lower = max(pace.rate * TRIAL_RATE_FACTOR, _floor(configured))
            return _anew(pace, lower, refused_from=pace.refused_from, now=now)
        rate = None if configured is not None and before >= configured else before
        return replace(pace, rate=rate, trial_rate=None, refused_from=None, good=None, habit=pace.share, habit_at=now)
    return replace(pace, trial_rate=None, good=pace.rate if pace.share < TRIAL_SHARE else pace.good)


def _lowered(pace: Pace, configured: float | None, *, now: datetime) -> Pace:
    rate = pace.rate or configured
    if rate is None:
        return _measured(pace, now=now)
    lower = max(rate * TRIAL_RATE_FACTOR, _floor(configured))
    if lower >= rate:
        return pace
    trial = replace(pace, good=None, trial_rate=rate, trial_share=pace.share)
    return _anew(trial, lower, refused_from=rate, now=now)


def _anew(pace: Pace, rate: float, *, refused_from: float | None, now: datetime) -> Pace:
    """The pace at another rate: what was counted at the one before says nothing about it."""
    counts = replace(pace, granted=0.0, refused=0.0, lowered_at=now, raised_at=now)
    return replace(counts, rate=rate, refused_from=refused_from)


def _floor(configured: float | None) -> float:
    return LOWEST_RATE_IF_UNCONFIGURED if configured is None else configured * LOWEST_SHARE_OF_CONFIGURED


def _measured(pace: Pace, *, now: datetime) -> Pace:
    """The pace with a limit for an account without one: the calls accepted per second since the first refusal."""
    elapsed = now - (pace.lowered_at or now)
    accepted = pace.granted - pace.refused
    if elapsed < MEASURING_TIME or accepted < 1:
        return pace
    counts_for = FADING_TIME.total_seconds() * (1 - math.exp(-(elapsed / FADING_TIME)))
    rate = max(accepted / counts_for, LOWEST_RATE_IF_UNCONFIGURED)
    return _anew(pace, rate, refused_from=2 * rate, now=now)


def _raised(pace: Pace, configured: float | None, *, now: datetime) -> Pace:
    rate, raised_at = pace.rate, pace.raised_at or now
    if rate is None:
        return pace
    if configured is None and now - (pace.refused_at or raised_at) >= FORGET_FOUND_LIMIT_AFTER:
        return Pace()
    clean = pace.refused_at is None or (pace.lowered_at is not None and pace.refused_at <= pace.lowered_at)
    if pace.habit:
        clean = pace.share <= HABIT_FACTOR_TO_RAISE * pace.habit
    # A rate that is not used is not raised: the next rush would find out by refusals whether it is allowed.
    used = pace.granted >= USED_SHARE_TO_RAISE * rate * min(_fading_time(rate), now - raised_at).total_seconds()
    if not clean and pace.refused_at is not None:
        clean = now - pace.refused_at >= PASS_REFUSED_RATE_AFTER
    if not (clean and used) or pace.trial_rate is not None:
        return pace
    refused_from = pace.refused_from
    if refused_from is None or rate < NEAR_REFUSED_RATE * refused_from:
        if now - raised_at < FAR_STEP_EVERY:
            return pace
        raised = rate + FAR_STEP * (refused_from or rate)
        raised = min(raised, NEAR_REFUSED_RATE * refused_from) if refused_from else raised
    else:
        if now - raised_at < NEAR_STEP_EVERY:
            return pace
        raised = rate * (1 + NEAR_STEP)
        beyond = pace.refused_at is None or now - pace.refused_at >= PASS_REFUSED_RATE_AFTER
        if raised > CLOSEST_TO_REFUSED_RATE * refused_from and not beyond:
            return pace
    if configured is not None and raised >= configured:
        return replace(Pace(), habit=pace.habit, habit_at=pace.habit_at)
    return replace(pace, rate=raised, raised_at=now)
