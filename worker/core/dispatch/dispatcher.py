"""Works what is due for one account or channel: claims and opens rows, makes their calls, writes the results.

    flush: write results, claim rows (a lease, and a slot for each call), write their attempts → make the calls → …

One coroutine (`run`) decides; it looks again when a call ends, a wake-up comes or a planned time is reached. Calls go
on while flushes run. A dispatcher ends when nothing is due for longer than `LINGER`, or after `longest`. After an event
it stays for a while: the next one finds its permits and connections there.

- permit: the right to have one call in flight. Each claim says how many this dispatcher has: all workers share the
  account's permits.
- slot: the time at which one call may go, where the account or sender has a rate limit (`state.OpenedRows`).
- opened row: it has a lease, its attempt is written, and its call has not begun. `prefetch` says how many there may be.
- flush: one transaction for all of that (`flushes`, `claim.flush`), as one of a few tasks (`state.FlushTasks`).
- halt: a result concerns the whole account (rate-limited, refused keys), or a person has stopped everything. Rows
  opened before it are not called.

The dispatcher knows nothing of providers or messages: a `Work` does. The dispatcher owns the order of the steps, and
the promises rest on that order: no call without its attempt in the database, no call after its lease or slot has
passed, no call while results cannot be written, and no result kept in memory for longer than a flush.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Generic

import sqlalchemy as sa

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import RowT
from onboarding_worker.core.dispatch.calls import Calls
from onboarding_worker.core.dispatch.flushes import Flushes
from onboarding_worker.core.dispatch.prefetch import EVENTS_AT_ONCE, OPEN_MOST, Ahead
from onboarding_worker.core.dispatch.state import State, Work
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.metrics import WorkMeter

log = logging.getLogger(__name__)

# A dispatcher ends when nothing is due for longer than this.
LINGER = timedelta(seconds=1)


class Dispatcher(Generic[RowT]):
    def __init__(
        self,
        work: Work[RowT, Any],
        *,
        clock: Clock,
        in_turn: Callable[..., Any],
        stopping: asyncio.Event,
        longest: timedelta,
        wake_others: Callable[[], object],
        stay: timedelta,
        meter: WorkMeter,
    ) -> None:
        """`in_turn(function, *arguments)` awaits a blocking call to the store; `stopping` is set when the process is to
        end. After `longest` the dispatcher claims no more rows: its task ends, and other accounts get a turn. `stay`:
        how long it stays after an event if nothing is due. `wake_others`: called when there is work for more workers.
        """
        self._state = state = State(
            work, log, clock=clock, in_turn=in_turn, stopping=stopping, wake_others=wake_others, meter=meter
        )
        self._work, self._time, self._look_again, self._stopping = work, state.time, state.look_again, stopping
        self._longest, self._stay, self._plan, self._prefetch = longest, stay, state.plan, state.prefetch
        self._calls = Calls(state)
        self._flushes = Flushes(state, self._calls)
        self.outage: Outage = self._flushes.writer.outage  # of the database, as results meet it that wait to be written
        self._last_flush_at = self._time()  # of batches
        self._ahead = state.ahead()  # at the last look

    def wake(self, *, for_events: bool = True) -> None:
        """Something has become due: look again before ending. `for_events`: an event may be due, so look at once."""
        self._plan.wake(for_events=for_events)
        self._look_again.set()

    def look_again(self) -> None:
        """Look at once whether the process is to end."""
        self._look_again.set()

    def stop_everything(self) -> None:
        """A person has stopped everything: no opened row is called, all are released. Calls in flight are finished."""
        self._state.halts += 1
        self._calls.give_up()
        self._look_again.set()

    @property
    def unfinished(self) -> str:
        """What keeps this dispatcher from ending, in words."""
        found = [f"{self._state.in_flight} calls in flight"] if self._state.in_flight else []
        found += ["results to write"] if self._state.flush_tasks.under_way or self._state.results else []
        return ", ".join(found) or "its last step"

    async def run(self) -> bool:
        """Work until nothing more may be done now. Returns whether more is due."""
        state, ends_at, level, more = self._state, self._time() + self._longest, logging.WARNING, False
        try:
            while True:
                state.flush_tasks.end()
                stopping = self._stopping.is_set()
                finishing = stopping or self._time() >= ends_at
                if stopping:
                    self._flushes.writer.stops()
                if finishing:
                    state.decisions.note("claim", why_not="the worker is stopping" if stopping else "time is up")
                    if not self._prefetch.permits:  # only a claim grants permits, and there are no more claims
                        self._calls.give_up()
                self._plan.follow_wake_ups()
                self._flush_events(finishing=finishing)
                self._flush_batches(finishing=finishing)
                self._calls.begin()
                if not (state.tasks or state.flush_tasks.under_way or state.rows or state.results):
                    at, event_at = self._plan.at, self._flushes.opened_event_at
                    stays = self._plan.woken_for_events or (
                        event_at is not None and event_at > self._time() - self._stay
                    )
                    if finishing or (not stays and (at is None or at - self._time() > LINGER)):
                        more = finishing and not stopping and at is not None
                        break
                await self._sleep(finishing=finishing)
        except sa.exc.OperationalError:
            level = logging.DEBUG  # the caller logs the outage; while it lasts, each try ends here
            raise
        finally:
            await self._finish(level)  # only after an exception are rows or results left
        # A wake-up that came while this dispatcher ended went to no other dispatcher.
        woken = self._plan.woken_for_events or self._plan.woken_for_batches
        return more or (woken and not self._stopping.is_set())

    # Flushes.

    def _flush_events(self, *, finishing: bool) -> None:
        """Write the results of events that have a next step, and claim events, both at once."""
        if (
            self._state.flush_tasks.events.flush is not None
            or self._state.unwritten_halt.is_set()
            or self._flushes.unreachable
        ):
            return
        room = None
        if self._plan.woken_for_events and not finishing and not self._state.flush_tasks.of_halts:
            ahead = self._state.ahead()
            most = min(ahead.events, EVENTS_AT_ONCE)
            if most <= 0:
                self._state.decisions.note("claim", why_not="as many events as it may hold are opened")
            elif ahead.rows > most or self._state.flush_tasks.of_batches or not self._claim_due(ahead, self._time()):
                # Else a claim of batch rows is due that would find no permit next to this one. It takes events too:
                # a stream of events would keep batch rows from being claimed for ever.
                self._state.decisions.note("claim")
                lead, slow = self._prefetch.flush_times.lead, ahead.flushes_take_long
                room = Room(0, most, len(self._state.tasks), lead, ahead.horizon, slow, for_event=True)
                self._plan.begins(for_events=True)
        if room is not None or self._state.results.of_events:
            self._flushes.begin(
                self._state.flush_tasks.events, self._state.results.take(of_events=True, others=False), room
            )

    def _flush_batches(self, *, finishing: bool) -> None:
        """Write results, and claim rows, when one of them is due."""
        tasks, self._ahead = self._state.flush_tasks, self._state.ahead()
        ahead, under_way = self._ahead, tasks.of_batches
        if self._flushes.unreachable:
            self._state.decisions.note("claim", why_not="the database cannot be used")
        if under_way == len(tasks.batches) or (self._flushes.unreachable and under_way):
            return
        now, halted = self._time(), self._state.unwritten_halt.is_set()
        waited = now - self._last_flush_at >= ahead.flush_every or len(self._state.results.others) >= OPEN_MOST
        runs_dry = ahead.at_full_pace and not self._state.rows
        if under_way and (finishing or not (runs_dry or (waited and ahead.flushes_take_long))):
            return
        results_due = bool(self._state.results.others or (halted and self._state.results)) and (halted or waited)
        room = None
        if not finishing and self._claim_due(ahead, now, results_due=results_due):
            self._state.decisions.note("claim")
            # Without a free permit there is no room: the claim asks whether there are permits.
            lead, slow = self._prefetch.flush_times.lead, ahead.flushes_take_long
            room = Room(ahead.rows, ahead.events, len(self._state.tasks), lead, ahead.horizon, slow)
            self._plan.begins(for_events=False)
        if room is None and not results_due:
            return
        results = self._state.results.take(of_events=halted, others=not (room and self._flushes.claim_alone))
        task = next(task for task in tasks.batches if task.flush is None)
        if halted:
            tasks.of_halts.add(task)
            # This flush writes the result that set it; a call may set it again meanwhile.
            self._state.unwritten_halt.clear()
        self._flushes.claim_alone = False
        self._last_flush_at = now
        self._flushes.begin(task, results, room)

    def _claim_due(self, ahead: Ahead, now: datetime, *, results_due: bool = False) -> bool:
        """Whether to claim rows now. A claim that is due soon goes together with the results that are due now."""
        at = self._plan.at
        with_results = ahead.flush_every / 2 + self._prefetch.flush_times.longest
        soon = now + with_results if results_due else now
        reason = ""
        if self._state.unwritten_halt.is_set() or self._state.flush_tasks.of_halts:
            reason = "a result that halts the account is not written yet"
        elif self._flushes.unreachable:
            reason = "the database cannot be used"
        elif at is None:
            reason = "nothing more is known to be due"
        elif at > soon:
            reason = f"the next claim is planned in {(at - now).total_seconds():.3f} s"
        elif self._state.in_flight >= self._prefetch.permits and self._flushes.check_permits_at <= now:
            return True  # only a claim tells how many permits there are now, where workers share them
        elif ahead.rows <= 0:
            reason = "enough rows are opened"
        elif not ahead.worth_a_claim and self._state.tasks and not results_due:
            reason = "too few permits are free for a transaction of their own"
        if reason:
            self._state.decisions.note("claim", why_not=reason)
        return not reason

    # Waiting and ending.

    async def _sleep(self, *, finishing: bool) -> None:
        """Wait for a result, a wake-up, or the next planned time."""
        now = self._time()
        times = [now + LINGER]
        flush_at = self._last_flush_at + self._ahead.flush_every
        under_way = self._state.flush_tasks.of_batches
        if not under_way:
            if self._state.results.others:
                times.append(flush_at)
            # A claim whose time has come waits for free permits, or for the database: the end of a call or of a flush
            # wakes the loop.
            at = None if finishing or self._flushes.unreachable else self._plan.at
            if at is not None and (at > now or self._state.in_flight >= self._prefetch.permits):
                times.append(at if at > now else self._flushes.check_permits_at)
        elif under_way == 1 and self._ahead.flushes_take_long and flush_at > now:
            times.append(flush_at)
        with suppress(TimeoutError):
            async with asyncio.timeout(max((min(times) - now).total_seconds(), 0)):
                await self._look_again.wait()
        self._look_again.clear()

    async def _finish(self, level: int) -> None:
        """End the calls, write the results, release rows, slots and permits. `level`: of the line if that fails."""
        self._state.halt()
        flushes = self._state.flush_tasks.under_way
        while waited_for := [*self._state.tasks, *(flush for flush in flushes if not flush.done())]:
            # A flush may open more rows, whose calls end at once: the count of halts has changed.
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        for flush in flushes:
            flush.exception()  # read, so that asyncio does not log it: `run` is raising one already
        if self._state.rows:
            self._calls.give_up()  # they had no permit
        if self._state.results:
            await self._flushes.writer.write(self._state.results.take(of_events=True, others=True))
        unused = self._state.rows.unused()
        try:
            if unused:
                await self._state.in_turn(self._work.flush, [], None, None, unused)
            await self._state.in_turn(self._work.release_permits)
        except sa.exc.SQLAlchemyError as error:  # other workers get the permits when their time is over
            log.log(level, "%s: permits or slots could not be released (%s)", self._work.name, type(error).__name__)
