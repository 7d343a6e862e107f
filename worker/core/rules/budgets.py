"""How many calls an account may make now, and what the results of its calls change: decides every rate limit.

Pure: `budgets.budgets` keeps the state in one row per account and applies these under that row's lock, so that
all workers share one budget. How a limit is kept: `limits.offer`. How a lower limit is found:
`rate_adaptation.adapted`. What causes a pause, a stop or an open breaker: `call_outcomes.after_outcomes`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from onboarding_worker.core.foundation import notation
from onboarding_worker.core.model.endings import RetryPolicy
from onboarding_worker.core.model.stops import CAP, is_at_cap
from onboarding_worker.core.rules.limits import (
    SHARE,
    Burst,
    CreditCap,
    Limit,
    NextSlot,
    Slots,
    UsedCredits,
    burst_of,
    left_of,
    offer,
    spacing,
    tightest,
    unit_of,
    unused,
    used_up,
)
from onboarding_worker.core.rules.ramp import DAY, Ramp
from onboarding_worker.core.rules.rate_adaptation import Pace, adapted, counted
from onboarding_worker.core.rules.throughput import MeasuredThroughput

OPENS_AFTER = 5
# How soon to ask again while the probe is in flight: the other calls go on as soon as the probe succeeds.
PROBE_PATIENCE = timedelta(milliseconds=200)
# How old the time of a claim may be: it was read before the claim waited for a lock (`postgresql_engine.LOCK_SECONDS`).
LATE_NOW = timedelta(seconds=30)
# Time to write a result. From the last check of the lease to the written result: the call's time-out and this.
FLUSH_MARGIN = timedelta(seconds=5)
# How soon one call asks again whether refused credentials are good: a provider's sign-in has outages of minutes.
ASK_AGAIN_AFTER = timedelta(minutes=5)


@dataclass(frozen=True)
class BudgetRule:
    """What the configuration allows; the same for all accounts that share the budget."""

    name: str
    limits: tuple[Limit, ...] = ()
    concurrency: int = 50  # calls in flight, of all workers together
    credits: int | None = None  # the most calls that cost a credit; None: no cap. Credits are counted either way.
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    # Failed calls in a row that open the breaker. None, for senders: most failures are the recipient's, so only a
    # sender that cannot be reached opens it.
    opens_after: int | None = OPENS_AFTER
    each_process: bool = False  # the concurrency is for each worker process, not for all together
    ramp: Ramp | None = None  # of a new sender: one more limit, which grows from day to day
    ahead: timedelta = timedelta(0)  # how much of its pace may be used ahead; zero, as for senders: nothing
    credits_by: tuple[CreditCap, ...] = ()  # the most credits in a day, a week, a month
    names: tuple[str, ...] = ()  # the accounts that share the budget, or the channel of a sender

    @property
    def called(self) -> str:
        """As people know it: its accounts are named together."""
        return ", ".join(self.names) or self.name

    @property
    def is_capped(self) -> bool:
        """Whether there is a cap on its credits, in all or by period."""
        return self.credits is not None or bool(self.credits_by)

    @property
    def burst(self) -> Burst | None:
        return burst_of(self.limits, self.ahead) if self.ahead else None

    @property
    def rate(self) -> float | None:
        """Calls per second that the limits allow; None without one."""
        interval = spacing(self.limits)
        return timedelta(seconds=1) / interval if interval else None

    def at(self, ramp_from: datetime | None, now: datetime) -> "BudgetRule":
        """The rule with the limit that its ramp has at this time. Costs nothing without a ramp."""
        if self.ramp is None:
            return self
        limit = self.ramp.limit(ramp_from, now)
        return replace(self, ramp=None, limits=(*self.limits, limit) if limit is not None else self.limits)

    @property
    def paces(self) -> bool:
        """Whether calls have times of their own: there is a limit, or a ramp that may be one."""
        return bool(self.limits) or self.ramp is not None


@dataclass(frozen=True)
class BudgetState:
    """What is known of the account; the columns of the budget's row."""

    next_at: datetime | None = None
    left_at: datetime | None = None  # before `next_at`: see `limits.offer`
    even_at: datetime | None = None  # these two where calls may go ahead: see `limits`
    ahead_at: datetime | None = None
    last_at: datetime | None = None  # the last slot, where calls may go ahead; None: not known
    blocked_until: datetime | None = None
    pause_reason: str = ""
    paused_at: datetime | None = None
    pauses: int = 0
    probe_until: datetime | None = None
    stopped_at: datetime | None = None
    stop_reason: str = ""
    asks_again_at: datetime | None = None  # when one call finds out whether the stop is over; None: a person must act
    credits_used: int = 0
    spent: UsedCredits = field(default_factory=UsedCredits)  # of them, in the periods of the last day
    failures: int = 0  # calls in a row
    lost: int = 0  # of a sender: how its last reports weigh (`call_outcomes.after_reports`)
    lost_since: datetime | None = None  # messages that left earlier count no more; None: nothing was reported yet
    opened_at: datetime | None = None
    # It refused us, could not be reached, or was not tried since a worker started: nothing is bought for it meanwhile.
    unproven: bool = False
    ramp_from: datetime | None = None  # the first message under a ramp; None: none has left
    pace: Pace = field(default_factory=Pace)
    measured: MeasuredThroughput = field(default_factory=MeasuredThroughput)

    def paused_until(self, now: datetime) -> datetime | None:
        """Until when no call is made because of a pause; None: there is no pause now."""
        return self.blocked_until if self.blocked_until is not None and self.blocked_until > now else None

    @property
    def is_well(self) -> bool:
        """Whether another success ends no trouble."""
        troubled = self.failures or self.pauses or self.unproven or self.pause_reason
        return not (troubled or self.opened_at or self.probe_until or self.asks_again_at)

    @property
    def why_paused(self) -> str:
        """Why no call is made during a pause. A call that succeeds meanwhile ends the reason, not the wait."""
        return self.pause_reason or "the wait that was asked for is not over"


