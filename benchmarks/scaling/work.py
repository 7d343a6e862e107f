"""The work of one simulated worker process: its calls, and the transactions of its flushes.

The dispatcher is the worker's own. It gives each flush to `Process.in_turn`, which lets the time of the transaction
pass: processor time of worker and database, round trips, the wait for the budget's row, the commit.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.scaling.account import LEASE, Account
from benchmarks.scaling.costs import Costs, Part
from benchmarks.scaling.machines import Cores, LockedRow, Log, OneCore, pause
from worker.domain.limits.concurrency import ASK_AGAIN, Share
from worker.domain.limits.measured_pace import Stretch
from worker.domain.limits.rate_limits import spacing
from worker.engine.dispatch.dispatcher import Dispatcher
from worker.engine.store_calls import CALLS_OF_A_BUDGET
from worker.foundation.clock import Clock
from worker.http.messages import MayWrite
from worker.store.limits.claims import Room
from worker.store.limits.flush import Flushed


@dataclass(frozen=True)
class Opened:
    """A row under a lease. `is_made` is for results: whether its call was made."""

    lease_until: datetime
    is_made: bool = True
    is_event: bool = False


@dataclass
class Database:
    """The one server. Counts transactions that wrote something, and the versions of rows that they wrote."""

    costs: Costs
    cores: Cores
    log: Log
    transactions: int = 0
    rows_written: int = 0


@dataclass
class Calls:
    """The provider: how long an answer takes, and how many came."""

    latency: Callable[[], float]
    ended: int = 0
    in_flight: int = 0


class Process:
    """One worker process with a dispatcher for the account. It is the dispatcher's `Work`."""

    longest_call = timedelta(seconds=15)
    has_next_step = False

    def __init__(self, name: str, account: Account, database: Database, calls: Calls, clock: Clock) -> None:
        self.name = name
        self.permits = account.rule.concurrency
        self._spacing = spacing(account.rule.limits)
        self.core = OneCore()
        self._account = account
        self._database = database
        self._calls = calls
        self._clock = clock
        self.database_time: Callable[[], datetime] | None = clock
        self._share: tuple[Share, datetime] | None = None  # and when the permits were last read
        self._turns = asyncio.Semaphore(CALLS_OF_A_BUDGET)

    # The dispatcher's `Work`.

    def flush(
        self,
        results: Sequence[Opened],
        room: Room | None,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[Opened]:
        raise NotImplementedError("a flush takes time: `in_turn` makes it")

    async def call(self, opened: Opened, now: datetime, may_write: MayWrite, /) -> Opened:
        may_write(False)
        costs, calls = self._database.costs, self._calls
        calls.in_flight += 1
        await pause(self.core.work(costs.call + costs.rest) + calls.latency())
        calls.in_flight -= 1
        calls.ended += 1
        return opened

    def item(self, opened: Opened) -> Opened:
        return opened

    def not_made(self, opened: Opened) -> Opened:
        return Opened(opened.lease_until, is_made=False)

    def made(self, result: Opened) -> bool:
        return result.is_made

    def crashed(self, opened: Opened, error: Exception) -> Opened:
        raise error

    def kept_nothing(self, result: Opened, kind: str) -> Opened:
        raise AssertionError(kind)

    def halts(self, result: Opened) -> bool:
        return False

    def release(self, opened: Sequence[Opened]) -> None:
        self._account.release(len(opened))

    def release_permits(self) -> None:
        self._account.held.pop(self.name, None)
        self._share = None

    # Its transactions.

    async def run(self, stopping: asyncio.Event, *, longest: timedelta, tick: float) -> None:
        """Work while rows are due, each time for at most `longest`; a wake-up comes each `tick` seconds."""
        while not stopping.is_set():
            more = await Dispatcher(
                self,
                clock=self._clock,
                in_turn=self.in_turn,
                stopping=stopping,
                longest=longest,
                wake_others=lambda: None,
            ).run()
            if not more:
                await pause(tick)

    async def in_turn(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Let the time of a call to the store pass, and make it."""
        costs = self._database.costs
        async with self._turns:
            if function == self.flush:
                return await self._transaction(*arguments)
            if function == self._clock:
                await self._do(costs.time_check)
            else:
                await self._do(costs.commit)
                await self._database.log.commit()
            return function(*arguments)

    async def _transaction(
        self,
        results: Sequence[Opened],
        room: Room | None,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[Opened]:
        """A flush, in the order of `store.limits.flush`."""
        account = self._account
        now = self._clock()  # the store reads the time once, before it waits for a lock
        lock = Held(account.row)
        if results:
            await self._record(len(results), stretch, lock)
        account.release_slots(unused)
        flushed: Flushed[Opened] = Flushed()
        if room is not None:
            flushed = await self._claim(room, await self._permits(room, lock, now), lock, now)
        await self._commit(results, lock)
        costs, made = self._database.costs, sum(result.is_made for result in results)
        account.stored(made)
        account.release(len(results) - made)
        written = made * costs.rows_of_a_result + len(flushed.opened) * costs.rows_of_a_claim
        self._database.rows_written += written
        return flushed

    async def _record(self, results: int, stretch: Stretch | None, lock: "Held") -> None:
        costs = self._database.costs
        await self._do(costs.results, results)
        if stretch is not None:
            await self._do(costs.budget)
            await lock.take()
            await self._do(costs.reserve)

    async def _permits(self, room: Room, lock: "Held", now: datetime) -> Share:
        """Read the permits now and then; change or renew them under the lock on the budget's row."""
        costs, account = self._database.costs, self._account
        if self._share is not None and self._share[1] <= now < self._share[1] + ASK_AGAIN:
            return self._share[0]
        await self._do(costs.permits, len(account.held))
        granted, is_kept = account.share_of(self.name, room.busy, now)
        if not is_kept:
            await lock.take()
            granted, _ = account.share_of(self.name, room.busy, now)
            account.keep(self.name, granted, now)
            await self._do(costs.renewal, len(account.held))
            self._database.rows_written += 2
        self._share = granted, now
        return granted

    async def _claim(self, room: Room, permits: Share, lock: "Held", now: datetime) -> Flushed[Opened]:
        """Read the budget, lease rows, reserve their slots, write their attempts and count the credits."""
        costs, account = self._database.costs, self._account
        if permits.use < max(room.busy, 1):  # no row is claimed, and the budget's row is not read
            return Flushed((), account.claim(room, permits, now).again_at, permits.use)
        await self._do(costs.budget)
        seen = account.seen(room, permits, now)
        if seen or not account.is_limited:
            await self._do(costs.claim, seen)
        if seen and account.is_limited:
            await lock.take()
            await self._do(costs.budget)
        granted = account.claim(room, permits, now)
        rows = granted.rows
        if rows and account.is_limited:
            await self._do(costs.reserve)
        if rows:
            await self._do(costs.attempts, rows)
            await lock.take()  # it is locked already if the account has limits
            await self._do(costs.credits)
            self._database.rows_written += 1
        opened = [Opened(now + LEASE)] * rows
        shared = not permits.alone
        return Flushed(opened, granted.again_at, permits.use, granted.slots, spacing=self._spacing, shared=shared)

    async def _commit(self, results: Sequence[Opened], lock: "Held") -> None:
        await self._do(self._database.costs.commit)
        if results or lock.is_taken:  # else nothing was written
            await self._database.log.commit()
            self._database.transactions += 1
        lock.release()

    async def _do(self, part: Part, rows: int = 0) -> None:
        costs = self._database.costs
        await pause(self.core.work(part.worker + rows * part.worker_row))
        await pause(part.trips * costs.round_trip)
        await self._database.cores.work(part.database + rows * part.database_row)


class Held:
    """The lock of one transaction on the budget's row, which it may take several times and keeps until it commits."""

    def __init__(self, row: LockedRow) -> None:
        self._row = row
        self.is_taken = False

    async def take(self) -> None:
        if not self.is_taken:
            await self._row.lock()
            self.is_taken = True

    def release(self) -> None:
        if self.is_taken:
            self._row.release()
            self.is_taken = False
