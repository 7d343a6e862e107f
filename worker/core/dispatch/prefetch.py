"""When a dispatcher claims, and how many rows it may open: for its free permits, and for its next calls.

The opened rows without a permit are those that will be called until the next flush: the calls of 50 ms, under a slow
limit of up to 150 ms, at full pace without a limit of 100 ms, and of one flush where flushes take longer, else the
limit could not be used. A killed worker leaves all its opened rows with an unknown outcome, also those that it has not
called. So there are few, and results are written as often (docs/inside/when-something-dies.md). An email, which may be
repeated, is no exception: it would count as one of the customer's messages.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from onboarding_worker.core.claim.leases import MOST_PER_PERMIT
from onboarding_worker.core.foundation.clock import Clock

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # any time: only differences count
# The least time from one flush of batches to the next, and of the calls that rows are opened for.
FLUSH_EVERY = timedelta(milliseconds=50)
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
# Under a slow limit slots are reserved as far ahead as the next few of them are, and for batch rows never further than
# this on a database that is quick.
AHEAD_MOST = 3 * FLUSH_EVERY
# Flushes follow later under a slow limit: after so many calls, or this time. And at full pace: they cost a fifth there.
SOME, SOME_LATER = 20, timedelta(milliseconds=100)
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
# How late a call may be for its flush: it uses its slot all the same.
LATE = timedelta(milliseconds=200)
MOST = timedelta(seconds=5)
_KEPT = 8  # flushes
LATELY = 1.0  # seconds
# The least time between two claims of batch rows that follow a wake-up: each flush of results sends a wake-up.
CLAIM_EVERY = timedelta(milliseconds=200)


class SteadyTime:
    """The time that a dispatcher plans with: it only goes forward, and no clock can change it.

    The process's clock is set by the database's again and again. If the database's clock were put back by an hour, a
    dispatcher that planned with it would stand still for an hour. So its waits count the loop's seconds. Times of the
    database (slots, the next claim) are read once, as "so long from now". For one loop, made on it; its times compare
    with each other only.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds = asyncio.get_running_loop().time  # the same as a number, for what is read with each call

    def __call__(self) -> datetime:
        return _BEGINNING + timedelta(seconds=self.seconds())

    def of(self, when: datetime) -> datetime:
        """The steady time of a time of the process's clock."""
        return self() + (when - self._clock())


