"""How many rows a dispatcher may open: for its free permits, and for the calls until the flush after the next one.

The opened rows without a permit are those that will be called while flushes are written. A killed worker leaves all
its opened rows with an unknown outcome, also those that it has not called: its permits, and at most OPEN_MOST more.
"""

from collections.abc import Callable
from datetime import timedelta

from worker.domain.limits.concurrency import MOST_PER_PERMIT
from worker.engine.dispatch.flush_times import FlushTimes
from worker.engine.dispatch.steady_time import SteadyTime
from worker.engine.dispatch.throughput import Throughput
from worker.store.limits.claims import Room

# The least time from one flush of batches to the next: results wait for others. A killed worker leaves an unknown
# outcome for the calls in flight, for the results of this time, and for the rows that are opened for it.
FLUSH_EVERY = timedelta(milliseconds=100)
# Where flushes take long, on a busy machine or a slow database, they begin so many times as far apart as the second
# longest of the last ones took (`FlushTimes.lead`: nothing up to 50 ms). Else they would take most of the loop's
# time, and each step of an event waits for its turn there.
FLUSH_APART = 5
FLUSH_EVERY_MOST = timedelta(milliseconds=500)
# A flush has room for at least so many rows, however few permits there are, and so many may be events: a stream of
# events has its own pace.
FLUSH_LEAST = 50
# The most rows beyond the permits that are opened, or in a flush: some 0.5 s at full pace. Results that wait for the
# next flush come on top. With a sixth of this number a worker waits a third of its time for rows, and with two thirds
# still for some.
OPEN_MOST = 9000
# Batch rows are claimed only when one permit in this many is free, or half of the rows that may be opened fit: a
# transaction for a call or two would cost more than the calls.
EMPTY_PERMITS_FRACTION = 4
# How many events a flush of theirs claims at most: as many permits are kept free for them until it ends. So many events
# may be opened however many batch rows are, and however many results wait.
EVENTS_AT_ONCE = 20
# How much further ahead slots are reserved for events. Events can be claimed when all slots within the horizon are
# reserved: the event takes the next slot of this dispatcher, and the new slot is for a batch row.
EVENTS_AHEAD = timedelta(milliseconds=400)
# Where flushes take long, two may be under way, and the rows are shared out: those of a flush, the results of another
# one, and the rows that are called meanwhile.
LONG_FLUSH = 1.5 * FLUSH_EVERY
PARTS = 3


class Headroom:
    """`permits`: how many calls may be in flight, as the last claim granted."""

    def __init__(
        self,
        permits: int,
        *,
        time: SteadyTime,
        taken: Callable[[], int],
        waiting: Callable[[], int],
        events: Callable[[], int],
        spaced: Callable[[], bool],
    ) -> None:
        """`taken`: calls in flight, opened rows, and the rows of flushes under way. `waiting`: results that are not
        being written yet. `events`: opened events. `spaced`: whether the calls have a rate limit.
        """
        self.permits = permits
        self.shared = False  # other workers make calls too, as the last claim said
        self.flush_times = FlushTimes()
        self._batch_flush_times = FlushTimes()
        self.throughput = Throughput(FLUSH_EVERY)
        self._spaced, self._time, self._taken, self._waiting = spaced, time, taken, waiting
        self._events = events

    @property
    def flush_every(self) -> timedelta:
        """How long results wait for others, so that they are written together.

        Of several workers each makes a part of the calls. With flushes twice as far apart it opens no more rows than
        one alone.
        """
        least = 2 * FLUSH_EVERY if self.shared else FLUSH_EVERY
        return min(max(least, FLUSH_APART * self._batch_flush_times.lead), FLUSH_EVERY_MOST)

    def flushed(self, took: timedelta, *, for_events: bool) -> None:
        """A flush has ended, and took so long."""
        self.flush_times.add(took)
        if not for_events:
            self._batch_flush_times.add(took)

    @property
    def _free(self) -> int:
        """Permits that no call uses and no opened row waits for; below zero if more rows wait."""
        return self.permits - self._taken()

    @property
    def _calls_in_a_flush(self) -> int:
        """How many calls are expected to end until the end of the flush after this one, as the last calls show."""
        time = 2 * self.flush_times.longest + max(self.flush_every, self.flush_times.longest)
        expected = self.throughput.expected(time, self._time.seconds())
        # On a slow database each flush has room for twice the calls of the one before, until the slots bound them.
        return min(2 * expected if self.flush_times.lead and self._spaced() else expected, OPEN_MOST)

    @property
    def _most_in_a_flush(self) -> int:
        """The most rows that one flush opens for batches."""
        most = self.permits + self._calls_in_a_flush
        most = max(-(-most // PARTS), FLUSH_LEAST) if self.flush_times.longest > LONG_FLUSH else most
        return min(most, max(MOST_PER_PERMIT * self.permits, FLUSH_LEAST))  # a claim brings no more

    @property
    def for_batches(self) -> int:
        return min(self._free + self._calls_in_a_flush, self._most_in_a_flush)

    @property
    def _has_room_for_many(self) -> bool:
        """Whether half of the batch rows that one flush opens at most may be opened now."""
        return 2 * self.for_batches >= self._most_in_a_flush

    @property
    def worth_a_claim(self) -> bool:
        """Whether a transaction for batch rows alone is worth its cost: many permits are empty, or many rows fit."""
        return self._free >= self.permits // EMPTY_PERMITS_FRACTION or self._has_room_for_many

    @property
    def for_another_flush(self) -> bool:
        """Whether so many batch rows may be opened that a second flush next to one under way is worth it."""
        return self.flush_times.longest > LONG_FLUSH and self._has_room_for_many

    @property
    def for_events(self) -> int:
        """Events may use all of it. Whatever batch rows are opened, a few events are, and take the slots of these."""
        most = max(self.permits, FLUSH_LEAST, self._calls_in_a_flush)
        return max(min(self._free + most - self._waiting(), OPEN_MOST), EVENTS_AT_ONCE - self._events())

    @property
    def horizon(self) -> timedelta:
        """How far ahead slots are reserved: for two flushes, because rows are claimed when half of it is free.

        (`rate_limits.claim_again_at`.) It is short, so that a killed worker leaves few unknown outcomes. An event takes
        the next slot of its worker, however far ahead slots are reserved: workers leave some out for each other
        (`rate_limits.offer`).
        """
        return 2 * self.flush_every

    @property
    def furthest_slot(self) -> timedelta:
        """How far ahead a reserved slot may be; a longer wait would come from a wrong clock."""
        clock_set_meanwhile = timedelta(seconds=1)
        return 2 * FLUSH_EVERY_MOST + EVENTS_AHEAD + 2 * self.flush_times.lead + clock_set_meanwhile

    def room(self, *, busy: int) -> Room:
        """For batch rows and events. Without a free permit there is none: the claim asks whether there are permits."""
        rows, events = max(self.for_batches, 0), max(self.for_events, 0)
        return Room(rows, events, busy, lead=self.flush_times.lead, horizon=self.horizon)

    def room_for_events(self, most: int, *, busy: int) -> Room:
        return Room(0, most, busy, for_event=True, lead=self.flush_times.lead, horizon=self.horizon)
