"""What `onboard run` and `onboard import` do, once their options are read. Returns their exit codes.

The progress of a batch goes to standard error: a display on a terminal, else a plain line every few seconds.
"""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from onboarding_worker.cli.approval import approve
from onboarding_worker.cli.commands.status import show_status
from onboarding_worker.cli.exits import DONE, LATER, NEEDS_A_PERSON, CannotStart, Stopped, refusing
from onboarding_worker.cli.invocation import Invocation
from onboarding_worker.cli.lists.adopting import Adopting
from onboarding_worker.cli.lists.listed import (
    Listed,
    changes_of,
    import_listed,
    refuse_what_cannot_work,
    refusing_lists,
)
from onboarding_worker.cli.running import ends
from onboarding_worker.cli.running.summary import as_facts, can_ask, channels_of, in_words, left_alone, lift_stopped
from onboarding_worker.cli.shared_options import print_json
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.foundation.logs import about
from onboarding_worker.core.foundation.notation import counted, written_if_any
from onboarding_worker.core.model.states import BatchState, JobState
from onboarding_worker.http import event_loop
from onboarding_worker.lists.importing.adopting import parse_cell, unknown_parameter
from onboarding_worker.lists.importing.list_import import Imported
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.plans.store.plans import Plan
from onboarding_worker.reporting.batch_report import state_of
from onboarding_worker.reporting.store.counts import BatchCounts
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.runtime.batch_run import OneBatch, Stand, Unusable
from onboarding_worker.runtime.embedded import AlreadyWorking, Embedded, sole_worker
from onboarding_worker.settings.needs import ENCRYPTING, Need
from onboarding_worker.settings.policies import buys_on_click
from onboarding_worker.wiring.background import opened_work
from onboarding_worker.wiring.container import Parts

PLAIN_EVERY = 5.0  # seconds between lines without a terminal
ENDS = (Stand.INTERRUPTED, Stand.TERMINATED, Stand.HALTED, Stand.OUTDATED)  # the process, and not one batch
PACE_OF = 30.0  # the pace is that of the last seconds: it changes with pauses and limits


def run_list(
    invocation: Invocation,
    *,
    listed: Listed,
    until: str,
    patience: timedelta,
    again: bool,
    plan: Plan | None,
    every: bool,
    yes: bool,
    as_json: bool,
) -> int:
    with refusing(AlreadyWorking), invocation.parts(migrate=True) as parts:
        refuse_what_cannot_work(parts)
        if stopped_by := parts.emergency_stops.find():
            raise CannotStart(f"{stopped_by.in_words}; `onboard resume --all` goes on")
        asked = listed.options(parts)
        choices = listed.choices(parts, again=again, plan=plan)
        approved = False
        if not yes and can_ask():
            with refusing_lists(listed.name):
                approved = approve(parts, listed, asked, choices)
        try:
            with sole_worker(parts, "run"), ends.stopped_by_ctrl_c(parts) as opened, refusing_lists(listed.name):
                if every:
                    lift_stopped(parts, yes=yes)
                imported = import_listed(parts, listed, asked, choices, lift=True, opened=opened, was_shown=approved)
                batch, worked = imported.batch, imported.report.batches if imported.report is not None else set[int]()
                others = [] if every else left_alone(parts, batch.id, worked=worked)
                for one in others:
                    click.echo(f"left alone: {in_words(one)}", err=True)
                parts.resume(None if every else channels_of(parts, batch))
                with about(batch=batch.id), parts.heartbeat("run", batch_id=None if every else batch.id):
                    stand, undone, rest = send_corrected(parts, worked, until=until, patience=patience)
                    if stand not in ENDS:
                        own, undone = work_batch(parts, batch, until=until, patience=patience, alone=not every)
                        stand = stand if own is Stand.DONE and stand is Stand.STOPPED else own
                ended = "\n".join(
                    ends.stopped_at(parts, one, stand, is_own=not rest) for one in rest or [batch]
                ).strip()
                corrected = set() if rest else worked - {one.batch.id for one in others}
                unsent = [one for one in left_alone(parts, batch.id) if one.batch.id in corrected] if corrected else []
                others += unsent
                for one in unsent:
                    click.echo(f"left of the corrected rows: {in_words(one)}", err=True)
        except Unusable as error:
            why = f"the database could not be used for longer than --patience: {error}"
            stays = "what is written stays; the same command goes on, and finds out about calls whose results are lost"
            raise Stopped(f"{why}\n{stays}") from None
        # This process ends: what is left has an end only where another one works it.
        batch, facts, missing = _stored(parts, imported)
        waits = stand is Stand.LATER and not batch.is_paused
        later = ends.until_when(parts, batch, alone=not every) if waits else None
        if as_json:
            facts |= _changes_of(imported) | {"waits_until": written_if_any(later.until if later else None)}
            print_json(facts | {"left_alone": as_facts(others)})
        else:
            show_status(facts)
            click.echo(f"each row: onboard report {batch.id} --out report.csv")
        failed = ends.to_correct(parts, corrected - {batch.id})
        for note in [*ends.notes_of(parts, batch, stand, undone=undone, ended=ended), *failed]:
            click.echo(note, err=True)
        code = ends.exit_code(parts, batch, stand, facts, later, missing) or (LATER if unsent else DONE)
        return NEEDS_A_PERSON if failed and code in (DONE, LATER) else code


