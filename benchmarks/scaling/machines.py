"""What many processes share: processors, the log of the database, a locked row. Each counts how long it was in use."""

import asyncio
import heapq
from dataclasses import dataclass, field


def _now() -> float:
    return asyncio.get_running_loop().time()


async def pause(seconds: float) -> None:
    """Let time pass that no resource spends."""
    if seconds > 0:
        await asyncio.sleep(seconds)


class Cores:
    """Processors that all running jobs share evenly; one job uses at most one core."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._busy = 0.0
        self._served = 0.0  # processor seconds that a job got which is here from the beginning
        self._at = 0.0
        self._jobs: list[tuple[float, int, asyncio.Future[None]]] = []
        self._given = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> float:
        """Processor seconds until now."""
        self._advance()
        return self._busy

    async def work(self, seconds: float) -> None:
        """Wait for so many processor seconds."""
        if seconds <= 0:
            return
        self._advance()
        done = asyncio.get_running_loop().create_future()
        self._given += 1
        heapq.heappush(self._jobs, (self._served + seconds, self._given, done))
        self._plan()
        await done

    def _advance(self) -> None:
        now = _now()
        if self._jobs:
            running = min(len(self._jobs), self._count)
            self._busy += (now - self._at) * running
            self._served += (now - self._at) * running / len(self._jobs)
        self._at = now

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._jobs:
            left = max(self._jobs[0][0] - self._served, 0) * max(len(self._jobs) / self._count, 1)
            self._timer = asyncio.get_running_loop().call_later(left, self._end)

    def _end(self) -> None:
        self._advance()
        while self._jobs and self._jobs[0][0] <= self._served + 1e-9:
            heapq.heappop(self._jobs)[2].set_result(None)
        self._plan()


class OneCore:
    """The core of one worker process. All its work is done on one loop, in turn: calls, and parts of transactions."""

    def __init__(self) -> None:
        self.busy = 0.0
        self._free_at = 0.0  # when all work so far is done

    def work(self, seconds: float) -> float:
        """Do some work; returns the seconds until it is done."""
        now = _now()
        self.busy += seconds
        self._free_at = max(self._free_at, now) + seconds
        return self._free_at - now


class Log:
    """The write-ahead log: one fsync at a time, and transactions that commit meanwhile share the next one."""

    def __init__(self, fsync: float) -> None:
        self._fsync = fsync
        self._writing = False
        self._next: asyncio.Future[None] | None = None
        self.busy = 0.0

    async def commit(self) -> None:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        mine = self._next
        if not self._writing:
            self._begin(mine)
        await mine

    def _begin(self, written: asyncio.Future[None]) -> None:
        self._next, self._writing = None, True
        asyncio.get_running_loop().call_later(self._fsync, self._end, written)

    def _end(self, written: asyncio.Future[None]) -> None:
        self.busy += self._fsync
        self._writing = False
        written.set_result(None)
        if self._next is not None:
            self._begin(self._next)


@dataclass
class LockedRow:
    """A row that transactions lock until they commit, first come, first served."""

    waits: list[float] = field(default_factory=list)  # seconds, of each lock
    held: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _since: float = 0.0

    async def lock(self) -> None:
        asked = _now()
        await self._lock.acquire()
        self._since = _now()
        self.waits.append(self._since - asked)

    def release(self) -> None:
        self.held += _now() - self._since
        self._lock.release()
