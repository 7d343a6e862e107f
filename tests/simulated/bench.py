"""A dispatcher over rows in memory and a database whose calls take time."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from tests.simulated.virtual_time import VirtualClock
from worker.domain.limits.concurrency import ASK_AGAIN
from worker.domain.limits.event_share import share_out
from worker.domain.limits.rate_limits import Limit, claim_again_at, offer, spacing, unused
from worker.engine.dispatch.contract import ClaimedRows, UnknownClaim
from worker.engine.dispatch.dispatcher import EVENTS_AHEAD, HORIZON, Dispatcher

MINUTE = timedelta(minutes=1)
EVENTS = 1000  # rows with this number and above are events
UNREACHABLE = sa.exc.OperationalError("UPDATE", None, Exception("connection refused"))
BAD_ROW = sa.exc.IntegrityError("INSERT", None, Exception("unique"))


@dataclass(frozen=True)
class Row:
    number: int
    lease_until: datetime
    is_event: bool = False


@dataclass(frozen=True)
class Opened:
    row: Row


@dataclass(frozen=True)
class Result:
    number: int
    what: str


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
    limit: Limit | None = None
    horizon: timedelta = HORIZON
    latency: dict[int, float] = field(default_factory=dict)  # seconds; 0.05 for all other rows
    answers: dict[int, str] = field(default_factory=dict)  # "halt", "break"; "done" for all other rows
    finish_errors: list[Exception] = field(default_factory=list)
    lost_answers: list[type[UnknownClaim]] = field(default_factory=list)  # of claims that opened rows
    bad_rows: set[int] = field(default_factory=set)  # whose results cannot be written
    bad_row: Exception = BAD_ROW  # what writing such a result raises
    unopenable: set[int] = field(default_factory=set)  # rows for which no attempt can be written
    log: list[tuple[str, int]] = field(default_factory=list)
    begun: list[datetime] = field(default_factory=list)
    slots: list[datetime] = field(default_factory=list)  # as they were reserved
    unused: list[datetime] = field(default_factory=list)  # given back
    written: dict[int, datetime] = field(default_factory=dict)
    halted: bool = False  # as the database has it
    next_at: datetime | None = None
    calls: int = 0
    most_calls: int = 0
    unknown: int = 0  # attempts that are written, and their results are not
    most_unknown: int = 0
    chunks: list[int] = field(default_factory=list)
    claims: list[int] = field(default_factory=list)
    permits_released: int = 0
    shares: list[tuple[float, int]] = field(default_factory=list)  # (seconds, permits from then on)

    @property
    def spacing(self):
        return spacing([self.limit] if self.limit else [])

    def claim(self, room):
        now = self.clock()
        busy = room.busy
        if self.halted:
            return ClaimedRows([], now + MINUTE)
        permits = next((share for since, share in reversed(self.shares) if since <= self.clock.elapsed), None)
        if permits is not None and permits < max(busy, 1):
            return ClaimedRows([], now + ASK_AGAIN, permits)
        limits = [self.limit] if self.limit else []
        most = max(room.rows, room.events)
        begin, horizon = now + room.lead, max(self.horizon, room.lead)
        slots = offer(limits, next_at=self.next_at, most=most, now=begin, horizon=horizon + EVENTS_AHEAD)
        soon = min(slots.until(begin + horizon), room.rows)
        numbers = share_out(slots.count, 0.5, soon=soon, events=self.pick(True), batches=self.pick(False)).rows
        slots = replace(slots, count=len(numbers))
        if self.limit:
            self.next_at = slots.end
        self.log += [("claim", number) for number in numbers]
        self.claims.append(len(numbers))
        rows = [Row(number, now + self.lease, number >= EVENTS) for number in numbers]
        reserved = [slots.at(index) for index in range(len(rows))] if self.limit else []
        self.slots += reserved
        again_at = claim_again_at(slots.end - room.lead, horizon=horizon, now=now) if self.waiting else None
        first = [row for row in rows if row.is_event][: room.attempts]
        opened = self.open(first, now) if first else []
        if self.lost_answers and opened:
            self.log.append(("lost", opened[0].row.number))
            raise self.lost_answers.pop(0)([item.row for item in opened])
        return ClaimedRows([row for row in rows if row not in first], again_at, permits, opened, reserved)

    def pick(self, events):
        def some(most):
            picked = [number for number in self.waiting if (number >= EVENTS) is events][:most]
            self.waiting = [number for number in self.waiting if number not in picked]
            return picked

        return some

    def open(self, items, now):
        if self.unopenable & {item.number for item in items}:
            raise ZeroDivisionError
        self.log += [("open", item.number) for item in items]
        self.chunks.append(len(items))
        if self.halted:
            self.waiting += [item.number for item in items]
            return []
        self.unknown += len(items)
        self.most_unknown = max(self.unknown, self.most_unknown)
        return [Opened(item) for item in items]

    async def call(self, opened):
        number = opened.row.number
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

    def item(self, opened):
        return opened.row

    def not_made(self, opened):
        self.log.append(("not made", opened.row.number))
        return Result(opened.row.number, "not made")

    def crashed(self, opened, error):
        return Result(opened.row.number, type(error).__name__)

    def kept_nothing(self, result, kind):
        return Result(result.number, "kept nothing")

    def hold(self, items, kind):
        self.log += [(f"hold {kind}", item.number) for item in items]

    def halts(self, result):
        return result.what == "halt"

    def release_permits(self):
        self.permits_released += 1

    @property
    def delays(self):
        """Of the calls after the slots that were used."""
        used = sorted((Counter(self.slots) - Counter(self.unused)).elements())
        assert len(used) >= len(self.begun)  # one slot for each call
        return [begun - slot for begun, slot in zip(self.begun, used, strict=False)]

    def flush(self, results, items, stretch=None, slots=()):
        now = self.clock()
        self.give_back(slots)
        if results:
            self.finish(results, now)
        return self.open(items, now) if items else []

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

    def give_back(self, slots):
        assert set(slots) <= set(self.slots), "only reserved slots are given back"
        self.unused += slots
        self.next_at = unused(self.next_at, slots, interval=self.spacing)

    def release(self, items, slots=()):
        self.give_back(slots)
        self.log += [("release", item.number) for item in items]
        self.waiting += [item.number for item in items]

    def numbers(self, what):
        return [number for happened, number in self.log if happened == what]


@dataclass
class Bench:
    clock: VirtualClock
    stopping: asyncio.Event
    database_seconds: float = 0.01

    def rows(self, count, **how):
        return Rows(self.clock, list(range(count)), **how)

    def dispatcher(self, rows, *, longest=MINUTE, **how):
        return Dispatcher(
            rows, clock=self.clock, in_thread=self.in_thread, stopping=self.stopping, longest=longest, **how
        )

    async def in_thread(self, function, *arguments):
        await asyncio.sleep(self.database_seconds)
        return function(*arguments)

    async def run(self, rows, **how):
        return await self.dispatcher(rows, **how).run()