def import_list(
    invocation: Invocation, *, listed: Listed, again: bool, plan: Plan | None, adopt: bool, invite: bool, as_json: bool
) -> int:
    """`adopt`: sessions that another tool opened. `invite`: their first messages are sent."""
    needs = ENCRYPTING | {Need.CALLS if adopt else Need.BUS}
    with invocation.parts(needs, migrate=True) as parts, refusing_lists(listed.name):
        refuse_what_cannot_work(parts)
        options, choices = listed.options(parts), listed.choices(parts, again=again, plan=plan)
        if adopt:
            options = replace(options, adopts=True, check_parameter=parse_cell, known_parameter=unknown_parameter)
        with Adopting(parts, invites=invite) if adopt else nullcontext() as adopts:
            imported = import_listed(parts, listed, options, choices, adopts=adopts)
        batch, facts, _ = _stored(parts, imported)
        if as_json:
            print_json(facts if adopt else facts | _changes_of(imported))
        else:
            show_status(facts)
        return NEEDS_A_PERSON if facts["rows"]["rejected"] or batch.is_paused else DONE


def _changes_of(imported: Imported) -> dict[str, Any]:
    """What a list or a report has changed of customers who were known, for `--json`."""
    return {"changed_addresses": imported.changed} | changes_of(imported.report)


def _stored(parts: Parts, imported: Imported) -> tuple[BatchFacts, dict[str, Any], Sequence[Wait]]:
    """The batch of a list as it stands now, what is reported of it, and what its rows need that the configuration does
    not have."""
    batch = parts.batches.find(str(imported.batch.id)) or imported.batch
    whole = parts.operation.report()
    return batch, whole.with_what_is_worked(parts.reporting.status(batch)), whole.missing.get(batch.id, ())


def send_corrected(
    parts: Parts, batches: Collection[int], *, until: str, patience: timedelta
) -> tuple[Stand, list[str], list[BatchFacts]]:
    """Send what a report has changed: the messages belong to the batches of the corrected rows. Returns why it ended,
    what features have left, and the batches that were not worked to their end."""
    ended, undone = Stand.DONE, list[str]()
    found = [one for number in sorted(batches) if (one := parts.batches.find(str(number))) is not None]
    for place, batch in enumerate(found):
        click.echo(f"the changed rows of batch {batch.id} ({batch.name}):", err=True)
        stand, undone = work_batch(parts, batch, until=until, patience=patience, alone=True, resent=True)
        if stand in ENDS:
            return stand, undone, found[place:]
        ended = stand if stand is Stand.STOPPED else ended
    return ended, undone, []


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

    async def until_done(show: Callable[[BatchCounts, str], None]) -> tuple[Stand, list[str]]:
        work = opened_work(parts, in_run=True)
        embedded = Embedded(parts, work=work, only_batch=batch.id if alone else None)
        loop = asyncio.get_running_loop()
        by_signal: list[signal.Signals] = []

        def end(number: signal.Signals) -> None:
            by_signal.append(number)
            embedded.interrupt()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        one = OneBatch(embedded, batch.id, is_done=is_done, patience=patience, alone=alone, show=show)
        stand = await one.work()
        # Only Ctrl-C is a person's decision: a service manager ends a process with SIGTERM and starts it again.
        if stand is Stand.INTERRUPTED and signal.SIGINT not in by_signal:
            stand = Stand.TERMINATED
        return stand, one.left

    if alone:
        outlive_deadlocks(partial(parts.pilots.choose, batch.id, alone=True, now=parts.clock()))
    with open_progress(on_click=buys_on_click(parts.settings)) as show:
        return event_loop.run(until_done(show))


