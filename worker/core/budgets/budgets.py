"""The budget rows. Each account has a row, or shares a row with the accounts that the provider counts together.

A transaction locks the row before it reserves calls or applies their outcomes, so all workers share one budget. It
reads the row once under the lock, and writes it once, at its end: what changes it meanwhile changes `_Held`.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from functools import cache, partial
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.bulk import insert
from onboarding_worker.core.database.database import THERE_IS, Database
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.fast.unanswered import UNANSWERED
from onboarding_worker.core.database.tables import Budget, EmergencyStop
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.stops import tries_again_by_itself
from onboarding_worker.core.rules.budgets import (
    BudgetRule,
    BudgetState,
    Grant,
    after_claim,
    after_release,
    at_cap,
    calls_left,
    clamp_future_times,
    credits_left,
    found_in_words,
    is_stopped,
    mark_verified,
    refunded,
    resumed,
    under_cap,
    with_credits,
)
from onboarding_worker.core.rules.call_outcomes import CallOutcome, after_outcomes
from onboarding_worker.core.rules.limits import FREE, UsedCredits, begin_of, day_of
from onboarding_worker.core.rules.rate_adaptation import Pace
from onboarding_worker.core.rules.throughput import MeasuredThroughput, Stretch, with_stretch

log = logging.getLogger(__name__)

# The parts of a state: how their columns begin, and what each is made of.
_KINDS: dict[str, tuple[str, Any]] = {
    "pace": ("pace_", Pace),
    "measured": ("measured_", MeasuredThroughput),
    "spent": ("credits_", UsedCredits),
}
_PARTS = {part: (prefix, kind, [one.name for one in fields(kind)]) for part, (prefix, kind) in _KINDS.items()}
_OWN = [field.name for field in fields(BudgetState) if field.name not in _PARTS]
_NAMES = [*_OWN, *(prefix + name for prefix, _, names in _PARTS.values() for name in names)]
_IN_ORDER = attrgetter(*_OWN, *(f"{part}.{name}" for part, (_, _, names) in _PARTS.items() for name in names))
_COLUMNS = [Budget.__table__.c[name] for name in _NAMES]

EVERYTHING_IS_STOPPED = THERE_IS.where(EmergencyStop.id == 1)  # a person has stopped everything
_STOPPED = sa.select(EVERYTHING_IS_STOPPED)
# Built once: many transactions read a budget, and building a statement costs more than running it.
_READ = sa.select(*_COLUMNS).where(Budget.name == sa.bindparam("budget"))
_READ_LOCKED = _READ.with_for_update()
_ALL = sa.select(*_COLUMNS, Budget.name.label("budget"))
_LOCK = sa.select(Budget.name).where(Budget.name == sa.bindparam("budget")).with_for_update()
_SAVE = (
    sa.update(Budget)
    .where(Budget.name == sa.bindparam("budget"))
    .values({column.name: sa.bindparam(f"new_{column.name}") for column in _COLUMNS})
)
# By column, the period that it counts: one from before this period's first day counts no more.
_COUNTED_FROM = {"today": "day", "week": "week", "month": "month"}
_COUNT = (
    sa.update(Budget)
    .where(Budget.name == sa.bindparam("budget"))
    .values(
        credits_used=Budget.credits_used + sa.bindparam("spent"),
        credits_day=sa.case((Budget.credits_day >= sa.bindparam("day"), Budget.credits_day), else_=sa.bindparam("day")),
        **{
            f"credits_{name}": sa.bindparam("spent")
            + sa.case((Budget.credits_day >= sa.bindparam(f"{name}_from"), getattr(Budget, f"credits_{name}")), else_=0)
            for name in _COUNTED_FROM
        },
    )
)


def _state(values: Iterable[Any]) -> BudgetState:
    """The state from a row's values, in the order of `_COLUMNS`."""
    columns = iter(values)
    own = dict(zip(_OWN, columns, strict=False))  # each takes its own, and leaves the others
    parts = {part: kind(**dict(zip(names, columns, strict=False))) for part, (_, kind, names) in _PARTS.items()}
    return BudgetState(**own, **parts)


@dataclass
class _Held:
    """What a writing transaction knows of a budget's row. `state` None: it is locked, and not read yet."""

    state: BudgetState | None = None
    is_locked: bool = False
    is_changed: bool = False


def _held(connection: sa.Connection) -> dict[str, _Held]:
    """The rows that the transaction has read, by name; what only reads keeps none."""
    counts = connection.get_execution_options().get(tally.OPTION)
    return counts.budgets if counts is not None else {}


