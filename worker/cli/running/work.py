"""The work of a run: in this process, until its list is done, cannot go on, or is interrupted."""

import asyncio
import signal
from collections.abc import Collection
from datetime import timedelta

from worker.cli.progress import Progress, open_progress
from worker.core.customers.store.batches import BatchFacts
from worker.core.foundation import event_loop
from worker.core.model.states import BatchState
from worker.reporting.batch_report import state_of
from worker.reporting.store.counts import BatchCounts
from worker.runtime.batch_run import OneBatch, Stand
from worker.runtime.embedded import Embedded
from worker.settings.policies import buys_on_click
from worker.wiring.background import opened_work
from worker.wiring.container import Parts


def send_corrected(parts: Parts, batches: Collection[int], *, until: str, patience: timedelta) -> Stand | None:
    """Send what a report has changed: the messages belong to the batches of the corrected rows."""
    for number in sorted(batches):
        batch = parts.batches.find(str(number))
        if batch is not None:
            stand, _ = work_batch(parts, batch, until=until, patience=patience, alone=True, resent=True)
            if stand in (Stand.INTERRUPTED, Stand.TERMINATED, Stand.HALTED, Stand.OUTDATED):
                return stand
    return None


def work_batch(
    parts: Parts, batch: BatchFacts, *, until: str, patience: timedelta, alone: bool, resent: bool = False
) -> tuple[Stand, list[str]]:
    """Why the work ended, and what features have left. `resent`: also the links that are sent again."""

    def is_done(counts: BatchCounts) -> bool:
        current = parts.batches.find(str(batch.id)) or batch  # it may be paused or cancelled meanwhile
        state = state_of(current, counts)
        if resent and parts.facts.is_resending(batch.id, now=parts.clock()):
            return False
        return state in (BatchState.FINISHED, BatchState.CANCELLED) or (until == "sent" and state is BatchState.SENT)

    async def until_done(progress: Progress) -> tuple[Stand, list[str]]:
        work = opened_work(parts, in_run=True)
        embedded = Embedded(parts, work=work, only_batch=batch.id if alone else None)
        loop = asyncio.get_running_loop()
        by_signal: list[signal.Signals] = []

        def end(number: signal.Signals) -> None:
            by_signal.append(number)
            embedded.interrupt()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        one = OneBatch(
            embedded,
            batch.id,
            facts=parts.facts,
            rules=parts.budget_rules,
            takeovers=parts.takeovers,
            clock=parts.clock,
            is_done=is_done,
            patience=patience,
            alone=alone,
            take_leads=lambda: parts.decisions.take_leads(batch.id, stopped_only=not alone, now=parts.clock()),
            halted=parts.standstills.is_there,
            verdict_by=lambda: parts.pilots.verdict_by(batch.id, now=parts.clock()),
            show=progress.show,
        )
        stand = await one.work()
        # Only Ctrl-C is a person's decision: a service manager ends a process with SIGTERM and starts it again.
        if stand is Stand.INTERRUPTED and signal.SIGINT not in by_signal:
            stand = Stand.TERMINATED
        return stand, one.left

    with open_progress(on_click=buys_on_click(parts.settings)) as progress:
        return event_loop.run(until_done(progress))
