"""Records the spans of rows that are traced."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from worker.core.foundation.clock import Clock
from worker.core.limits.measured_pace import Stretch
from worker.core.limits.store.claims import Room
from worker.core.limits.store.flush import Flushed
from worker.core.model.http_messages import MayWrite
from worker.core.model.traces import Facts, Traces
from worker.core.model.wakeups import Step, WakeUp
from worker.core.work.step_endings import NOT_MADE, outcome_of

NAMES = {Step.ISSUE: ("claim job", "call provider"), Step.INVITE: ("claim message", "hand over message")}


class TracedWork:
    """Passes everything on to the given `contract.Work`, and records each traced row's claim and call."""

    def __init__(self, work: Any, wake_up: WakeUp, traces: Traces, clock: Clock) -> None:
        self._work, self._traces, self._clock = work, traces, clock
        self._claim, self._call = NAMES[wake_up.step]
        kind = "channel" if wake_up.step is Step.INVITE else "account"
        self._facts: Facts = {kind: wake_up.name}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)

    def flush(
        self,
        results: Sequence[Any],
        room: Room | None,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[Any]:
        began_at = self._clock()
        flushed: Flushed[Any] = self._work.flush(results, room, stretch, unused)
        ended_at = self._clock()
        for opened in flushed.opened:
            item = self._work.item(opened)
            if item.traceparent is not None:
                self._traces.step(item.traceparent, self._claim, began_at, ended_at, "claimed", self._of(item))
        return flushed

    async def call(self, opened: Any, now: datetime, may_write: MayWrite, /) -> Any:
        item = self._work.item(opened)
        if item.traceparent is None:
            return await self._work.call(opened, now, may_write)
        outcome, failed, written = "crashed", True, True

        def noted(waited: bool) -> bool:
            nonlocal written
            written = may_write(waited)
            return written

        try:
            result = await self._work.call(opened, now, noted)
            outcome, failed = outcome_of(result.ending, result.problem), result.problem is not None
            if not written:  # the result does not count
                outcome, failed = NOT_MADE, False
            return result
        finally:
            facts = self._of(item) | ({"look_up": "yes"} if _looks_up(item) else {})
            self._traces.step(
                item.traceparent, self._call, now, self._clock(), outcome, facts, failed=failed, leaves=True
            )

    def _of(self, item: Any) -> dict[str, str | int]:
        job = getattr(item, "job_id", None) or item.id  # of a message, its job's
        return {**self._facts, "batch": item.batch_id, "job": job}


def _looks_up(item: Any) -> bool:
    return item.unknown_call is not None or getattr(item, "asks", None) is not None
