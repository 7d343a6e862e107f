"""When a batch ends, and what limits it: arithmetic over its remaining calls and its accounts' limits, the hours that
its texts to a country take, the rows that wait for something else than the rest, and what the rest waits for. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from onboarding_worker.core.foundation.notation import counted, listed_in_words, written, written_if_any
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rules.budgets import (
    BudgetRule,
    BudgetState,
    credits_left,
    found_in_words,
    next_call_at,
    next_slot,
)
from onboarding_worker.core.rules.budgets import interval as spaced
from onboarding_worker.core.rules.limits import CreditCap, UsedCredits, day_of, end_of, left_of, tightest
from onboarding_worker.core.rules.ramp import DAY, Ramp
from onboarding_worker.core.rules.rate_adaptation import is_refused_at_lowest
from onboarding_worker.core.rules.text_numbers import HOUR, hour_of
from onboarding_worker.reporting.store.counts import Waits
from onboarding_worker.reporting.store.outlook import Orphans, UnknownOutcomes
from onboarding_worker.reporting.waits import SOON, Wait, outage_of, stop_in_words

# The time of one call while nothing is known: gives a pace where there is neither a limit nor a measurement.
ASSUMED_CALL = timedelta(milliseconds=50)
# A measured pace that is slower than the limit by more than this is named instead of the limit.
NOTICEABLE = 1.1
QUARTER = timedelta(minutes=15)
# What one row waits for, and what several wait for; all other rows wait for the end of a session.
_WAIT_FOR: Mapping[str, tuple[str, str]] = {
    Reason.UNKNOWN: (
        "row waits for the look-up of a call whose answer was lost",
        "rows wait for the look-ups of calls whose answers were lost",
    ),
    Reason.ADDRESS_SPENT: ("row waits for messages_per_address", "rows wait for messages_per_address"),
    Reason.JOINED_JOB: ("row waits for the row of another list", "rows wait for the rows of other lists"),
}
_SESSION_ENDS = ("row waits for the end of a session", "rows wait for the ends of sessions")
_NEVER = datetime.max.replace(tzinfo=UTC)


class Load(NamedTuple):
    """The calls left for one account or channel, or for `several` that share a budget. `name` is for people. `ahead`:
    calls of others that go before these."""

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
        return f"; {self.ahead:,} of other batches go first" if self.ahead else ""


class Forecast(NamedTuple):
    """`finishes_at` None: nothing is left, a person must act, or an outage lasts. `limited_by` is the limiting account,
    in words. `assumed`: the pace is neither configured nor measured, so the time is rough. `apart`: the rows that
    `finishes_at` leaves out, since they wait for longer than the rest, for something else; in words."""

    finishes_at: datetime | None
    limited_by: str | None
    assumed: bool = False
    apart: tuple[str, ...] = ()


def forecast(loads: Iterable[Load], *, now: datetime) -> Forecast:
    """The end of the slowest load; all loads are worked in parallel. A load whose pace is only assumed counts if the
    loads with a known pace have fewer calls: otherwise each of its rows also waits for one of them. A pause counts in
    any case."""
    loads = [load for load in loads if load.left]
    for load in loads:
        if load.state.stopped_at is not None:
            return Forecast(None, f"{load.name} {load.is_or_are} stopped: {stop_in_words(load.state)}")
        left = credits_left(load.state, load.rule)
        if left is not None and left < load.until_done:
            have = "have" if load.several else "has"
            why = f"{load.name} {have} {counted(left, 'credit')} left for {counted(load.until_done, 'call')}"
            return Forecast(None, why + load.behind_in_words)
    for load in loads:
        # The end of such a pause is not the end of the outage.
        if why := outage_of(load.state, now=now):
            return Forecast(None, f"{load.name} {load.is_or_are} paused: {why}")
        if why := _real_limit_unknown(load, now):
            return Forecast(None, why)
    known = sum(load.left for load in loads if _interval(load, now)[0] is not None)
    ends = [_by_credits(load, _end(load, now=now), now=now) for load in loads]
    both = zip(ends, loads, strict=True)
    binding = [end for end, load in both if not end.assumed or load.left > known or load.state.paused_until(now)]
    # An end that cannot be said is later than any.
    return max(binding, key=lambda end: (end.finishes_at is None, end.finishes_at or now), default=Forecast(None, None))


def pace_of(load: Load, *, now: datetime) -> float | None:
    """How many calls a second the load's limits and the last minutes' pace allow; None: nothing is known."""
    interval, _ = _interval(load, now)
    return 1 / interval.total_seconds() if interval else None


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
            why = f"the pace of the last calls, {1 / measured.total_seconds():.3g}/second"
        slowest = max(slowest, measured)
    return (slowest, why) if why else (None, "")


def last_day(caps: tuple[CreditCap, ...], spent: UsedCredits, calls: int, *, now: datetime) -> tuple[date, int] | None:
    """The day on which the last of so many calls may be made, and how many are left for that day; None: in years."""
    spent, day, at = spent.at(now), spent.day_at(now), now
    for _ in range(3660):
        fit = left_of(caps, spent, at)
        if fit is None or calls <= fit:
            return day, calls
        calls, spent = calls - fit, spent.plus(fit, on=day, now=at)
        at = end_of("day", day)
        day = at.date()
        spent = spent.at(at)
    return None


def _by_credits(load: Load, ends: Forecast, *, now: datetime) -> Forecast:
    """The forecast with the days that the caps on credits by period take."""
    caps, today = load.rule.credits_by, day_of(now)
    if not caps or ends.finishes_at is None:
        return ends
    named = f"{load.name}: at {' and '.join(cap.in_words for cap in caps)}"
    last = last_day(caps, load.state.spent, load.until_done, now=now)
    if last is None:
        return Forecast(None, f"{named} this takes more than ten years; raise `credits`")
    day, calls = last
    if day == today:
        return ends
    # Of the last day's calls, the pace says when they are done.
    pace = (ends.finishes_at - now) / max(load.until_done, 1)
    at = datetime.combine(day, time(), UTC) + calls * pace
    if at <= ends.finishes_at:
        return ends
    return Forecast(at, f"{named} this takes {counted((day - today).days + 1, 'day')}{load.behind_in_words}")


def _end(load: Load, *, now: datetime) -> Forecast:
    state, rule = load.state, load.rule
    interval, why = _interval(load, now)
    paused = state.paused_until(now)
    pause = f"{load.name} {load.is_or_are} paused: {state.why_paused}" if paused else ""
    starts = paused or now
    if interval is None:
        why = pause or f"{load.name}: roughly, by {rule.concurrency} calls at a time"
        return Forecast(starts + load.until_done * ASSUMED_CALL / rule.concurrency, why, assumed=True)
    starts = max(starts, next_call_at(state, rule, now=now) or starts)
    # By a limit the first goes then. Where calls are close, or slower than it, the last takes about as long itself.
    gaps = load.until_done - (SOON <= interval < NOTICEABLE * spaced(state, rule.at(state.ramp_from, now)))
    if rule.ramp is not None and rule.ramp.limit(state.ramp_from, now) is not None:
        without, _ = _interval(load._replace(rule=replace(rule, ramp=None)), now)
        day = (now - state.ramp_from) // DAY + 1 if state.ramp_from is not None else 1
        today = rule.ramp.limit(state.ramp_from, now)
        why = pause or f"{load.name}: the ramp of {rule.ramp}, day {day}: {today}"
        ends = ramp_ends(rule.ramp, gaps, state.ramp_from, least=without or timedelta(0), now=starts)
        return Forecast(ends, why + load.behind_in_words)
    why = pause or f"{load.name}: {why}"
    ends = starts + gaps * interval
    if (slot := next_slot(state, rule, now=now)) is not None and interval < NOTICEABLE * slot.burst.even:
        # A pace that was measured evenly spaced does not bind what may go ahead.
        ends = slot.reached_at(gaps, begins_at=starts, apart=state.pace.interval)
    return Forecast(ends, why + load.behind_in_words)


def through_nights(takes: timedelta, awake: Callable[[datetime], datetime], *, now: datetime) -> datetime:
    """When work that takes `takes` is over, if it goes on only outside quiet hours. `awake` gives the earliest time
    outside quiet hours that is not before its argument. Exact to a quarter of an hour, and for at most a year of
    work."""
    at, left = awake(now), takes
    for _ in range(timedelta(days=366) // QUARTER):
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


def with_country_cap(
    ends: Forecast, cap: int, left: Mapping[str, int], *, sent: Mapping[str, int], now: datetime
) -> Forecast:
    """The forecast, if the texts to a country need more hours than the rest. `left` and `sent`, in this hour, by
    country; "" is a country that is not known."""
    if ends.finishes_at is None:
        return ends
    for country, texts in left.items():
        at = last_text_at(cap, texts, sent.get(country, 0), now=now)
        if ends.finishes_at is None or at > ends.finishes_at:
            where = country or "one country, if all go to one"
            ends = Forecast(at, f"[sms] per_country: {cap:,} texts an hour to {where}", assumed=not country)
    return ends


def by_country(left: int, lately: Mapping[str, int]) -> dict[str, int]:
    """These texts by country, in the proportion of those that went lately; by "" where none did."""
    whole = sum(lately.values())
    return {name: -(-left * number // whole) for name, number in lately.items()} if whole else {"": left}


def last_text_at(cap: int, left: int, sent: int, *, now: datetime) -> datetime:
    """When the last of `left` texts to a country may go, after `sent` in this hour; `now` if none waits for an hour."""
    waiting = left - max(cap - sent, 0)
    return now if waiting <= 0 else hour_of(now) + HOUR * -(-waiting // cap)


def of_rows(apart: Wait) -> Wait:
    what = counted(apart.rows, *_WAIT_FOR.get(apart.reason, _SESSION_ENDS))
    if apart.rows == 1:
        until = "until"
    elif apart.reason == Reason.ADDRESS_SPENT:
        until = "the last is looked at again"  # rows with one address may have the same time, and then some wait again
    else:
        until = "the last until"
    return apart._replace(detail=f"{what}, {until} {written_if_any(apart.until)}")


def of_lost_sessions(orphans: Orphans, ends_by: datetime | None) -> Wait:
    """The rows whose sessions' tokens were lost. They are due at the next look-up, which may find that those go on."""
    lost = lost_sessions(orphans.number)
    if ends_by is None:
        return Wait(detail=f"{lost}: the next is looked at {written(orphans.first)}", rows=orphans.number)
    last = "it" if orphans.number == 1 else "the last"
    why = f"{lost}: {last} has ended by {written(ends_by)} at the latest"
    return Wait(detail=why, until=ends_by, rows=orphans.number)


