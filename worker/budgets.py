"""What an account may do now, and what its calls teach about it: the decisions behind every rate limit.

Pure: `store.budgets` keeps the state in one row per account and applies these under that row's lock, so that
all workers share one budget. To change how a limit is kept, change `pacing.offer`; how a pause or a stop comes
about, change `learned`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from worker.endings import Kind, RetryPolicy
from worker.pacing import Limit, Slots, offer, pause_until

# Kinds of answer that cost no credit: the provider refused before opening anything.
FREE = frozenset({Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.BAD_INPUT, Kind.CONFLICT})
# Success, and refusals of one row: the account answers, so a pause is over.
ANSWERS = frozenset({None, Kind.BAD_INPUT, Kind.CONFLICT})
STOPS = frozenset({Kind.AUTH, Kind.OUT_OF_CREDIT})


@dataclass(frozen=True)
class BudgetRule:
    """What the configuration allows; the same for all accounts that share the budget."""

    name: str
    limits: tuple[Limit, ...] = ()
    concurrency: int = 50
    credits: int | None = None  # never more calls than this that cost one; None: no cap
    policy: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True)
class BudgetState:
    """What is known so far; the columns of the budget's row."""

    next_at: datetime | None = None
    blocked_until: datetime | None = None
    pause_reason: str = ""
    paused_at: datetime | None = None
    pauses: int = 0
    probe_until: datetime | None = None
    stopped_at: datetime | None = None
    stop_reason: str = ""
    credits_used: int = 0
    failures: int = 0
    opened_at: datetime | None = None


@dataclass(frozen=True)
class Grant:
    """How many calls may be made and when. With none, `again_at` says when to ask again; None: a person must act."""

    slots: Slots
    probe: bool = False
    again_at: datetime | None = None


@dataclass(frozen=True)
class Lesson:
    """What one call taught: its kind of problem, or None for a success. `began_at` is when it was made.

    An account that could not be reached is paused as one that was told to wait: one call finds out whether it is
    back, instead of each row by itself.
    """

    began_at: datetime
    kind: Kind | None = None
    detail: str = ""
    retry_after: timedelta | None = None
    unreachable: bool = False


def grant(
    state: BudgetState, rule: BudgetRule, *, most: int, now: datetime, horizon: timedelta, probe_for: timedelta
) -> Grant:
    """The calls that may be made within `horizon` from now, at most `most`.

    After a pause a single call goes first; the others wait for what it finds, at most `probe_for`.
    """
    none = Slots(now, timedelta(0), 0)
    if state.stopped_at is not None or credits_left(state, rule) == 0:
        return Grant(none)
    if state.blocked_until is not None and state.blocked_until > now:
        return Grant(none, again_at=state.blocked_until)
    probing = state.pauses > 0
    if probing and state.probe_until is not None and state.probe_until > now:
        return Grant(none, again_at=min(state.probe_until, now + probe_for))
    left = credits_left(state, rule)
    most = min(most, 1 if probing else most, most if left is None else left)
    slots = offer(rule.limits, next_at=state.next_at, most=most, now=now, horizon=horizon)
    return Grant(slots, probe=probing, again_at=None if slots.count else max(slots.first - horizon, now))


def credits_left(state: BudgetState, rule: BudgetRule) -> int | None:
    """Calls that the cap on credits still allows; None without a cap."""
    return None if rule.credits is None else max(rule.credits - state.credits_used, 0)


def _used_up(rule: BudgetRule) -> str:
    return f"its cap of {rule.credits} credits is used up"


def at_cap(state: BudgetState, rule: BudgetRule, *, now: datetime) -> BudgetState:
    """The state once there is a row to call for and the cap on credits leaves no call: stopped, with the reason."""
    if state.stopped_at is not None:
        return state
    return replace(state, stopped_at=now, stop_reason=_used_up(rule))


def refunded(state: BudgetState, rule: BudgetRule, count: int) -> BudgetState:
    """The state once `count` calls turned out to have cost nothing; a stop for want of credits ends with it."""
    state = replace(state, credits_used=max(state.credits_used - count, 0))
    if state.stop_reason == _used_up(rule) and credits_left(state, rule):
        return replace(state, stopped_at=None, stop_reason="")
    return state


def after_taking(state: BudgetState, granted: Grant, taken: int, *, now: datetime, probe_for: timedelta) -> BudgetState:
    """The state once `taken` of the granted calls have rows to make them for; the rest was never reserved."""
    if taken == 0:
        return state
    next_at = granted.slots.at(taken) if granted.slots.interval else state.next_at
    return replace(state, next_at=next_at, probe_until=now + probe_for if granted.probe else state.probe_until)


def learned(state: BudgetState, rule: BudgetRule, lessons: Iterable[Lesson], *, now: datetime) -> BudgetState:
    """The state after these calls: paused, stopped, or well again."""
    for lesson in sorted(lessons, key=lambda lesson: lesson.began_at):
        # A call made before the pause began could not have kept to it: it says nothing about it.
        fresh = state.paused_at is None or lesson.began_at >= state.paused_at
        if lesson.kind is Kind.RATE_LIMITED or lesson.unreachable:
            state = _paused(state, rule, lesson, fresh=fresh, now=now)
        elif lesson.kind in STOPS:
            state = replace(state, stopped_at=state.stopped_at or now, stop_reason=lesson.detail, probe_until=None)
        elif lesson.kind in ANSWERS and fresh:
            state = replace(state, pauses=0, probe_until=None, pause_reason="")
        elif fresh:
            state = replace(state, probe_until=None)
    return state


def _paused(state: BudgetState, rule: BudgetRule, lesson: Lesson, *, fresh: bool, now: datetime) -> BudgetState:
    if not fresh and lesson.retry_after is None:
        return state
    pauses = state.pauses + 1 if fresh else state.pauses
    until = pause_until(retry_after=lesson.retry_after, backoff=rule.policy.ceiling(pauses), now=now)
    return replace(
        state,
        blocked_until=max(until, state.blocked_until or until),
        pauses=pauses,
        paused_at=now if fresh else state.paused_at,
        pause_reason=lesson.detail,
        probe_until=None,
    )


def resumed(state: BudgetState) -> BudgetState:
    """The state after a person, or a start, asked to try a stopped account again: one call goes first."""
    if state.stopped_at is None:
        return state
    return replace(state, stopped_at=None, stop_reason="", pauses=max(state.pauses, 1), probe_until=None)