@contextmanager
def open_progress(*, on_click: bool) -> Iterator[Callable[[BatchCounts, str], None]]:
    """Yields what shows the counts, and what the batch waits for. `on_click`: a row is out without a session, which is
    bought when its customer comes."""
    console = Console(stderr=True)
    if console.is_terminal:
        before = TextColumn("{task.description:<9}"), BarColumn(bar_width=24), MofNCompleteColumn()  # in 80 columns
        note = TextColumn("{task.fields[note]}"), TextColumn("[dim]elapsed"), TimeElapsedColumn()
        with Progress(*before, *note, console=console) as bars:
            yield drawn_on(bars, on_click=on_click)
        return
    pace, printed_at, line, printed = Pace(), 0.0, "", ""

    def show(counts: BatchCounts, waits_for: str) -> None:
        nonlocal printed_at, line
        now = time.monotonic()
        going = pace.see(counts.out, now)
        line = line_of(counts, waits_for or (going if counts.left else ""), on_click=on_click)
        if now - printed_at >= PLAIN_EVERY:
            printed_at = now
            print_newest()

    def print_newest() -> None:
        nonlocal printed
        if line != printed:  # the same line again would only fill a log
            # Never wrapped, however narrow the terminal: scripts read the line, and logs keep it.
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            printed = line

    yield show
    print_newest()


class Pace:
    """How fast rows go out, from what was seen in the last seconds. It does not say when all are out: some may wait."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, out: int, now: float) -> str:
        """`24/s`; "" before a row has gone out. `out` rows were out at `now`, in seconds of a clock that only goes
        forward."""
        self._seen.append((now, out))
        while len(self._seen) > 2 and self._seen[1][0] <= now - PACE_OF:
            self._seen.popleft()
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        if last <= first or ended <= began:
            return ""
        rate = (last - first) / (ended - began)
        return f"{rate:.0f}/s" if rate >= 1 else f"{rate * 60:.0f}/min"


def drawn_on(bars: Progress, *, on_click: bool) -> Callable[[BatchCounts, str], None]:
    """What shows the counts in these bars."""
    pace, tasks = Pace(), list[TaskID]()

    def show(counts: BatchCounts, waits_for: str) -> None:
        total = counts.total
        if not tasks:  # a bar without its total would be drawn as if it were full
            names = ("sent",) if on_click else ("sessions", "sent")
            tasks.extend(bars.add_task(name, total=total, note="") for name in names)
        going = pace.see(counts.out, time.monotonic())
        # Counted from the rows each time: a second run of the same list shows where the batch is.
        note = waits_for or (going if counts.left else "")
        if on_click:
            note = " · ".join(filter(None, (_bought(counts), _note(counts), note)))
        else:
            bars.update(tasks[0], total=total, completed=counts.sessions, note=_note(counts))
        bars.update(tasks[-1], total=total, completed=counts.out, note=note)

    return show


def line_of(counts: BatchCounts, waits_for: str = "", *, on_click: bool = False) -> str:
    """The progress of a batch, in one line."""
    sessions = _bought(counts) if on_click else counted(counts.sessions, "session")
    found = (f"{counts.out:,} of {counts.total:,} out, {sessions}", _note(counts), waits_for)
    return " · ".join(part for part in found if part)


def _bought(counts: BatchCounts) -> str:
    return f"{counted(counts.bought, 'session')} bought"


def _note(counts: BatchCounts) -> str:
    notes = [
        f"{counts.jobs[state]:,} {state.value}"
        for state in (JobState.HELD, JobState.FAILED, JobState.CANCELLED)
        if counts.jobs.get(state)
    ]
    notes += [f"{counts.rejected:,} rejected"] if counts.rejected else []
    notes += [f"{counts.duplicate:,} duplicate"] if counts.duplicate else []
    limited = sum(facts.rate_limited for facts in counts.accounts.values())
    if limited:
        notes.append(f"{limited:,} rate-limited")
    return ", ".join(notes)
