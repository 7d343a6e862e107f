"""Makes the calls of a dispatcher: one at a time for each permit, each in its slot, none that may not be made now."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Generic

from worker.core.dispatch.claim_plan import ClaimPlan
from worker.core.dispatch.contract import OpenedT, ResultT, Work
from worker.core.dispatch.decision_log import DecisionLog
from worker.core.dispatch.halts import Halts
from worker.core.dispatch.headroom import Headroom
from worker.core.dispatch.opened_rows import OpenedRows
from worker.core.dispatch.slot_gate import SlotGate
from worker.core.dispatch.steady_time import SteadyTime
from worker.core.dispatch.throughput import BusyStretch
from worker.core.foundation.clock import Clock, monotonic
from worker.core.model.metrics import WorkMeter

log = logging.getLogger(__name__)

# A look at each result would cost too much: the first one plans the flush, later ones show that rows are needed.
LOOK_EVERY = 50


class Results(Generic[ResultT]):
    """Results that are not being written yet. `of_events`: of events that have a next step: written at once."""

    def __init__(self) -> None:
        self.of_events: list[ResultT] = []
        self.others: list[ResultT] = []

    def __len__(self) -> int:
        return len(self.of_events) + len(self.others)

    def take(self, *, of_events: bool, others: bool) -> list[ResultT]:
        taken: list[ResultT] = []
        if of_events:
            taken, self.of_events = self.of_events, []
        if others:
            taken, self.others = [*taken, *self.others], []
        return taken


class Calls(Generic[OpenedT, ResultT]):
    """The calls of one dispatcher. Rows come from `rows`, and each row's result goes to `results`."""

    def __init__(
        self,
        work: Work[OpenedT, ResultT],
        rows: OpenedRows[OpenedT],
        results: Results[ResultT],
        plan: ClaimPlan,
        halts: Halts,
        *,
        headroom: Headroom,
        busy_stretch: BusyStretch,
        decisions: DecisionLog,
        clock: Clock,
        time: SteadyTime,
        stopping: asyncio.Event,
        meter: WorkMeter,
        look_again: Callable[[], object],
    ) -> None:
        """`look_again` is called when there may be more to do."""
        self._work, self._rows, self._results, self._plan, self._halts = work, rows, results, plan, halts
        self._headroom, self._busy_stretch, self._decisions = headroom, busy_stretch, decisions
        self._clock, self._time, self._stopping, self._look_again = clock, time, stopping, look_again
        self._meter, self._longest_call, self._has_next_step = meter, work.longest_call, work.has_next_step
        self.tasks: set[asyncio.Task[None]] = set()  # one for each permit in use; it makes call after call
        # A call waits here for its slot. Which row it is for is decided when the slot comes.
        self._slot_gate = SlotGate(
            time=time,
            halt=halts.unwritten,
            furthest=lambda: headroom.furthest_slot,
            spacing=lambda: rows.spacing,
        )

    def __len__(self) -> int:
        """Permits in use, by calls in flight or by calls that wait for their slot."""
        return len(self.tasks)

    @property
    def in_flight(self) -> int:
        return len(self.tasks) - self._slot_gate.waiting

    @property
    def use_all_permits(self) -> bool:
        return self.in_flight >= self._headroom.permits

    def begin(self) -> None:
        """Begin calls of opened rows in the free permits."""
        permits = self._headroom.permits
        if self._rows and not permits:
            self._decisions.not_done("call", "other workers hold all permits")
        for _ in range(min(len(self._rows) - self._slot_gate.waiting, permits - len(self.tasks))):
            task = asyncio.create_task(self._call_with_permit())
            self.tasks.add(task)
            task.add_done_callback(self._permit_freed)

    def _permit_freed(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self._look_again()

    async def _call_with_permit(self) -> None:
        """Call opened rows, one after the other, while there are any and the permit is still this dispatcher's."""
        rows, gate, headroom, results = self._rows, self._slot_gate, self._headroom, self._results
        while len(rows) > gate.waiting and len(self.tasks) <= headroom.permits:
            in_time = True
            if rows.next_slot() is not None:
                in_time = await gate.wait(rows.next_slot)
                if not rows or len(self.tasks) > headroom.permits:
                    return
            opened, is_event, slot, halts = rows.take() if in_time else rows.take_last()
            now = self._clock()
            if reason := self._why_not(opened, halts, now) if in_time else "the slot has passed":
                result = self._not_made(opened, slot, reason)
            else:
                result = await self._call(opened, slot, halts, now)
            if self._work.halts(result):
                self._halts.by_result()
            follows = is_event and self._has_next_step
            (results.of_events if follows else results.others).append(result)
            if follows or self._halts.unwritten.is_set() or len(results.others) % LOOK_EVERY == 1:
                self._look_again()

    def _why_not(self, opened: OpenedT, halts: int, now: datetime) -> str:
        """The last check before the call: the account is not halted, the worker not stopping, the lease is valid.

        Why the call may not be made; "" if it may. A call that waits for a connection is checked again after that.
        """
        if self._halts.count != halts:
            return "opened before the account was halted, the database was lost or the dispatcher ended"
        if self._stopping.is_set():
            return "the worker is stopping"
        if now + self._longest_call > self._work.item(opened).lease_until:
            return "the lease has passed"
        return ""

    def _not_made(self, opened: OpenedT, slot: datetime | None, reason: str) -> ResultT:
        self._decisions.not_done("call", reason)
        self._rows.not_used(slot)
        self._plan.claim_by(self._time())  # the row is due again
        return self._work.not_made(opened)

    async def _call(self, opened: OpenedT, slot: datetime | None, halts: int, now: datetime) -> ResultT:
        self._decisions.done("call")
        refused = ""

        def may_write(waited: bool) -> bool:
            nonlocal refused
            if waited:
                refused = self._why_not(opened, halts, self._clock())
            if not refused and slot is not None and not self._slot_gate.may_write(slot, waited=waited):
                refused = "its turn had passed when there was a connection"
            return not refused

        began, made = monotonic(), False
        try:
            result = await self._work.call(opened, now, may_write)
        except Exception as error:  # a bug must not lose the row: its call may have been made
            log.error("%s: a call failed with %s", self._work.name, type(error).__name__)
            made = not refused
            result = self._work.crashed(opened, error)
        else:
            made = not refused and self._work.made(result)
            if made:
                self._busy_stretch.call_ended()
            elif not refused:
                self._rows.not_used(slot)
        finally:
            if made:
                self._headroom.throughput.add(self._time.seconds())
                self._meter.called(monotonic() - began)
        return self._not_made(opened, slot, refused) if refused else result

    def give_up(self) -> None:
        """Call none of the opened rows."""
        self._results.others.extend(map(self._work.not_made, self._rows.take_all()))