def lost_sessions(orphans: int) -> str:
    return f"{counted(orphans, 'session')} whose token was lost" if orphans else ""


def lost_answers(calls: int, messages: int) -> str:
    """This number of calls and messages whose answers were lost, in words; "" for none."""
    parts = [counted(number, what) for number, what in ((calls, "call"), (messages, "message")) if number]
    return f"{' and '.join(parts)} whose answer was lost" if parts else ""


def of_kept_rows(kept: Mapping[int, Waits]) -> Wait:
    """The rows that joined rows of paused batches, by batch: they go on when a person resumes these."""
    rows = sum(one.rows for one in kept.values())
    names = listed_in_words([str(batch_id) for batch_id in sorted(kept)])
    steps = listed_in_words([f"`onboard resume {batch_id}`" for batch_id in sorted(kept)])
    paused = f"batch {names}, which is paused" if len(kept) == 1 else f"batches {names}, which are paused"
    goes_on = "goes on with it" if len(kept) == 1 else "go on with them"
    what = counted(rows, "row waits for the row", "rows wait for the rows")
    return Wait(detail=f"{what} of {paused}: {steps} {goes_on}", rows=rows)


def with_rows_apart(ends: Forecast, parts: Iterable[Wait], *, left: int) -> Forecast:
    """The forecast of the rest, with the parts that wait for longer. `left`: the rows and messages that are left. If
    nothing else is left, the last of the parts ends the batch."""
    if ends.finishes_at is None:
        return ends
    longer = [one for one in parts if (one.until or _NEVER) > ends.finishes_at]
    if left > sum(one.rows for one in longer):
        return ends._replace(apart=tuple(one.detail for one in longer))
    last = max(longer, key=lambda one: one.until or _NEVER)
    return Forecast(last.until, last.detail)


