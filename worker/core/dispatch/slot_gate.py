"""Lets a dispatcher's calls go one after the other, each in its slot, no closer together than the rate limit allows."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from worker.core.dispatch.steady_time import SteadyTime
from worker.core.limits.rate_limits import LAPSE, lapsed

# How much lateness may be made up for. A timer wakes a few milliseconds late, more on a busy machine: without this the
# calls would be slower than the limit for good. With more, a standstill would be followed by calls above the limit.
CATCH_UP = timedelta(milliseconds=50)


class SlotGate:
    """For one loop. `waiting`: how many calls wait here; which row each is for is not decided yet.

    One of them waits for the time of the next slot. The others stand in line behind it: where it comes late, on a busy
    loop, as many go on in the same turn of the loop as may go by then. One in each turn would be slower than the limit.
    """

    def __init__(
        self,
        *,
        time: SteadyTime,
        halt: asyncio.Event,
        furthest: Callable[[], timedelta],
        spacing: Callable[[], timedelta],
    ) -> None:
        """`halt` ends all waiting: the caller checks again whether its call may be made.

        No slot is further ahead than `furthest()` when it is claimed: a longer wait would come from a wrong clock.
        `spacing()`: the least time between two calls.
        """
        self._spacing = spacing
        self._time = time
        self._halt = halt
        self._furthest = furthest
        self._is_first = False  # whether a call waits for the time of the next slot
        self._line: deque[asyncio.Future[None]] = deque()  # the calls behind it
        self._next_at = time()  # before it no call is written
        self._least_at = self._next_at  # how far back lateness was made up for when a call was last let through
        self._untrue: datetime | None = None  # a slot that a wrong clock reserved
        self.waiting = 0

    async def wait(self, next_slot: Callable[[], datetime | None]) -> bool:
        """Wait for the next slot, where there is one: a call without a slot does not wait here.

        Returns whether a call may be made in the slot that is the next one then: the caller picks the row, and an event
        that came meanwhile goes first. False: the slot has passed, or would before its turn comes. Nothing is waited
        for then: if it delayed the calls behind it, their slots would pass as well, and so on.

        The call is counted when it is written (`may_write`). A call that is not made delays no other one.
        """
        self.waiting += 1
        try:
            while self._is_first:
                turn = asyncio.get_running_loop().create_future()
                self._line.append(turn)
                await turn
            self._is_first = True
            try:
                return await self._for_next(next_slot)
            finally:
                self._is_first = False
        finally:
            self.waiting -= 1
            if not self._is_first:
                self._let_on()

    async def _for_next(self, next_slot: Callable[[], datetime | None]) -> bool:
        slot = next_slot()
        if slot is not None:
            # A late call delays the calls behind it: many late slots are not used at once.
            least, slot_at = self._time() - CATCH_UP, self._time.of(slot)
            furthest = self._time() + self._furthest()
            if slot_at > furthest:  # not true: it is waited for once, though earlier slots may come meanwhile
                slot_at = least if slot == self._untrue else furthest
                self._untrue = slot
            begins_at = max(slot_at, self._next_at, least)
            if begins_at >= slot_at + LAPSE - CATCH_UP and slot != self._untrue:
                return False
            await self._until(begins_at)
            # A call that had waited for its connection may have been written meanwhile.
            while self._next_at > self._time() and not self._halt.is_set():
                await self._until(self._next_at)
            slot = next_slot()
        now = self._time()
        self._least_at = now - CATCH_UP
        return slot is None or not lapsed(self._time.of(slot), now=now)

    def _let_on(self) -> None:
        """Let the first call in line go on, and with it as many as may be written by now. Each looks for itself."""
        late, spacing = self._time() - max(self._next_at, self._least_at), self._spacing()
        many = max(late // spacing, 1) if spacing else len(self._line)
        while self._line and many:
            turn = self._line.popleft()
            if not turn.done():  # else its call was cancelled
                turn.set_result(None)
                many -= 1

    def may_write(self, slot: datetime, *, waited: bool) -> bool:
        """Whether the call with this slot may be written now; it is written then, and those behind it keep the spacing.

        `waited`: for a connection, after its turn here. Several connections may be there at the same moment, and their
        calls may not leave together, nor next to those that kept connections wrote meanwhile.
        """
        if waited:
            now = self._time()
            if self._next_at > now or lapsed(self._time.of(slot), now=now):
                return False
            self._least_at = now - CATCH_UP
        self._next_at = max(self._next_at, self._least_at) + self._spacing()
        return True

    async def _until(self, when: datetime) -> None:
        wait = (when - self._time()).total_seconds()
        if wait > 0:
            try:
                async with asyncio.timeout(wait):
                    await self._halt.wait()
            except TimeoutError:
                pass
