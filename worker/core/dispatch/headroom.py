"""How many rows a dispatcher may open: for its free permits, and for the calls of the next 50 ms.

The opened rows without a permit are those that will be called while the next flush is written. A killed worker leaves
all its opened rows with an unknown outcome, also those that it has not called. So there are few, and results are
written as often (docs/inside/when-something-dies.md).
"""

from collections.abc import Callable
from datetime import timedelta

from worker.core.dispatch.flush_times import FlushTimes
from worker.core.dispatch.steady_time import SteadyTime
from worker.core.dispatch.throughput import Throughput
from worker.core.limits.concurrency import MOST_PER_PERMIT
from worker.core.limits.store.claims import Room

# The time from one flush of batches to the next, and of the calls that rows are opened for: results wait for others.
FLUSH_EVERY = timedelta(milliseconds=50)
# Where calls may be repeated and have no limit, results wait longer: half as many transactions are half the price. So
# many do not wait.
RARELY = timedelta(milliseconds=100)
MANY_RESULTS = 100
# Their rows are opened for so much longer, and claimed when they are needed: one that a kill leaves uncalled is called
# by the next worker, and costs nothing.
AHEAD_AT_WILL = timedelta(milliseconds=250)
# However slow the calls are, so many rows may wait for theirs: a permit that becomes free finds one.
OPEN_LEAST = 3
# And however quick they are, no more, together with the results that are not written yet: a kill leaves both in doubt.
OPEN_MOST = 400
# A claim of many rows is a long flush, in which all calls in flight may end: their results then wait together. Several
# short ones open as many rows.
CLAIM_MOST = 200
# Where a limit allows more calls than this in 50 ms, flushes begin sooner: one for fewer rows pays already.
MANY = 50
SOONER = timedelta(milliseconds=30)
# Under a slow limit slots are reserved as far ahead as the next few of them are, and never further than this.
AHEAD_MOST = 3 * FLUSH_EVERY
# Batch rows are claimed when one permit in this many is free, or when the opened rows last hardly until a flush ends: a
# transaction for a call or two would cost more than the calls.
EMPTY_PERMITS_FRACTION = 4
SPARE = FLUSH_EVERY / 5
# How many events a flush of theirs claims at most: as many permits are kept free for them until it ends. So many events
# may be opened however many batch rows are.
EVENTS_AT_ONCE = 20
# How much further ahead slots are reserved for events. Events can be claimed when all slots within the horizon are
# reserved: the event takes the next slot of this dispatcher, and the new slot is for a batch row.
EVENTS_AHEAD = timedelta(milliseconds=400)