def read(connection: sa.Connection, name: str, *, lock: bool = False) -> BudgetState:
    """The budget's state, with what this transaction has changed. With `lock`, the row is locked until it ends.

    Raises LookupError."""
    held = _held(connection)
    known = held.setdefault(name, _Held())
    if known.state is None or (lock and not known.is_locked):
        row = connection.execute(_READ_LOCKED if lock and not known.is_locked else _READ, {"budget": name}).first()
        if row is None:
            # `Budgets.ensure` makes all rows before any work begins. A missing budget must not count as unlimited.
            raise LookupError(f"there is no budget {name!r}")
        known.state, known.is_locked = _state(row), lock or known.is_locked
    return known.state


def lock(connection: sa.Connection, rule: BudgetRule) -> None:
    """Lock the row until the transaction ends."""
    known = _held(connection).setdefault(rule.name, _Held())
    if not known.is_locked:
        connection.execute(_LOCK, {"budget": rule.name}, execution_options=UNANSWERED)
        known.state, known.is_locked = None, True


def is_locked(connection: sa.Connection, name: str) -> bool:
    """Whether this transaction has locked the row."""
    known = _held(connection).get(name)
    return known is not None and known.is_locked


def save(connection: sa.Connection, name: str, state: BudgetState) -> None:
    """Write the state at the end of the transaction, which has locked the row."""
    known = _held(connection).setdefault(name, _Held())
    if not known.is_changed:
        tally.of(connection).last.append(partial(_write, name=name, known=known))
    known.state, known.is_locked, known.is_changed = state, True, True


def _write(connection: sa.Connection, *, name: str, known: _Held) -> None:
    values = {f"new_{column}": value for column, value in zip(_NAMES, _IN_ORDER(known.state), strict=True)}
    connection.execute(_SAVE, {"budget": name, **values}, execution_options=UNANSWERED)
    known.is_changed = False


class FirstAnswers(NamedTuple):
    """The answers to a claim's first questions. `stopped`: a person has stopped everything. `beside`: the states of the
    other budgets that were asked for.
    """

    state: BudgetState
    stopped: bool
    event_is_due: bool
    beside: Mapping[str, BudgetState]


def ask_first(
    connection: sa.Connection, name: str, event_is_due: sa.Exists, given: Mapping[str, Any], *, beside: Collection[str]
) -> FirstAnswers:
    """What a claim must know first, by one statement. `given`: the parameters of `event_is_due`.

    Raises LookupError if there is no such budget. None of the rows is locked.
    """
    asked = {"budgets": [name, *sorted(beside)], **given}
    rows = connection.execute(_first_questions(event_is_due), asked).all()
    states = {row.budget: _state(row[:-3]) for row in rows}
    known, seen = _held(connection).setdefault(name, _Held()), states.pop(name)
    if not known.is_locked or known.state is None:
        known.state = seen
    return FirstAnswers(known.state, rows[0].stopped, rows[0].event_is_due, states)


@cache
def _first_questions(event_is_due: sa.Exists) -> sa.Select[Any]:
    asked = [Budget.name.label("budget"), EVERYTHING_IS_STOPPED.label("stopped"), event_is_due.label("event_is_due")]
    return sa.select(*_COLUMNS, *asked).where(Budget.name.in_(sa.bindparam("budgets", expanding=True)))


def to_claim(
    connection: sa.Connection, rule: BudgetRule, *, now: datetime, reach: timedelta, lease: timedelta
) -> BudgetState:
    """The budget's state to claim by.

    The row is locked only while the account recovers from a pause or a stop, since then one worker alone may make the
    call that goes first; when no credit is left for now; or to remove times that cannot be true, which is logged. The
    times of an account without limits are not used.
    """
    true = partial(clamp_future_times, rule=rule, now=now, reach=reach, probe_for=lease)
    state = read(connection, rule.name)
    if not is_locked(connection, rule.name):
        recovers = state.pauses > 0 or state.stopped_at is not None or state.pace.rate is not None
        doubtful = rule.paces and true(state) != state
        if not (recovers or calls_left(state, rule, now=now) == 0 or doubtful):
            return state
        state = read(connection, rule.name, lock=True)
    after = true(state)
    if after != state:
        times = [time for time in (state.next_at, state.probe_until) if time is not None]
        log.warning(
            "%s: the next call was planned for %s, later than its limit makes it wait (a process had a wrong clock, or"
            " the limit was raised): it is planned anew",
            rule.called,
            written(max(times)),
        )
        save(connection, rule.name, after)
    return after


def reserve(
    connection: sa.Connection, rule: BudgetRule, state: BudgetState, granted: Grant, claimed: int, **how: Any
) -> None:
    """Store the claimed part of the grant; `how` as for `after_claim`."""
    after = after_claim(state, rule, granted, claimed, **how)
    if after == state:
        return
    save(connection, rule.name, after)
    if after.pace.rate != state.pace.rate:
        # Log at INFO when a rate was found, lowered or removed. The many small steps up go to DEBUG.
        step_up = state.pace.rate is not None and after.pace.rate is not None and after.pace.rate > state.pace.rate
        level = logging.DEBUG if step_up else logging.INFO
        found, limits = found_in_words(rule, after), ", ".join(map(str, rule.limits)) or "no limit"
        log.log(level, "%s: %s configured, %s found", rule.name, limits, found or "none below that")


