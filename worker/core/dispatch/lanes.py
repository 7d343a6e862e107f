"""The flushes of a dispatcher that are under way.

Two for batches: while one waits for the database, the other prepares its statements. One for events, which wait for no
batch.
"""

import asyncio
from collections.abc import Iterator


class Lane:
    """One flush at a time. `rows`: how many it may open; `results`: how many it writes."""

    def __init__(self, *, for_events: bool) -> None:
        self.for_events = for_events
        self.flush: asyncio.Task[None] | None = None
        self.rows = self.results = 0
        self.writes_halt = False  # of a result that halts the account


class Lanes:
    def __init__(self) -> None:
        self.batches = (Lane(for_events=False), Lane(for_events=False))
        self.events = Lane(for_events=True)

    def __iter__(self) -> Iterator[Lane]:
        return iter((*self.batches, self.events))

    @property
    def under_way(self) -> list[asyncio.Task[None]]:
        return [lane.flush for lane in self if lane.flush is not None]

    @property
    def free_for_batches(self) -> list[Lane]:
        return [lane for lane in self.batches if lane.flush is None]

    @property
    def batches_idle(self) -> bool:
        """Whether no flush of batches is under way."""
        return all(lane.flush is None for lane in self.batches)

    @property
    def write_halt(self) -> bool:
        """Whether a result that halts the account is being written: a claim would not see it in the database yet."""
        return any(lane.writes_halt for lane in self)

    @property
    def rows(self) -> int:
        """How many rows the flushes under way may open."""
        return sum(lane.rows for lane in self)

    @property
    def results(self) -> int:
        """How many results the flushes under way write."""
        return sum(lane.results for lane in self)

    def end(self) -> None:
        """Free the lanes whose flush has ended. Raises what a claim raised."""
        for lane in self:
            if lane.flush is not None and lane.flush.done():
                flush, lane.flush, lane.rows, lane.results, lane.writes_halt = lane.flush, None, 0, 0, False
                flush.result()