@dataclass(frozen=True)
class Grant:
    """How many calls may be made, and when. If none: `again_at` is when to ask again; None: a person must act."""

    slots: Slots
    probe: bool = False
    again_at: datetime | None = None


def grant(
    state: BudgetState,
    rule: BudgetRule,
    *,
    most: int,
    now: datetime,
    horizon: timedelta,
    lead: timedelta = timedelta(0),
    shared: bool = False,
) -> Grant:
    """The calls that may be made within `horizon` from `lead` on, at most `most`. `shared`: see `limits.offer`.

    After a pause a single call goes first, the probe. The other calls wait for its result, or until
    `probe_until` (`after_claim`). A stop for refused credentials has a probe at intervals.
    """
    none, rule, left = Slots(now, timedelta(0), 0), rule.at(state.ramp_from, now), calls_left(state, rule, now=now)
    if is_stopped(state, now=now) or credits_left(state, rule) == 0:
        return Grant(none)
    if left == 0:
        return Grant(none, again_at=credits_again_at(state, rule, now=now))
    if (until := state.paused_until(now)) is not None:
        return Grant(none, again_at=until)
    probing = state.pauses > 0 or state.stopped_at is not None
    if probing and state.probe_until is not None and state.probe_until > now:
        return Grant(none, again_at=min(state.probe_until, now + PROBE_PATIENCE))
    most = min(most, 1 if probing else most, most if left is None else left)
    found, begins_at = state.pace.interval, now + lead
    if (slot := next_slot(state, rule, now=now)) is not None:
        slots = slot.offer(next_at=state.next_at, most=most, now=begins_at, horizon=horizon, found=found)
    else:
        slots = offer(
            rule.limits,
            # What went ahead before `burst` was taken out is paid back first.
            next_at=state.next_at and max(state.next_at, _even_at(state, rule) or state.next_at),
            left_at=state.left_at,
            most=most,
            now=begins_at,
            horizon=horizon,
            found=found,
            shared=shared,
        )
    again_at = None if slots.count else slots.again_at(0, horizon=horizon, now=begins_at) - lead
    return Grant(slots, probe=probing, again_at=again_at)


def next_slot(state: BudgetState, rule: BudgetRule, *, now: datetime) -> NextSlot | None:
    """Where the next slot may lie if calls may go ahead of the pace; None: they may not.

    `ahead_at` lies no further behind the last slot than a slot can move it: a pause that was ended early, and a slot
    that only the even pace allowed have moved it further. If `even_at` does, more went ahead than the present `burst`
    allows: it is paid back before anything goes ahead.
    """
    burst = rule.burst
    if burst is None:
        return None
    last = state.next_at or now - burst.ahead  # where nothing is stored, all calls until then were evenly spaced
    even_at, ahead_at = _even_at(state, rule) or last, state.ahead_at or last
    if even_at > last + burst.even + burst.ahead:
        return NextSlot(burst, even_at, max(ahead_at, even_at))
    latest = max(last, state.blocked_until or last) + burst.slow
    return NextSlot(burst, even_at, min(ahead_at, latest))


def _even_at(state: BudgetState, rule: BudgetRule) -> datetime | None:
    """It never keeps calls waiting for longer than the largest burst would."""
    if state.next_at is None or state.even_at is None:
        return state.even_at
    longest = max((limit.period for limit in rule.limits), default=timedelta(0)) / SHARE
    return min(state.even_at, state.next_at + longest)