def release_slots(connection: sa.Connection, rule: BudgetRule, slots: Sequence[datetime]) -> None:
    """Release reserved slots in which no call was made, unless later slots are reserved already."""
    if not slots:
        return
    state = read(connection, rule.name)
    if after_release(state, rule, slots) != state:  # mostly later slots are reserved: the row stays unlocked
        state = read(connection, rule.name, lock=True)
        save(connection, rule.name, after_release(state, rule, slots))


def measure(connection: sa.Connection, rule: BudgetRule, stretch: Stretch, *, now: datetime) -> None:
    """Add a busy stretch that ended now to the measured pace, as the transaction ends: claims wait for the row."""

    def add(connection: sa.Connection) -> None:
        state = read(connection, rule.name, lock=True)
        save(connection, rule.name, replace(state, measured=with_stretch(state.measured, stretch, now=now)))

    tally.of(connection).last.append(add)


def apply_outcomes(
    connection: sa.Connection,
    rule: BudgetRule,
    call_outcomes: Iterable[CallOutcome],
    *,
    now: datetime,
    refund: bool = True,
) -> None:
    """Apply the outcomes of calls to the budget, and refund the credits of calls that cost none.

    `refund` False: the calls took no credit, so none is refunded.
    """
    call_outcomes = list(call_outcomes)
    if not call_outcomes:
        return
    before = read(connection, rule.name)
    succeeded = all(outcome.problem is None for outcome in call_outcomes)
    if succeeded and before.is_well and not before.pace.refused:
        return  # nearly every flush: a success shows nothing new
    free = (at for at, one in call_outcomes if one is not None and (one.unreachable or one.kind in FREE))
    refunds = Counter(map(day_of, free)) if refund else Counter[date]()
    if not refunds and after_outcomes(before, rule, call_outcomes, now=now) == before:
        return  # nothing new: the row is neither locked nor written
    before = read(connection, rule.name, lock=True)
    after = after_outcomes(before, rule, call_outcomes, now=now)
    save_turn(connection, rule, before, refunded(after, rule, refunds, now=now) if refunds else after)


def save_turn(connection: sa.Connection, rule: BudgetRule, before: BudgetState, after: BudgetState) -> None:
    """Save the state, and log the beginning and the end of an outage and of a stop."""
    save(connection, rule.name, after)
    if after.stopped_at is not None:
        turn = f"stopped: {after.stop_reason}" if before.stopped_at is None else ""
    elif after.opened_at is not None:
        turn = f"paused: {after.pause_reason}" if before.opened_at is None else ""
    else:
        turn = "answers again" if before.opened_at is not None or before.stopped_at is not None else ""
    if turn:
        log.warning("%s: %s", rule.called, turn)


def end_probe(connection: sa.Connection, rule: BudgetRule, not_made: Iterable[Any]) -> None:
    """Allow another probe now, if one of these claimed rows, whose calls are not made, was to find out whether a pause
    or a stop is over."""
    if not any(row.probe for row in not_made):
        return
    state = read(connection, rule.name, lock=True)
    if state.probe_until is not None:
        # The claim of the probe has moved a stop's next one on (`after_claim`).
        asks_at_once = state.stopped_at if state.asks_again_at is not None else None
        save(connection, rule.name, replace(state, probe_until=None, asks_again_at=asks_at_once))


# Credits: counted, spent up to a cap, given back.


def count_credits(connection: sa.Connection, rule: BudgetRule, spent: int, *, now: datetime) -> None:
    """Count credits of an account without a cap: a cap that is set later covers what was bought before."""
    if not spent:
        return
    known, day = _held(connection).get(rule.name), day_of(now)
    if known is not None and known.is_locked and known.state is not None:
        save(connection, rule.name, with_credits(known.state, {day: spent}, now=now))
    else:
        begins = {f"{name}_from": begin_of(period, day) for name, period in _COUNTED_FROM.items()}
        given = {"budget": rule.name, "spent": spent, "day": day, **begins}
        connection.execute(_COUNT, given, execution_options=UNANSWERED)


def count_earlier_credits(
    connection: sa.Connection, rule: BudgetRule, spent: Mapping[date, int], *, now: datetime
) -> None:
    """Count credits of calls of these days, which had been refunded."""
    if spent:
        state = read(connection, rule.name, lock=True)
        save(connection, rule.name, with_credits(state, spent, now=now))


