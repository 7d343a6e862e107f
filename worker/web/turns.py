"""What machines and senders share: places, which they take in turn, so that one that asks a hundred times waits
behind each that asks once; how many of each may be there at a time; and how much each may ask, as this process has
counted it."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager

from worker.core.limits.rate_limits import Limit

MOST_KNOWN = 10_000  # the one that came longest ago is forgotten


class Turns:
    """Belongs to one loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        # By machine, the one whose turn is next first. Somebody waits only while no place is free.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, machine: str) -> AsyncIterator[None]:
        """Hold a place while the block runs."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(machine)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, machine: str) -> None:
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(machine, deque()).append(called)
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled():  # the place was given, and nobody is there to take it
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            machine, queue = self._waiting.popitem(last=False)
            called = queue.popleft()
            if queue:
                self._waiting[machine] = queue
            if not called.cancelled():
                called.set_result(None)
                return
        self._free += 1


class TooMany(Exception):
    """Too many of one kind are there at this moment."""


class AtOnce:
    """So many of each kind at a time, and no more. Belongs to one loop."""

    def __init__(self, most: int) -> None:
        self._most, self._there = most, Counter[Hashable]()

    @contextmanager
    def one_of(self, kind: Hashable) -> Iterator[None]:
        """One of them, while the block runs. Raises TooMany."""
        if self._there[kind] >= self._most:
            raise TooMany
        self._there[kind] += 1
        try:
            yield
        finally:
            self._there[kind] -= 1
            if not self._there[kind]:
                del self._there[kind]


class Allowance:
    """A bucket for each sender: it holds what the limit allows in one period, and fills evenly. Times are monotonic."""

    def __init__(self, limit: Limit) -> None:
        self._most = float(limit.count)
        self._per_second = limit.count / limit.period.total_seconds()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by sender: what is left, and when

    def take(self, sender: str, now: float) -> float:
        """Count one event and return zero; or return after how many seconds it may post again."""
        left = self._filled(sender, now)
        taken = left >= 1
        self._keep(sender, left - 1 if taken else left, now)
        return 0.0 if taken else (1 - left) / self._per_second

    def spend(self, sender: str, count: int, now: float) -> None:
        """Count what came together with something that was counted. It may be more than is left: then the sender may
        post again once that has filled."""
        self._keep(sender, self._filled(sender, now) - count, now)

    def _filled(self, sender: str, now: float) -> float:
        left, at = self._left.pop(sender, (self._most, now))
        return min(self._most, left + (now - at) * self._per_second)

    def _keep(self, sender: str, left: float, now: float) -> None:
        self._left[sender] = (left, now)
        if len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)