def is_stopped(state: BudgetState, *, now: datetime) -> bool:
    """Whether no call may be made until a person acts, or until the stop's next probe."""
    return state.stopped_at is not None and (state.asks_again_at is None or state.asks_again_at > now)


def clamp_future_times(
    state: BudgetState, rule: BudgetRule, *, now: datetime, reach: timedelta, probe_for: timedelta
) -> BudgetState:
    """The state without times that are too late: a process with a wrong clock wrote them, or the limit is higher now,
    and all workers would wait.

    `reach` is how far ahead calls are reserved; no reserved call is later, so the next free one follows within one
    interval. A claim that waited for the row's lock has a `now` of a moment ago: `LATE_NOW` allows for that. So has a
    process that stood still: under a slow limit one more interval is waited for, rather than made up by two calls.
    """
    # The last call of a ramp's day was spaced by the limit of that day.
    rule = rule.at(state.ramp_from, now - DAY)
    last_free = now + reach + (apart := _apart(state, rule))
    if state.next_at is not None and state.next_at > last_free + max(LATE_NOW, apart):
        # Not at once: calls up to `reach` from now may be reserved. What went ahead is still to be paid back.
        sooner = state.next_at - last_free
        even_at, ahead_at = state.even_at and state.even_at - sooner, state.ahead_at and state.ahead_at - sooner
        state = replace(state, next_at=last_free, left_at=None, even_at=even_at, ahead_at=ahead_at)
    if state.probe_until is not None and state.probe_until > now + LATE_NOW + probe_for:
        state = replace(state, probe_until=None)
    return state


def _apart(state: BudgetState, rule: BudgetRule) -> timedelta:
    """The longest time between two slots."""
    return max(interval(state, rule), rule.burst.slow if rule.burst else timedelta(0))


def interval(state: BudgetState, rule: BudgetRule) -> timedelta:
    """The time between two calls at the account's pace, by its limits or the rate found; zero if there is neither."""
    return max(spacing(rule.limits), state.pace.interval)


def next_call_at(state: BudgetState, rule: BudgetRule, *, now: datetime) -> datetime | None:
    """When the limits have room for the next call; None: no limit is known. A later slot was reserved under a lower
    limit, or by a wrong clock (`clamp_future_times`)."""
    rule = rule.at(state.ramp_from, now)
    if not rule.limits and state.pace.rate is None:
        return None
    at, apart = state.next_at or now, _apart(state, rule)
    return max(now, now + apart if at > now + apart + max(LATE_NOW, apart) else at)


def credits_left(state: BudgetState, rule: BudgetRule) -> int | None:
    """Calls that the cap on all credits still allows; None without it. At zero a person must act."""
    return None if rule.credits is None else max(rule.credits - state.credits_used, 0)


def calls_left(state: BudgetState, rule: BudgetRule, *, now: datetime) -> int | None:
    """Calls that all caps on credits allow now, also those by period; None without a cap."""
    lefts = (credits_left(state, rule), left_of(rule.credits_by, state.spent, now) if rule.credits_by else None)
    return min((left for left in lefts if left is not None), default=None)


def credits_again_at(state: BudgetState, rule: BudgetRule, *, now: datetime) -> datetime | None:
    """When the period is over whose credits are used up; None: none is."""
    found = used_up(rule.credits_by, state.spent, now) if rule.credits_by else None
    return found[0] if found is not None else None


def with_credits(state: BudgetState, credits: Mapping[date, int], *, now: datetime) -> BudgetState:
    """The state with these credits more, by the day on which each was reserved; refunds are negative."""
    spent, used = state.spent, state.credits_used
    for day, number in credits.items():
        spent, used = spent.plus(number, on=day, now=now), max(used + number, 0)
    return replace(state, credits_used=used, spent=spent)


def at_cap(state: BudgetState, rule: BudgetRule, *, now: datetime) -> BudgetState:
    """The state when a row waits for a call and the cap on credits allows none: stopped, with the reason."""
    if state.stopped_at is not None:
        return state
    reason = f"{CAP}{notation.counted(rule.credits or 0, 'credit')} is used up"
    return replace(state, stopped_at=now, stop_reason=reason)


def refunded(state: BudgetState, rule: BudgetRule, calls: Mapping[date, int], *, now: datetime) -> BudgetState:
    """The state after so many calls, by the day of their credits, proved to have cost nothing; this ends a stop for
    lack of credits."""
    return under_cap(with_credits(state, {day: -number for day, number in calls.items()}, now=now), rule)


