"""Makes the calls of a dispatcher: one at a time for each permit, each in its slot.

Refused is a call that may not be made now: its slot has passed, its lease is too short, or a halt has come. Its row is
given back, and counts as not called.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Generic

from onboarding_worker.core.claim.flush import CallResult, RowT
from onboarding_worker.core.dispatch.prefetch import AHEAD_MOST, EVENTS_AHEAD
from onboarding_worker.core.dispatch.state import State
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.rules.limits import LAPSE

log = logging.getLogger(__name__)

# A look at each result would cost too much: the first one plans the flush, later ones show that rows are needed.
LOOK_EVERY = 50
# How much lateness may be made up for. A timer wakes a few milliseconds late, more on a busy machine: without this the
# calls would be slower than the limit for good. With more, a stop would be followed by calls above the limit.
CATCH_UP = timedelta(milliseconds=50)
CLOCK_SET_MEANWHILE = timedelta(seconds=1)


class Calls(Generic[RowT]):
    """The calls of one dispatcher."""

    def __init__(self, state: State[RowT]) -> None:
        self._state, self._work, self._prefetch = state, state.work, state.prefetch
        self._longest_call, self._has_next_step = state.work.longest_call, state.work.has_next_step
        # A call waits here for its slot. Which row it is for is decided when the slot comes.
        self._slot_gate = SlotGate(state)

    def begin(self) -> None:
        """Begin calls of opened rows in the free permits."""
        permits = self._prefetch.permits
        if self._state.rows and not permits:
            self._state.decisions.note("call", why_not="other workers hold all permits")
        for _ in range(min(len(self._state.rows) - self._state.waiting, permits - len(self._state.tasks))):
            task = asyncio.create_task(self._call_with_permit())
            self._state.tasks.add(task)
            task.add_done_callback(self._state.tasks.discard)
            task.add_done_callback(lambda _: self._state.look_again.set())

    async def _call_with_permit(self) -> None:
        """Call opened rows, one after the other, while there are any and the permit is still this dispatcher's."""
        state, gate, prefetch = self._state, self._slot_gate, self._prefetch
        rows, results = state.rows, state.results
        while len(rows) > state.waiting and len(state.tasks) <= prefetch.permits:
            in_time = True
            if rows.next_slot() is not None:
                in_time = await gate.wait()
                if not rows or len(state.tasks) > prefetch.permits:
                    return
            opened, is_event, slot, halts = rows.take(last=not in_time)
            now = state.clock()
            if reason := self._why_not(opened, halts, now) if in_time else "the slot has passed":
                result = self._skipped(opened, slot, reason)
            else:
                result = await self._call(opened, slot, halts, now)
            if result.problem is not None and result.problem.concerns_account:
                state.halt()
            follows = is_event and self._has_next_step
            (results.of_events if follows else results.others).append(result)
            if follows or state.unwritten_halt.is_set() or len(results.others) % LOOK_EVERY == 1:
                self._state.look_again.set()

    def _why_not(self, opened: RowT, halts: int, now: datetime) -> str:
        """The last check before the call: the account is not halted, the worker not stopping, the lease is valid.

        Why the call may not be made; "" if it may. A call that waits for a connection is checked again after that.
        """
        if self._state.halts != halts:
            return "opened before the account was halted, the database was lost or the dispatcher ended"
        if self._state.stopping.is_set():
            return "the worker is stopping"
        if now + self._longest_call > opened.lease_until:
            return "the lease has passed"
        if opened.call_before is not None and now >= opened.call_before:
            return "the day of its credit is over"
        return ""

    def _skipped(self, opened: RowT, slot: datetime | None, reason: str) -> CallResult[RowT]:
        self._state.decisions.note("call", why_not=reason)
        self._state.rows.not_used(slot)
        self._state.plan.claim_by(self._state.time())  # the row is due again
        return self._work.skipped(opened)

    async def _call(self, opened: RowT, slot: datetime | None, halts: int, now: datetime) -> CallResult[RowT]:
        self._state.decisions.note("call")
        refused = ""

        def may_write(waited: bool) -> bool:
            nonlocal refused
            if waited:
                refused = self._why_not(opened, halts, self._state.clock())
            if not refused and slot is not None and not self._slot_gate.may_write(slot, waited=waited):
                refused = "its turn had passed when there was a connection"
            return not refused

        began, made = monotonic(), False
        self._prefetch.begun.add()
        try:
            result = await self._work.call(opened, now, may_write)
        except Exception as error:  # a bug must not lose the row: its call may have been made
            log.error("%s: a call failed with %s", self._work.name, type(error).__name__)
            made = not refused
            result = self._work.after_crash(opened, error)
        else:
            made = not refused and result.called
            if made:
                self._state.busy_stretch.calls += 1
            elif not refused:
                self._state.rows.not_used(slot)
        finally:
            if made:
                self._prefetch.ended.add()
                self._state.meter.called(monotonic() - began)
        return self._skipped(opened, slot, refused) if refused else result

    def give_up(self) -> None:
        """Call none of the opened rows."""
        self._state.results.others.extend(map(self._work.skipped, self._state.rows.take_all()))


