"""A dispatcher over rows in memory and a database whose calls take time."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from onboarding_worker.core.claim.claims import Room, share_out
from onboarding_worker.core.claim.flush import Flushed, UnknownFlush
from onboarding_worker.core.claim.leases import ASK_AGAIN
from onboarding_worker.core.dispatch.dispatcher import Dispatcher
from onboarding_worker.core.dispatch.prefetch import EVENTS_AHEAD
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.metrics import WorkMeter
from onboarding_worker.core.rules.limits import Limit, offer, spacing, unused
from tests.simulated.virtual_time import VirtualClock

MINUTE = timedelta(minutes=1)
EVENTS = 1000  # rows with this number and above are events
UNREACHABLE = sa.exc.OperationalError("UPDATE", None, Exception("connection refused"))
BAD_ROW = sa.exc.IntegrityError("INSERT", None, Exception("unique"))


@dataclass(frozen=True)
class Row:
    number: int
    lease_until: datetime
    is_event: bool = False
    call_before: datetime | None = None


@dataclass(frozen=True)
class Result:
    number: int
    what: str

    @property
    def called(self):
        return self.what != "not made"

    @property
    def problem(self):
        return Problem(Kind.AUTH, "") if self.what in ("halt", "blip") else None


@dataclass
class Rows:
    """Work whose rows are numbers. `log` has all that happened, in order, as (what, number)."""

    clock: VirtualClock
    waiting: list[int]
    permits: int = 10
    name: str = "rows"
    longest_call: timedelta = timedelta(seconds=10)
    lease: timedelta = MINUTE
    has_next_step: bool = True
    database_time: Callable[[], datetime] | None = None
    limit: Limit | None = None
    day_ends: datetime | None = None  # of the credits that calls take
    horizon: timedelta = timedelta(0)  # at least
    # Seconds from now until there is a connection, where none is kept; None: calls need none.
    connecting: Callable[[], float] | None = None
    connections: int = 0  # kept, and not in use
    closes: bool = False  # the provider closes each connection after its answer
    latency: dict[int, float] = field(default_factory=dict)  # seconds; 0.05 for all other rows
    # "halt", "blip" (a halt that is over at once), "break"; "done" for all other rows
    answers: dict[int, str] = field(default_factory=dict)
    may_not: set[int] = field(default_factory=set)  # rows whose next calls find that they may not be made
    finish_errors: list[Exception] = field(default_factory=list)
    lost_answers: int = 0  # of the next flushes that open rows
    lost_releases: int = 0  # the next flushes that release slots, and whose answers are lost
    bad_rows: set[int] = field(default_factory=set)  # whose results cannot be written
    bad_row: Exception = BAD_ROW  # what writing such a result raises
    log: list[tuple[str, int]] = field(default_factory=list)
    begun: list[datetime] = field(default_factory=list)
    slots: list[datetime] = field(default_factory=list)  # as they were reserved
    unused: list[datetime] = field(default_factory=list)  # released
    written: dict[int, datetime] = field(default_factory=dict)
    halted: bool = False  # as the database has it
    next_at: datetime | None = None
    calls: int = 0
    most_calls: int = 0
    unknown: int = 0  # attempts that are written, and their results are not
    most_unknown: int = 0
    most_waiting: int = 0  # opened rows beyond those that get a free permit at once
    most_opened: int = 0  # and with those
    most_unwritten: int = 0  # results
    chunks: list[int] = field(default_factory=list)
    claims: list[int] = field(default_factory=list)
    flushes: list[tuple[int, Room | None]] = field(default_factory=list)  # (results, room)
    permits_released: int = 0
    shares: list[tuple[float, int]] = field(default_factory=list)  # (seconds, permits from then on)

    @property
    def spacing(self):
        return spacing([self.limit] if self.limit else [])

    def flush(self, results, room, stretch=None, slots=()):
        now, before = self.clock(), len(self.log)
        self.release_slots(slots)
        if slots and self.lost_releases:
            self.lost_releases -= 1
            raise UNREACHABLE
        if results:
            answered = len(self.numbers("answer"))
            self.most_unwritten = max(answered - len(self.written), self.most_unwritten)
            self.finish(results, now)
        self.flushes.append((len(results), room))
        try:
            return Flushed() if room is None else self.claim(room, now)
        except ArithmeticError:  # a bug in the claim: the transaction is rolled back, with the results
            del self.log[before:]
            self.unknown += len(results)
            raise

    def claim(self, room, now):
        if self.halted:
            return Flushed(again_at=now + MINUTE)
        permits = next((share for since, share in reversed(self.shares) if since <= self.clock.elapsed), None)
        if permits is not None and permits < max(room.busy, 1):
            return Flushed(again_at=now + ASK_AGAIN, permits=permits)
        limits = [self.limit] if self.limit else []
        most = max(room.rows, room.events)
        begin, horizon = now + room.lead, max(self.horizon, room.horizon, 3 * room.lead)
        slots = offer(limits, next_at=self.next_at, most=most, now=begin, horizon=horizon + EVENTS_AHEAD)
        soon = min(slots.until(begin + horizon), room.rows)
        numbers, _, _ = share_out(slots.count, 0.5, soon=soon, events=self.pick(True), batches=self.pick(False))
        slots = replace(slots, count=len(numbers))
        if self.limit and numbers:
            self.next_at, _ = slots.reserved(len(numbers))
        self.claims.append(len(numbers))
        reserved = [slots.at(index) for index in range(len(numbers))] if self.limit else []
        self.slots += reserved
        again_at = (
            slots.again_at(slots.count, horizon=horizon, now=now + room.lead) - room.lead if self.waiting else None
        )
        before = self.day_ends if self.day_ends is not None and now < self.day_ends else None
        opened = [Row(number, now + self.lease, number >= EVENTS, before) for number in numbers]
        self.log += [("open", number) for number in numbers]
        self.chunks += [len(opened)] if opened else []
        self.unknown += len(opened)
        self.most_unknown = max(self.unknown, self.most_unknown)
        waiting = len(self.numbers("open")) - len(self.begun) - len(self.numbers("not made"))
        self.most_opened = max(waiting, self.most_opened)
        self.most_waiting = max(waiting - (self.permits - self.calls), self.most_waiting)
        if self.lost_answers and opened:
            self.lost_answers -= 1
            self.log.append(("lost", numbers[0]))
            raise UnknownFlush(opened, UNREACHABLE)
        return Flushed(opened, again_at, permits, reserved, spacing=self.spacing)

    def pick(self, events):
        def some(most):
            picked = [number for number in self.waiting if (number >= EVENTS) is events][:most]
            self.waiting = [number for number in self.waiting if number not in picked]
            return picked

        return some

    async def call(self, opened, now, may_write, /):
        number, waited = opened.number, False
        if self.connecting is not None:
            if self.connections:
                self.connections -= 1
            else:
                self.log.append(("connect", number))
                waited = await asyncio.sleep(self.connecting(), True)
        if number in self.may_not:
            self.may_not.remove(number)
            return self.skipped(opened)
        if not may_write(waited):
            self.connections += 1
            return Result(number, "not read")
        try:
            return await self.write(number)
        finally:
            self.connections += not self.closes

    async def write(self, number):
        self.log.append(("call", number))
        self.begun.append(self.clock())
        self.calls += 1
        self.most_calls = max(self.calls, self.most_calls)
        try:
            await asyncio.sleep(self.latency.get(number, 0.05))
            if self.answers.get(number) == "break":
                raise ZeroDivisionError("a bug, with maria@example.org in its text")
            self.log.append(("answer", number))
            return Result(number, self.answers.get(number, "done"))
        finally:
            self.calls -= 1

    def skipped(self, opened):
        self.log.append(("not made", opened.number))
        return Result(opened.number, "not made")

    def after_crash(self, opened, error):
        return Result(opened.number, type(error).__name__)

    def unsaved(self, result, kind):
        return Result(result.number, "kept nothing")

    def release_permits(self):
        self.permits_released += 1

    @property
    def delays(self):
        """Of the calls after the slots that were used."""
        used = sorted((Counter(self.slots) - Counter(self.unused)).elements())
        assert len(used) >= len(self.begun)  # one slot for each call
        return [begun - slot for begun, slot in zip(self.begun, used, strict=False)]

    def finish(self, results, now):
        if self.finish_errors:
            self.log.append(("unreachable", -1))
            raise self.finish_errors.pop(0)
        if self.bad_rows & {result.number for result in results if result.what != "kept nothing"}:
            raise self.bad_row
        for result in results:
            self.log.append((result.what, result.number))
            self.written[result.number] = now
            self.unknown -= 1
            self.halted |= result.what == "halt"
            if result.what == "not made":
                self.waiting.append(result.number)

    def release_slots(self, slots):
        assert set(slots) <= set(self.slots), "only reserved slots are released"
        self.unused += slots
        self.next_at, _ = unused(self.next_at, None, slots, interval=self.spacing)

    def release(self, opened):
        self.log += [("release", each.number) for each in opened]
        self.waiting += [each.number for each in opened]
        self.unknown -= len(opened)

    def numbers(self, what):
        return [number for happened, number in self.log if happened == what]


NOT_COUNTED = WorkMeter(*[lambda _: None] * 3)


@dataclass
class Bench:
    clock: VirtualClock
    stopping: asyncio.Event
    database_seconds: float = 0.01

    def rows(self, count, **how):
        return Rows(self.clock, list(range(count)), **how)

    def dispatcher(self, rows, *, longest=MINUTE, **how):
        given = {"clock": self.clock, "in_turn": self.in_thread, "stopping": self.stopping, "longest": longest}
        given |= {"wake_others": lambda: None, "stay": timedelta(0), "meter": NOT_COUNTED}
        return Dispatcher(rows, **{**given, **how})

    async def in_thread(self, function, *arguments):
        await asyncio.sleep(self.database_seconds)
        return function(*arguments)

    async def run(self, rows, **how):
        return await self.dispatcher(rows, **how).run()