class FlushTimes:
    """How long the last flushes of one dispatcher took, and so how long a row needs from its claim to its call.

    A slot lapses soon after its time (`limits.LAPSE`). On a slow database a slot that begins when it is reserved
    would lapse before its row's flush has ended. So slots begin later there: by `lead`, and not at all while flushes
    are short. Of a few long flushes all slots would begin later until they are forgotten, and an event at another
    worker would wait for them: so a few long ones among short ones do not count for `usual`.
    """

    def __init__(self) -> None:
        self._took: deque[timedelta] = deque(maxlen=_KEPT)
        self.shortest = self.usual = self.longest = self.lead = timedelta(0)

    def add(self, took: timedelta) -> None:
        self._took.append(min(took, MOST))
        in_order = sorted(self._took)
        self.shortest, self.usual, self.longest = in_order[0], in_order[(len(in_order) - 1) // 2], in_order[-1]
        self.lead = max(self.usual - LATE, timedelta(0))


@dataclass(frozen=True)
class Ahead:
    """What a dispatcher may open now: so many `rows`, and so many `events`, which may use all of it.

    `flush_every`: the time from one flush of batches to the next. `worth_a_claim`: a transaction for batch rows alone
    is worth it: many permits are empty, or soon no row waits. `horizon`: how far ahead slots are reserved.
    `flushes_take_long`: a second flush begins next to one under way, else results would be written, and rows opened,
    less often. `at_full_pace`: and it does so when no opened row waits: there is no limit, many calls end, and it
    brings many rows.
    """

    flush_every: timedelta
    flushes_take_long: bool
    at_full_pace: bool
    rows: int
    events: int
    worth_a_claim: bool
    horizon: timedelta


class Recent:
    """The calls of the last second, by the `FLUSH_EVERY` in which they began or ended. `seconds`: the loop's."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds, self._span = seconds, FLUSH_EVERY.total_seconds()
        self._spans: deque[list[int]] = deque()  # [number of the span, calls in it]

    def add(self) -> None:
        number = int(self._seconds() / self._span)
        if self._spans and self._spans[-1][0] == number:
            self._spans[-1][1] += 1
        else:
            self._spans.append([number, 1])

    def _now(self) -> float:
        """In spans. Those that are older than a second are forgotten."""
        now = self._seconds() / self._span
        while self._spans and self._spans[0][0] < now - LATELY / self._span:
            self._spans.popleft()
        return now

    @property
    def most(self) -> int:
        """The calls of the best `FLUSH_EVERY`: rows come in chunks, and between two chunks no call ends."""
        self._now()
        return max((calls for _, calls in self._spans), default=0)

    def within(self, time: timedelta) -> float | None:
        """How many calls such a time has had on average since the first of them; None: there was none."""
        now = self._now()
        if not self._spans:
            return None
        return sum(calls for _, calls in self._spans) / max(now - self._spans[0][0], 1) * (time / FLUSH_EVERY)


class Prefetch:
    """`permits`: how many calls may be in flight, as the last claim granted. `seconds`: the loop's."""

    def __init__(self, permits: int, seconds: Callable[[], float]) -> None:
        self.permits = permits
        self.flush_times = FlushTimes()
        self.of_batches = FlushTimes()
        self.begun, self.ended = Recent(seconds), Recent(seconds)

    def ahead(self, *, in_flight: int, opened: int, unwritten: int, events: int, spacing: timedelta) -> Ahead:
        """What may be opened next to these calls in flight, and opened rows, `events` among them.

        `unwritten`: the results that the next flush of batches does not write: of events, and of the flushes under way
        those beyond the rows that they open. `spacing`: the least time between two calls; zero without a rate limit.
        """
        usual, shortest = self.of_batches.usual, self.of_batches.shortest
        free = max(self.permits - in_flight, 0)  # permits that no call uses
        flush_every = SOONER if spacing and MANY * spacing < FLUSH_EVERY else FLUSH_EVERY
        at_full_pace = not spacing and self.ended.most > MANY
        later = SOME_LATER if at_full_pace else min(SOME * spacing, SOME_LATER)
        flush_every = max(flush_every, later, min(OPEN_LEAST * spacing, AHEAD_MOST))
        # Rows are opened for the calls until the next flush, or of one flush, where flushes take longer. Under a rate
        # limit some wait for their slots, or some more are opened than get a permit now.
        span = max(flush_every, usual)
        if spacing:
            begun = self.begun.within(span)
            can_begin = free if begun is None else int(1.5 * begun) + OPEN_LEAST  # more than did: the pace may rise
            calls = min(span // spacing, can_begin)
        else:
            calls = self.ended.most * (flush_every // FLUSH_EVERY)
        most = max(calls, OPEN_LEAST) if spacing else free + calls
        # And those that are called before a flush that begins now can end, if it is as quick as the quickest.
        most += min(opened, int(calls * min(shortest / span, 1)))
        hardly_last = calls * min((usual + SPARE) / span, 1)
        # Results that wait do not count: the flush that opens the rows writes them.
        rows = min(most, OPEN_MOST - unwritten) - opened
        rows = max(min(rows, CLAIM_MOST, MOST_PER_PERMIT * max(self.permits, 1)), 0)
        many_empty = free - opened >= max(self.permits // EMPTY_PERMITS_FRACTION, 1)
        # For the time of a flush, and for the calls after it. It is short, so that a killed worker leaves few unknown
        # outcomes. An event takes the next slot of its worker, however far ahead slots are reserved: workers leave some
        # out for each other (`limits.offer`).
        horizon = max(span + min(shortest, span), min((OPEN_LEAST - 1) * spacing, AHEAD_MOST))
        return Ahead(
            flush_every=flush_every,
            flushes_take_long=usual > FLUSH_EVERY,
            at_full_pace=at_full_pace and 2 * rows >= CLAIM_MOST,
            rows=rows,
            # Whatever batch rows are opened, a few events are, and take the slots of these.
            events=max(rows, EVENTS_AT_ONCE - events),
            worth_a_claim=many_empty or opened <= hardly_last,
            horizon=horizon,
        )


class ClaimPlan:
    """When a dispatcher claims next: what it knows to be due, and which wake-ups it has not followed yet."""

    def __init__(self, time: SteadyTime, wake_others: Callable[[], object]) -> None:
        """`wake_others` is called once, after the first claim that leaves rows which may be claimed at once."""
        self._time = time
        self._wake_others: Callable[[], object] | None = wake_others
        self._claimed_at = time() - CLAIM_EVERY  # when batch rows were last claimed
        self._planned: datetime | None = time()
        self.woken_for_events = False  # an event may be due
        self.woken_for_batches = False  # a batch row may be, and no claim is planned for it yet
        self.more_due = False  # the last claim brought rows, and left more
        self._more_after: timedelta | None = None  # and these may be claimed so long after it; None: it left none
        self._guessed: datetime | None = None  # when to claim, until the claim that is under way tells

    @property
    def at(self) -> datetime | None:
        """When to claim next, in steady time; None: nothing more is known to be due."""
        if self._planned is None or self._guessed is None:
            return self._planned or self._guessed
        return min(self._planned, self._guessed)

    def wake(self, *, for_events: bool) -> None:
        """Something has become due. Batch rows are claimed in chunks, so they wait for one; events do not."""
        if for_events:
            self.woken_for_events = True
        else:
            self.woken_for_batches = True

    def follow_wake_ups(self) -> None:
        """Plan a claim for the wake-ups that are for batch rows."""
        if self.woken_for_batches:
            self.woken_for_batches = False
            self.claim_by(self._claimed_at + CLAIM_EVERY)

    def claim_by(self, when: datetime) -> None:
        """Claim at this time, unless a claim is planned earlier."""
        self._planned = when if self._planned is None else min(self._planned, when)

    def begins(self, *, for_events: bool) -> None:
        """A claim of batch rows and of events begins, or of events alone: a wake-up from now on is for another one."""
        self.woken_for_events = False
        if for_events:  # the wake-up may be for a batch row too, so batch rows are looked for soon
            self.claim_by(self._claimed_at + CLAIM_EVERY)
        else:
            self._claimed_at, self._planned = self._time(), None
            self._guessed = None if self._more_after is None else self._claimed_at + self._more_after

    def ends(self, again_at: datetime | None, *, found: int, asked: int, for_events: bool) -> None:
        """That claim found so many rows of those that were asked for. `again_at`: when more is due, in steady time;
        None: nothing more is."""
        if for_events:
            if again_at is not None:  # no wake-up comes for rows that could not be claimed yet
                self.claim_by(max(again_at, self._claimed_at + CLAIM_EVERY))
            if found >= asked:
                self.woken_for_events = True  # there may be more
            return
        self.more_due = again_at is not None and found > 0
        self._guessed = None  # what was planned meanwhile stays: its rows may be newer than what the claim saw
        if again_at is None:
            self._more_after = None
            return
        self._more_after = max(again_at - self._time(), timedelta(0)) if found else None
        if self._more_after == timedelta(0) and self._wake_others is not None:
            self._wake_others()
            self._wake_others = None
        self.claim_by(again_at)
