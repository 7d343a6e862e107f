"""The simulated world: one time, an agenda of what happens in it, and worker processes that are stepped one by one.

Nothing here runs at the same time as anything else. The world takes the next thing that happens: an act of its agenda,
or a process whose loop has something to do. So one seed gives one history.
"""

import asyncio
import heapq
import itertools
import random
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MOST_STEPS = 200_000  # a history with more steps turns in circles


class TooLong(Exception):
    """The history does not end."""


class Stepped(Protocol):
    """What the world steps: a worker process."""

    @property
    def wakes_at(self) -> float | None: ...  # in the world's seconds; None: it waits for something from outside
    def step(self) -> None: ...
    def clear_up(self) -> None: ...


class World:
    def __init__(self, seed: int) -> None:
        self.elapsed = 0.0
        self.chance = random.Random(f"{seed}/world")
        self.processes: list[Stepped] = []
        self._agenda: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = itertools.count()
        self.steps = 0

    def clock(self) -> datetime:
        """The true time. The database's clock shows it."""
        return self.at(self.elapsed)

    @staticmethod
    def at(seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    def later(self, seconds: float, act: Callable[..., object], *arguments: Any) -> None:
        """Do this so many seconds from now."""
        heapq.heappush(self._agenda, (self.elapsed + seconds, next(self._count), act, arguments))

    def run(self, until: float, *, is_over: Callable[[], bool] = lambda: False) -> None:
        """Let time go on, to this second at most."""
        while not is_over():
            next_act = self._agenda[0][0] if self._agenda else None
            waking = [(process.wakes_at, number) for number, process in enumerate(self.processes)]
            wakes = [(max(when, self.elapsed), number) for when, number in waking if when is not None]
            next_wake = min(wakes)[0] if wakes else None
            due = [when for when in (next_act, next_wake) if when is not None]
            if not due or min(due) > until:
                self.elapsed = max(self.elapsed, until)
                return
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise TooLong(f"{self.steps} steps, and {self.elapsed:.0f} s have passed")
            self.elapsed = max(self.elapsed, min(due))
            if next_act is not None and next_act == min(due):
                _, _, act, arguments = heapq.heappop(self._agenda)
                act(*arguments)
            else:
                ready = [number for when, number in wakes if when == next_wake]
                self.processes[self.chance.choice(ready)].step()


class ProcessLoop(asyncio.SelectorEventLoop):
    """The event loop of one simulated process. `run_ready` runs it until all its tasks wait; where a turn of the loop
    takes time (`turn`, in seconds), for one turn."""

    def __init__(self, time: Callable[[], float], turn: float) -> None:
        self._time_of_process = time
        self.turn = turn
        self.next_at: float | None = None  # in this loop's seconds; None: it waits for something from outside
        super().__init__(_Idle(self))
        self._clock_resolution = 1e-6  # as VirtualLoop's: far ahead, two floats are further apart than the default
        self.set_exception_handler(lambda _loop, _context: None)  # a killed process has tasks that never end

    def time(self) -> float:
        return self._time_of_process()

    def run_ready(self) -> None:
        self.next_at = None
        self.run_forever()

    def _write_to_self(self) -> None:
        """Something came from outside: a callback of `call_soon_threadsafe`."""
        self.next_at = self.time()


class _Idle(selectors.SelectSelector):
    """Stops its loop where the loop would wait, or where the next turn begins later."""

    def __init__(self, loop: ProcessLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout > 0:
            if timeout is not None:
                self._loop.next_at = self._loop.time() + timeout
            self._loop.stop()
        elif self._loop.turn:
            self._loop.next_at = self._loop.time() + self._loop.turn
            self._loop.stop()
        return []
