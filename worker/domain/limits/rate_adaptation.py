"""The rate that a provider really allows, where it refuses calls made at the configured one: found by trying.

    a sustained share of refusals ──▶ half the rate, as a trial ──▶ fewer refusals: kept, and raised again step by step
                                                               └──▶ as many: back to before, and the share remembered

Pure. The counts fade, so that they speak of the last seconds; `budgets` keeps them with the account's state and asks
`adapted` whenever calls are reserved. Decided here alone: whether an account goes slower than its configuration
says (docs/decisions/0009-adaptation-and-breaker.md).
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# What is counted fades to a third in this time, and no faster than in so many calls. A pause fades little of it,
# however long: what was refused before it is what is known about the rate after it.
MEMORY = timedelta(seconds=20)
MEMORY_CALLS = 120
FADES_AT_ONCE = 0.1
# So many refused calls of late, and such a share of all, are more than an accident.
FEW = 5
SHARE = 0.01
DOWN = 0.5
TWICE = DOWN**2
FLOOR = 0.1  # of the configured rate
LEAST_RATE = 0.05  # calls per second, where none is configured
# A share above this is no provider's habit: slowing down is kept without asking whether it helped.
CERTAIN = 0.2
# Of the share before, at most so much is left where slowing down helped: below a limit next to nothing is refused, and
# a share that was high by chance when the trial began is lower by itself.
HELPED = 0.25
# Far below the rate at which refusals began it is raised quickly, near to it slowly, beyond it only now and then.
QUICK, QUICKLY = 0.05, timedelta(seconds=2)
SLOW, SLOWLY = 0.02, timedelta(seconds=5)
NEAR = 0.85
BELOW = 0.97
BEYOND_AFTER = timedelta(seconds=60)
# While it is looked for, one more refusal or two are reason for a small step down, not for another half.
STEP_DOWN = 0.9
STEP_SHARE = 0.002
FORGET_SHARE = timedelta(minutes=10)  # a provider that refuses whatever the rate may stop doing so
FORGET_LIMIT = timedelta(hours=1)  # without a configured limit nothing else says that the one found is over
MEASURE = timedelta(seconds=2)


@dataclass(frozen=True)
class Pace:
    """What the calls of an account taught about the rate it may have. Rates are calls per second."""

    rate: float | None = None  # the rate that was found; None: as configured
    good: float | None = None  # the highest rate at which a trial met few refusals
    refused_from: float | None = None  # the lowest rate at which they began again
    granted: float = 0.0
    refused: float = 0.0
    counted_at: datetime | None = None
    refused_at: datetime | None = None
    lowered_at: datetime | None = None  # calls that began before it say nothing about the rate since
    raised_at: datetime | None = None
    trial_rate: float | None = None  # the rate before, while it is being found out whether the lower one helps
    trial_share: float = 0.0
    habit: float = 0.0  # the share of calls that is refused however slowly they are made
    habit_at: datetime | None = None

    @property
    def share(self) -> float:
        """The share of calls that was refused of late."""
        return self.refused / self.granted if self.granted else 0.0

    @property
    def interval(self) -> timedelta:
        """The least time between two calls at the rate that was found; zero where none was."""
        return timedelta(0) if self.rate is None else timedelta(seconds=1 / self.rate)


def counted(pace: Pace, configured: float | None, *, granted: int = 0, refused: int = 0, now: datetime) -> Pace:
    """The pace with these calls counted. `configured` is the rate without it, None where there is no limit."""
    kept = _kept(pace, configured, now)
    refusals = pace.refused * kept + refused
    if pace.rate is None and configured is None and refusals < 0.05:
        # Nobody counts the calls of an account without a limit while all is well: its row is not written then.
        return replace(pace, granted=0.0, refused=0.0, counted_at=None, lowered_at=None)
    return replace(
        pace,
        granted=pace.granted * kept + granted,
        refused=refusals,
        counted_at=now,
        refused_at=now if refused else pace.refused_at,
        # Without a limit, when counting began.
        lowered_at=now if pace.rate is None and configured is None and pace.lowered_at is None else pace.lowered_at,
    )


def adapted(pace: Pace, configured: float | None, *, now: datetime) -> Pace:
    """The pace for the next calls."""
    if pace.habit and pace.habit_at is not None and now - pace.habit_at >= FORGET_SHARE:
        pace = replace(pace, habit=0.0, habit_at=None)
    if pace.trial_rate is not None:
        pace = _judged(pace, configured, now=now)
    if pace.trial_rate is None and pace.refused >= FEW and pace.share >= max(SHARE, 2.5 * pace.habit):
        return _lowered(pace, configured, now=now)
    if pace.rate is None:
        return pace
    if pace.trial_rate is None and not pace.habit and _met_a_few_more(pace):
        lower = max(pace.rate * STEP_DOWN, pace.good or 0.0, _floor(configured))
        if lower < pace.rate:
            return replace(
                pace, rate=lower, refused_from=pace.rate, granted=0.0, refused=0.0, lowered_at=now, raised_at=now
            )
        if pace.refused >= FEW:  # as many where few were met before: not for the rate
            return replace(pace, refused_from=None, habit=pace.share, habit_at=now)
    return _raised(pace, configured, now=now)


def _memory(rate: float | None) -> timedelta:
    return MEMORY if not rate else max(MEMORY, timedelta(seconds=MEMORY_CALLS / rate))


def _kept(pace: Pace, configured: float | None, now: datetime) -> float:
    """How much of what was counted still counts; all of it during a trial, which is judged as a whole."""
    if pace.counted_at is None or pace.trial_rate is not None:
        return 1.0
    passed = (now - pace.counted_at) / _memory(pace.rate or configured)
    return math.exp(-min(max(passed, 0.0), FADES_AT_ONCE))


def _judged(pace: Pace, configured: float | None, *, now: datetime) -> Pace:
    """The pace once enough calls were made to say whether going slower lowered the share of refusals."""
    before = pace.trial_rate
    if pace.rate is None or before is None:
        return pace
    expected = pace.granted * pace.trial_share
    if pace.refused < FEW and expected < 2 * FEW and (pace.refused or expected < FEW):
        return pace
    helped = pace.share <= HELPED * pace.trial_share or pace.trial_share >= CERTAIN
    if not helped:
        if pace.rate > max(before * TWICE, _floor(configured)):
            # Far above what is allowed, half of it is refused about as often: a second step tells them apart.
            lower = max(pace.rate * DOWN, _floor(configured))
            return replace(pace, rate=lower, granted=0.0, refused=0.0, lowered_at=now, raised_at=now)
        rate = None if configured is not None and before >= configured else before
        return replace(pace, rate=rate, trial_rate=None, refused_from=None, good=None, habit=pace.share, habit_at=now)
    return replace(pace, trial_rate=None, good=pace.rate if pace.share < SHARE else pace.good)


def _lowered(pace: Pace, configured: float | None, *, now: datetime) -> Pace:
    rate = pace.rate or configured
    if rate is None:
        return _measured(pace, now=now)
    lower = max(rate * DOWN, _floor(configured))
    if lower >= rate:
        return pace
    return replace(
        pace,
        rate=lower,
        good=None,
        refused_from=rate,
        granted=0.0,
        refused=0.0,
        lowered_at=now,
        raised_at=now,
        trial_rate=rate,
        trial_share=pace.share,
    )


def _floor(configured: float | None) -> float:
    return LEAST_RATE if configured is None else configured * FLOOR


def _measured(pace: Pace, *, now: datetime) -> Pace:
    """A limit for an account without one: the calls that were accepted per second since the first refusal."""
    elapsed = now - (pace.lowered_at or now)
    accepted = pace.granted - pace.refused
    if elapsed < MEASURE or accepted < 1:
        return pace
    counts_for = MEMORY.total_seconds() * (1 - math.exp(-(elapsed / MEMORY)))
    rate = max(accepted / counts_for, LEAST_RATE)
    return replace(pace, rate=rate, refused_from=2 * rate, granted=0.0, refused=0.0, lowered_at=now, raised_at=now)


def _met_a_few_more(pace: Pace) -> bool:
    return pace.refused >= 2 and pace.share >= STEP_SHARE


def _raised(pace: Pace, configured: float | None, *, now: datetime) -> Pace:
    rate, raised_at = pace.rate, pace.raised_at or now
    if rate is None:
        return pace
    if configured is None and now - (pace.refused_at or raised_at) >= FORGET_LIMIT:
        return Pace()
    clean = pace.refused_at is None or (pace.lowered_at is not None and pace.refused_at <= pace.lowered_at)
    if pace.habit:
        clean = pace.share <= 1.5 * pace.habit
    # What nobody asks for is not raised: whether it is allowed would be found out at the next rush.
    used = pace.granted >= 0.5 * rate * min(_memory(rate), now - raised_at).total_seconds()
    if not clean and pace.refused_at is not None:
        clean = now - pace.refused_at >= BEYOND_AFTER
    if not (clean and used) or pace.trial_rate is not None:
        return pace
    from_ = pace.refused_from
    if from_ is None or rate < NEAR * from_:
        if now - raised_at < QUICKLY:
            return pace
        raised = rate + QUICK * (from_ or rate)
        raised = min(raised, NEAR * from_) if from_ else raised
    else:
        if now - raised_at < SLOWLY:
            return pace
        raised = rate * (1 + SLOW)
        beyond = pace.refused_at is None or now - pace.refused_at >= BEYOND_AFTER
        if raised > BELOW * from_ and not beyond:
            return pace
    if configured is not None and raised >= configured:
        return replace(Pace(), habit=pace.habit, habit_at=pace.habit_at)
    return replace(pace, rate=raised, raised_at=now)
