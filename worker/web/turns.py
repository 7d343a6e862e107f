"""A few places that machines take in turn: one that asks a hundred times waits behind each that asks once."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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
