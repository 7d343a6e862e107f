"""One simulated list: so many workers, one limit, one database. Runs it and returns its figures.

A long list is not played row by row. Once some stretches of time, one after the other, have the same pace, most of what
is due is left out, and its time is that pace's. The end of the list is played again.
"""

import asyncio
import itertools
import math
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from benchmarks.processes import Failed
from benchmarks.scaling.account import Account
from benchmarks.scaling.costs import Costs
from benchmarks.scaling.machines import Cores, Log, pause
from benchmarks.scaling.work import Calls, Database, Process
from tests.simulated.virtual_time import VirtualLoop
from worker.domain.limits.budgets import BudgetRule
from worker.domain.limits.rate_limits import Limit
from worker.engine.runner import LONGEST_DISPATCH, tune_gc
from worker.runtime.celery_settings import SWEEP_SECONDS
from worker.store.base.database import LOCK_SECONDS

WARM_UP = 3.0  # seconds that are not measured: workers begin within the first two
LEAST, MOST = 1.0, 3.0  # seconds of a measured stretch
MANY_CALLS = 30_000  # a stretch is shorter than MOST where that many calls end sooner
FEW_CALLS = 60  # and longer until so many calls end
SAME = 3  # stretches that must have the same pace, one after the other
STEADY = 0.02  # paces that differ by less are the same
LONGEST = 30.0  # simulated seconds until a pace that does not settle is taken as it is
TAIL = 1.0  # seconds at that pace that are left of the list
PATIENCE = 600.0  # simulated seconds after which a list without its end is a mistake of the model
DEFAULT_CONCURRENCY = 50
PERMITS_OF_A_WORKER = 1000


@dataclass(frozen=True)
class Cell:
    """What is simulated. `limit`: of all accounts together; None: no limit. `latency`: seconds, on average.

    `concurrency`: calls in flight, of all workers; None: enough (`enough`). `budgets`: accounts among which the rows,
    the limit and the workers are divided. `horizon`: instead of the dispatchers' own.
    """

    workers: int
    limit: Limit | None = None
    rows: int = 10_000_000
    concurrency: int | None = None
    latency: float = 0.1
    cores: int = 16
    budgets: int = 1
    horizon: timedelta | None = None
    seed: int = 7
    costs: Costs = field(default_factory=Costs)

    @property
    def rate(self) -> float | None:
        """Calls per second that the limit allows."""
        return None if self.limit is None else self.limit.count / self.limit.period.total_seconds()

    @property
    def permits(self) -> int:
        return self.concurrency if self.concurrency is not None else enough(self.workers, self.rate, self.latency)


def enough(workers: int, rate: float | None, latency: float) -> int:
    """Twice the calls that are in flight at the limit; at most a thousand a worker, and at least the default."""
    most = PERMITS_OF_A_WORKER * workers
    return max(most if rate is None else min(math.ceil(2 * rate * latency), most), DEFAULT_CONCURRENCY)


@dataclass(frozen=True)
class Moment:
    """What was counted until now. `waits`: how many locks of each budget's row."""

    at: float
    calls: int
    worker: float
    database: float
    transactions: int
    rows_written: int
    log: float
    held: float
    waits: tuple[int, ...]