def of_rest(until: datetime, kept_by: Sequence[Wait], outcomes: Callable[[], UnknownOutcomes]) -> Wait:
    """What the rest of a batch waits for until then: what keeps its account or sender, or calls to be reconciled.
    Without words where its rows say it themselves."""
    for one in kept_by:
        if one.until is not None and one.until >= until:
            said = one.reason == Reason.ACCOUNT_PAUSED  # a pause's own words name it
            return Wait(detail=one.detail if said else f"{one.called}: {one.detail}", until=until)
    unknown = outcomes()
    if unknown.reconcile_at is not None and unknown.reconcile_at <= until:
        calls = sum(unknown.calls.values())
        due = due_then(calls + unknown.messages, "reconciled")
        return Wait(detail=f"{lost_answers(calls, unknown.messages)}, {due}", until=until)
    if any(one.first <= until for one in unknown.orphans.values()):
        orphans = sum(one.number for one in unknown.orphans.values())
        return Wait(detail=f"{lost_sessions(orphans)}, {due_then(orphans, 'looked at')}", until=until)
    return Wait(detail=next((one.detail for one in kept_by), ""), until=until)


def due_then(number: int, done: str) -> str:
    """Each has a time of its own: of several, only the first is known to be due then."""
    return f"{'to be' if number == 1 else 'the first to be'} {done} then"