class Headroom:
    """`permits`: how many calls may be in flight, as the last claim granted."""

    def __init__(
        self,
        permits: int,
        *,
        time: SteadyTime,
        in_flight: Callable[[], int],
        opened: Callable[[], int],
        opening: Callable[[], int],
        unwritten: Callable[[], int],
        events: Callable[[], int],
        spacing: Callable[[], timedelta],
        may_repeat: bool = False,
    ) -> None:
        """`in_flight`: calls. `opened`: rows that wait for theirs. `opening`: how many rows the flushes under way may
        open. `unwritten`: results that are not in the database yet. `events`: opened events. `spacing`: the least time
        between two calls; zero without a rate limit. `may_repeat`: calls with an unknown outcome are made again.
        """
        self.permits = permits
        self.flush_times = FlushTimes()
        self._of_batches = FlushTimes()
        self.throughput = Throughput(FLUSH_EVERY)
        self._time, self._in_flight, self._opened, self._opening = time, in_flight, opened, opening
        self._unwritten, self._events, self._spacing = unwritten, events, spacing
        self._may_repeat = may_repeat

    def flushed(self, took: timedelta, *, for_events: bool) -> None:
        """A flush has ended, and took so long."""
        self.flush_times.add(took)
        if not for_events:
            self._of_batches.add(took)

    @property
    def _free(self) -> int:
        """Permits that no call uses."""
        return max(self.permits - self._in_flight(), 0)

    @property
    def _at_will(self) -> bool:
        """Whether rows are opened by what a flush costs: a kill costs a repeated call for each, and no more."""
        return self._may_repeat and not self._spacing()

    @property
    def flush_every(self) -> timedelta:
        """The time from one flush of batches to the next."""
        if self._at_will:
            return FLUSH_EVERY if self._unwritten() >= MANY_RESULTS else RARELY
        spacing = self._spacing()
        return SOONER if spacing and MANY * spacing < FLUSH_EVERY else FLUSH_EVERY

    @property
    def _pace(self) -> int:
        """The calls of `FLUSH_EVERY`, as the last ones show."""
        return self.throughput.best(self._time.seconds())

    @property
    def _calls(self) -> int:
        """The calls until the next flush, as the last ones show; under a rate limit those that it allows, if permits
        are free. At will also those until that flush ends: with fewer rows the pace that is measured would be that of
        the flushes."""
        if self._at_will:
            return int(self._pace * ((self.flush_every + self._of_batches.usual) / FLUSH_EVERY))
        spacing = self._spacing()
        return min(self.flush_every // spacing, self._pace + self._free) if spacing else self._pace

    @property
    def _most(self) -> int:
        """How many rows may be opened and not called: some wait for their slots, or some more than get a permit now."""
        if self._at_will:
            return self._free + self._calls + int(self._pace * (AHEAD_AT_WILL / FLUSH_EVERY))
        return max(self._calls, OPEN_LEAST) if self._spacing() else self._free + self._calls

    @property
    def _called_meanwhile(self) -> int:
        """How many rows are called before a flush that begins now can end, if it is as quick as the quickest of the
        last ones."""
        opened = self._opened() + self._opening()
        share = 0.0 if self._at_will else min(self._of_batches.shortest / self.flush_every, 1)
        return min(opened, int(self._calls * share))

    @property
    def for_batches(self) -> int:
        opened = self._opened() + self._opening()
        # Those that the next flush writes count: as many will have come when it ends.
        room = min(self._most + self._called_meanwhile, OPEN_MOST - self._unwritten()) - opened
        return min(room, CLAIM_MOST, MOST_PER_PERMIT * max(self.permits, 1))

    @property
    def worth_a_claim(self) -> bool:
        """Whether a transaction for batch rows alone is worth it: many permits are empty, or soon no row waits."""
        opened = self._opened() + self._opening()
        many = self._free - opened >= max(self.permits // EMPTY_PERMITS_FRACTION, 1)
        takes = self._of_batches.usual + SPARE
        if self._at_will:
            return many or opened <= self._pace * (takes / FLUSH_EVERY)
        return many or opened <= self._calls * min(takes / self.flush_every, 1)

    @property
    def claims_with_results(self) -> bool:
        """Whether each write of results claims too. At will, rows are claimed when they are needed."""
        return not self._at_will

    @property
    def flushes_take_long(self) -> bool:
        """Whether a second flush begins next to one under way: else results would be written, and rows opened, less
        often."""
        return self._of_batches.usual > FLUSH_EVERY

    @property
    def for_events(self) -> int:
        """Events may use all of it. Whatever batch rows are opened, a few events are, and take the slots of these."""
        return max(self.for_batches, EVENTS_AT_ONCE - self._events())

    @property
    def horizon(self) -> timedelta:
        """How far ahead slots are reserved: for the time of a flush, and for the calls after it.

        (`rate_limits.claim_again_at`.) It is short, so that a killed worker leaves few unknown outcomes. An event takes
        the next slot of its worker, however far ahead slots are reserved: workers leave some out for each other
        (`rate_limits.offer`).
        """
        calls = min((OPEN_LEAST - 1) * self._spacing(), AHEAD_MOST)
        return max(self.flush_every + min(self._of_batches.shortest, self.flush_every), calls)

    @property
    def furthest_slot(self) -> timedelta:
        """How far ahead a reserved slot may be; a longer wait would come from a wrong clock."""
        clock_set_meanwhile = timedelta(seconds=1)
        return AHEAD_MOST + EVENTS_AHEAD + 3 * self.flush_times.lead + clock_set_meanwhile

    def room(self, *, busy: int) -> Room:
        """For batch rows and events. Without a free permit there is none: the claim asks whether there are permits."""
        rows, events = max(self.for_batches, 0), max(self.for_events, 0)
        return Room(rows, events, busy, lead=self.flush_times.lead, horizon=self.horizon)

    def room_for_events(self, most: int, *, busy: int) -> Room:
        return Room(0, most, busy, for_event=True, lead=self.flush_times.lead, horizon=self.horizon)