def under_cap(state: BudgetState, rule: BudgetRule) -> BudgetState:
    """The state without a stop at the cap, if the cap was raised or taken out, or a credit was refunded."""
    if state.stopped_at is not None and is_at_cap(state.stop_reason) and credits_left(state, rule) != 0:
        return replace(state, stopped_at=None, stop_reason="")
    return state


def after_claim(
    state: BudgetState, rule: BudgetRule, granted: Grant, claimed: int, *, now: datetime, probe_for: timedelta
) -> BudgetState:
    """The state when `claimed` of the granted calls have rows; the other calls were never reserved."""
    if claimed == 0:
        return state
    pace, ramp_from = state.pace, now if rule.ramp is not None and state.ramp_from is None else state.ramp_from
    rule = rule.at(ramp_from, now)
    if granted.slots.interval:
        next_at, left_at = granted.slots.reserved(claimed)
        if (slot := next_slot(state, rule, now=now)) is None:
            state = replace(state, next_at=next_at, left_at=left_at, even_at=None, ahead_at=None, last_at=None)
        else:
            times = [granted.slots.at(index) for index in range(claimed)]
            slot = slot.after(times)
            state = replace(state, even_at=slot.even_at, ahead_at=slot.ahead_at, last_at=times[-1])
            state = replace(state, next_at=max(next_at, slot.at), left_at=None)
        pace = counted(pace, rule.rate, granted=claimed, now=now)
    if granted.slots.interval or granted.probe:
        pace = adapted(pace, rule.rate, now=now)
    probe_until = now + probe_for if granted.probe else state.probe_until
    # Moved on at once: whatever becomes of this probe, there is one at a time, and the next one comes later.
    asks_again_at = now + ASK_AGAIN_AFTER if state.asks_again_at is not None else None
    return replace(state, pace=pace, probe_until=probe_until, ramp_from=ramp_from, asks_again_at=asks_again_at)


def after_release(state: BudgetState, rule: BudgetRule, slots: Iterable[datetime]) -> BudgetState:
    """The state after these reserved slots were not used: free again, unless a later slot is reserved."""
    slots = list(slots)
    if rule.burst is not None:
        return _released(state, rule.burst, slots)
    if slots and rule.ramp is not None:
        rule = rule.at(state.ramp_from, min(slots))
    next_at, left_at = unused(state.next_at, state.left_at, slots, interval=interval(state, rule))
    return replace(state, next_at=next_at, left_at=left_at)


def _released(state: BudgetState, burst: Burst, slots: list[datetime]) -> BudgetState:
    """The same where calls may go ahead. Of slots that are not evenly spaced, only the last is known."""
    if state.next_at is None or state.even_at is None or state.ahead_at is None:
        return state
    if state.next_at == state.even_at:
        next_at, _ = unused(state.next_at, None, slots, interval=burst.even)
        last_at = state.last_at if next_at == state.next_at else None
        return replace(state, next_at=next_at, even_at=next_at, last_at=last_at)
    if state.last_at is None or state.last_at not in slots:
        return state
    even_at, ahead_at = state.even_at - burst.even, state.ahead_at - burst.slow
    next_at = max(state.last_at, min(even_at, ahead_at))
    return replace(state, next_at=next_at, even_at=even_at, ahead_at=ahead_at, last_at=None)


def found_in_words(rule: BudgetRule, state: BudgetState) -> str | None:
    """The limit found, such as "25/second", in the period of the configured limit; None where none was found."""
    if state.pace.rate is None:
        return None
    limit = tightest(rule.limits)
    period = limit.period if limit else timedelta(seconds=1)
    count = state.pace.rate * period.total_seconds()
    return f"{count:.0f}/{unit_of(period)}" if count >= 10 else f"{count:.1f}/{unit_of(period)}"


def mark_verified(state: BudgetState) -> BudgetState:
    """The state after a sender accepted a log-in: pauses and the stop because it did not are over."""
    if not state.unproven:
        return state  # a pause because of a rate limit: a log-in says nothing about that
    over = replace(state, unproven=False, pauses=0, probe_until=None, blocked_until=None, pause_reason="")
    if state.asks_again_at is not None:
        over = replace(over, stopped_at=None, stop_reason="", asks_again_at=None)
    return replace(over, failures=0, opened_at=None)


def resumed(state: BudgetState, *, pauses_too: bool = False) -> BudgetState:
    """The state after a stopped account was resumed: one call goes first.

    A starting worker ends stops. `pauses_too`: an operator ends pauses as well. The limit goes on as it was.
    """
    if state.stopped_at is not None:
        pauses = max(state.pauses, 1)
        state = replace(state, stopped_at=None, stop_reason="", asks_again_at=None, pauses=pauses, probe_until=None)
    if pauses_too:
        state = replace(state, blocked_until=None, probe_until=None)
    return state