class World:
    """The parts of a cell. For one loop, made on it."""

    def __init__(self, cell: Cell, loop: VirtualLoop) -> None:
        self.cell = cell
        self.loop = loop
        self.chance = random.Random(cell.seed)
        self.database = Database(cell.costs, Cores(cell.cores), Log(cell.costs.fsync))
        # Half of an answer's time is the same for all.
        self.calls = Calls(lambda: cell.latency / 2 * (1 + self.chance.expovariate(1)))
        self.accounts = [self._account(index) for index in range(cell.budgets)]
        self.processes = [
            Process(f"worker {index:03}", account, self.database, self.calls, loop.clock)
            for index, account in zip(range(cell.workers), itertools.cycle(self.accounts), strict=False)
        ]

    def _account(self, index: int) -> Account:
        cell = self.cell
        limits = () if cell.limit is None else (Limit(cell.limit.count // cell.budgets, cell.limit.period),)
        rule = BudgetRule(f"account {index}", limits, concurrency=-(-cell.permits // cell.budgets))
        rows = cell.rows // cell.budgets + (index < cell.rows % cell.budgets)
        return Account(rule, rows, self.chance, cell.horizon)

    def now(self) -> Moment:
        return Moment(
            self.loop.time(),
            self.calls.ended,
            sum(process.core.busy for process in self.processes),
            self.database.cores.busy,
            self.database.transactions,
            self.database.rows_written,
            self.database.log.busy,
            sum(account.row.held for account in self.accounts),
            tuple(len(account.row.waits) for account in self.accounts),
        )

    @property
    def gives_up(self) -> bool:
        """Whether a lock took longer than the database waits for one. What follows in a worker is not in the model."""
        return any(wait > LOCK_SECONDS for account in self.accounts for wait in account.row.waits[-1000:])

    async def end(self) -> float:
        """Wait until all results are stored; returns when that was."""
        await asyncio.gather(*(account.finished.wait() for account in self.accounts))
        return self.loop.time()

    async def begin(self, process: Process, stopping: asyncio.Event) -> None:
        await pause(self.chance.random() * 2)
        await process.run(stopping, longest=LONGEST_DISPATCH, tick=SWEEP_SECONDS)


def simulate(cell: Cell, *, whole: bool = False) -> dict[str, Any]:
    """The figures of a cell. `seconds` None: locks are not granted in time, and the list has no end.

    `whole`: play the whole list. Raises Failed for a list that is too short or has no end.
    """
    tune_gc()
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_played(cell, loop, whole=whole))
    finally:
        loop.close()


async def _played(cell: Cell, loop: VirtualLoop, *, whole: bool) -> dict[str, Any]:
    world, stopping = World(cell, loop), asyncio.Event()
    running = [asyncio.create_task(world.begin(process, stopping)) for process in world.processes]
    end = asyncio.create_task(world.end())
    try:
        measured = [moment async for moment in _stretches(world, end, whole=whole)]
        gives_up = world.gives_up and not whole
        if gives_up:
            measured.append(world.now())
        if len(measured) < 2:
            raise Failed(f"{cell}: the list is too short to be measured")
        # A pace that does not settle has the mean of its second half.
        first = 0 if whole else max(min(len(measured) // 2, len(measured) - 1 - SAME), 0)
        steady = _between(world, measured[first], measured[-1])
        # A stretch holds a call more or less than the limit allows: over the whole list that evens out.
        skipped = 0.0 if whole else _leave_out(world, min(steady["rate"], cell.rate or math.inf), keep=not gives_up)
        async with asyncio.timeout(None if whole else PATIENCE):
            ended_at = await end
    except TimeoutError:
        raise Failed(f"{cell}: rows are left after {PATIENCE:.0f} s") from None
    finally:
        end.cancel()
        stopping.set()
        await asyncio.gather(*running)
    seconds = None if gives_up else ended_at + skipped
    return {"seconds": seconds, "played": ended_at, "workers": cell.workers, "permits": cell.permits, **steady}


async def _stretches(world: World, end: "asyncio.Task[float]", *, whole: bool) -> AsyncIterator[Moment]:
    """Moments, one stretch apart, until the pace is steady; of a whole list as long as rows are due."""
    await pause(WARM_UP)
    before = world.calls.ended
    await pause(LEAST)
    pace = max((world.calls.ended - before) / LEAST, 1.0)
    stretch = max(min(max(MANY_CALLS / pace, LEAST), MOST), FEW_CALLS / pace)
    moments = [world.now()]
    yield moments[0]
    while True:
        await pause(stretch)
        over = end.done() or any(not account.due for account in world.accounts)
        if over or (world.gives_up and not whole):
            return
        moments.append(world.now())
        yield moments[-1]
        if not whole and len(moments) > SAME and (moments[-1].at > LONGEST or _is_steady(moments[-1 - SAME :])):
            return


def _is_steady(moments: Sequence[Moment]) -> bool:
    paces = [(after.calls - before.calls) / (after.at - before.at) for before, after in itertools.pairwise(moments)]
    return max(paces) - min(paces) <= STEADY * max(paces)


def _leave_out(world: World, rate: float, *, keep: bool) -> float:
    """Take most of what is due out of the lists. Returns the seconds that it would have taken. `keep`: leave a tail."""
    tail = math.ceil(rate * TAIL / len(world.accounts)) + 1 if keep else 0
    left_out = 0
    for account in world.accounts:
        rows = max(account.due - tail, 0)
        account.leave_out(rows)
        left_out += rows
    return left_out / rate if rate else math.inf


def _between(world: World, first: Moment, last: Moment) -> dict[str, Any]:
    cell, seconds = world.cell, last.at - first.at
    waits = sorted(
        wait
        for account, begin, end in zip(world.accounts, first.waits, last.waits, strict=True)
        for wait in account.row.waits[begin:end]
    )
    rate = (last.calls - first.calls) / seconds
    return {
        "rate": rate,
        "used": rate / cell.rate if cell.rate else None,
        "worker_cores": (last.worker - first.worker) / seconds,
        "database_cores": (last.database - first.database) / seconds,
        "transactions": (last.transactions - first.transactions) / seconds,
        "rows_written": (last.rows_written - first.rows_written) / seconds,
        "log": (last.log - first.log) / seconds,
        "held": (last.held - first.held) / seconds / cell.budgets,
        "in_flight": rate * cell.latency / cell.permits,
        "wait_p50": _percentile(waits, 0.5),
        "wait_p99": _percentile(waits, 0.99),
    }


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