def spend_credits(connection: sa.Connection, rule: BudgetRule, wanted: int, *, now: datetime) -> int:
    """Count up to `wanted` credits as used. Returns how many the caps allow. At the cap on all the account stops."""
    state = read(connection, rule.name, lock=True)
    left = calls_left(state, rule, now=now)
    allowed = wanted if left is None else min(wanted, left)
    after = with_credits(state, {state.spent.day_at(now): allowed}, now=now) if allowed else state
    stops = allowed < wanted and credits_left(after, rule) == 0
    save_turn(connection, rule, state, at_cap(after, rule, now=now) if stops else after)
    return allowed


def stop_at_cap(connection: sa.Connection, rule: BudgetRule, *, now: datetime) -> None:
    """Stop the account if its credit cap allows no further call. Call this when due rows wait for a call."""
    state = read(connection, rule.name, lock=True)
    if credits_left(state, rule) == 0:
        save_turn(connection, rule, state, at_cap(state, rule, now=now))


def refund(connection: sa.Connection, rule: BudgetRule, calls: Mapping[date, int], *, now: datetime) -> None:
    """Refund the credits of calls that were written down but not made, by the day of the credit."""
    if calls:
        save(connection, rule.name, refunded(read(connection, rule.name, lock=True), rule, calls, now=now))


class Budgets:
    """The budgets for the other packages. Each method has a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def everything_is_stopped(self) -> bool:
        """Whether a person has stopped everything."""
        return bool(self._database.value(_STOPPED))

    def ensure(self, names: Iterable[str]) -> None:
        """Insert the missing rows."""
        known = {row.name for row in self._database.rows(sa.select(Budget.name))}
        new = dict(zip(_NAMES, _IN_ORDER(BudgetState()), strict=True))
        missing = [{"name": name, **new} for name in sorted(set(names) - known)]
        if missing:
            with self._database.write() as connection:
                # Two workers may start at the same moment: the second worker keeps the first worker's row.
                connection.execute(insert(Budget, connection.dialect.name).on_conflict_do_nothing(), missing)

    def lift_stops_at_caps(self, rules: Iterable[BudgetRule]) -> None:
        """End the stops at caps that the configuration has raised or taken out since."""
        states = self.all()
        for rule in {rule.name: rule for rule in rules}.values():
            if rule.name in states and under_cap(states[rule.name], rule) != states[rule.name]:
                with self._database.write() as connection:
                    save(connection, rule.name, under_cap(read(connection, rule.name, lock=True), rule))

    def all(self) -> Mapping[str, BudgetState]:
        return {row.budget: _state(row[:-1]) for row in self._database.rows(_ALL)}

    def mark_unverified(self, names: Iterable[str]) -> None:
        """Open no session for these senders' messages until they have answered once."""
        for name in names:
            with self._database.write() as connection:
                save(connection, name, replace(read(connection, name, lock=True), unproven=True))

    def is_unverified(self, name: str, *, now: datetime) -> bool:
        """Whether this sender is to be tried now: it has not answered, and is neither paused nor stopped."""
        with self._database.read() as connection:
            state = read(connection, name)
        return state.unproven and not is_stopped(state, now=now) and state.paused_until(now) is None

    def record_log_in(self, rule: BudgetRule, outcome: CallOutcome, *, now: datetime) -> None:
        """Store what a log-in without a message has shown."""
        with self._database.write() as connection:
            if outcome.problem is not None:
                apply_outcomes(connection, rule, [outcome], now=now, refund=False)
            else:
                before = read(connection, rule.name, lock=True)
                save_turn(connection, rule, before, mark_verified(before))

    def resume(self, name: str, *, by_person_at: datetime | None = None) -> list[str]:
        """Resume a stopped budget, with one call that goes first. Returns what was ended: "stop", "pause", or nothing.

        `by_person_at` is the time now where an operator resumes: this ends a pause as well, and also a stop of which
        only a person can know that its cause is gone.
        """
        with self._database.read() as connection:
            if not _in_the_way(read(connection, name), by_person_at):
                return []
        with self._database.write() as connection:
            state = read(connection, name, lock=True)
            ended = _in_the_way(state, by_person_at)
            if ended:
                after = resumed(state, pauses_too=by_person_at is not None)
                # What is reported of earlier messages says nothing about the corrected set-up.
                if by_person_at is not None and state.lost_since is not None:
                    after = replace(after, lost=0, lost_since=by_person_at)
                save(connection, name, after)
                if by_person_at is not None:
                    note(connection, f"budget {name}", now=by_person_at, reason=f"{' and '.join(ended)} ended")
        return ended


def _in_the_way(state: BudgetState, by_person_at: datetime | None) -> list[str]:
    """What a resumption ends: a stop; by a person a pause too."""
    now = by_person_at
    stopped = state.stopped_at is not None and (now is not None or tries_again_by_itself(state.stop_reason))
    paused = now is not None and state.paused_until(now) is not None
    return ["stop"] * stopped + ["pause"] * paused