class SlotGate:
    """Lets the calls go one after the other, each in its slot, no closer together than the rate limit allows.

    One of them waits for the time of the next slot. The others stand in line behind it: where it comes late, on a busy
    loop, as many go on in the same turn of the loop as may go by then. One in each turn would be slower than the limit.
    """

    def __init__(self, state: State[Any]) -> None:
        """A halt ends all waiting: the caller checks again whether its call may be made."""
        self._state, self._time = state, state.time
        self._is_first = False  # whether a call waits for the time of the next slot
        self._line: deque[asyncio.Future[None]] = deque()  # the calls behind it
        self._next_at = state.time()  # before it no call is written
        self._least_at = self._next_at  # how far back lateness was made up for when a call was last let through
        self._untrue: datetime | None = None  # a slot that a wrong clock reserved

    async def wait(self) -> bool:
        """Wait for the next slot, where there is one: a call without a slot does not wait here.

        Returns whether a call may be made in the slot that is the next one then: the caller picks the row, and an event
        that came meanwhile goes first. False: the slot has passed, or would before its turn comes. Nothing is waited
        for then: if it delayed the calls behind it, their slots would pass as well, and so on.

        The call is counted when it is written (`may_write`). A call that is not made delays no other one.
        """
        self._state.waiting += 1
        try:
            while self._is_first:
                turn = asyncio.get_running_loop().create_future()
                self._line.append(turn)
                await turn
            self._is_first = True
            try:
                return await self._for_next()
            finally:
                self._is_first = False
        finally:
            self._state.waiting -= 1
            if not self._is_first:  # the first in line goes on, and with it as many as may be written by now
                late, spacing = self._time() - max(self._next_at, self._least_at), self._state.rows.spacing
                many = max(late // spacing, 1) if spacing else len(self._line)
                while self._line and many:
                    turn = self._line.popleft()
                    if not turn.done():  # else its call was cancelled
                        turn.set_result(None)
                        many -= 1

    async def _for_next(self) -> bool:
        slot = self._state.rows.next_slot()
        if slot is not None:
            # A late call delays the calls behind it: many late slots are not used at once.
            least, slot_at = self._time() - CATCH_UP, self._time.of(slot)
            lead = self._state.prefetch.flush_times.lead
            furthest = self._time() + AHEAD_MOST + EVENTS_AHEAD + 3 * lead + CLOCK_SET_MEANWHILE
            # No slot is further ahead when it is claimed: a wrong clock reserved it. It is waited for once, though
            # earlier slots may come meanwhile.
            if slot_at > furthest:
                slot_at = least if slot == self._untrue else furthest
                self._untrue = slot
            begins_at = max(slot_at, self._next_at, least)
            if begins_at >= slot_at + LAPSE - CATCH_UP and slot != self._untrue:
                return False
            # A call that had waited for its connection may have been written meanwhile.
            while (wait := max(begins_at, self._next_at) - self._time()) > timedelta(0):
                if self._state.unwritten_halt.is_set():
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait.total_seconds()):
                        await self._state.unwritten_halt.wait()
            slot = self._state.rows.next_slot()
        now = self._time()
        self._least_at = now - CATCH_UP
        return slot is None or now <= self._time.of(slot) + LAPSE

    def may_write(self, slot: datetime, *, waited: bool) -> bool:
        """Whether the call with this slot may be written now; it is written then, and those behind it keep the spacing.

        `waited`: for a connection, after its turn here. Several connections may be there at the same moment, and their
        calls may not leave together, nor next to those that kept connections wrote meanwhile.
        """
        if waited:
            now = self._time()
            if self._next_at > now or now > self._time.of(slot) + LAPSE:
                return False
            self._least_at = now - CATCH_UP
        self._next_at = max(self._next_at, self._least_at) + self._state.rows.spacing
        return True
