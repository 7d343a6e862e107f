"""The progress of a batch on standard error: a display on a terminal, else a plain line every few seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from worker.domain.model.states import JobState
from worker.store.operators.counts import BatchCounts

PLAIN_EVERY = 5.0  # seconds between lines without a terminal


class Progress(Protocol):
    def show(self, counts: BatchCounts, waits_for: str) -> None: ...


@contextmanager
def open_progress() -> Iterator[Progress]:
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = _Lines(console)
        yield lines
        lines.last()
        return
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=console, transient=False) as bars:
        yield _Display(bars)


class _Display:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._issued = bars.add_task("sessions", total=None, note="")
        self._sent = bars.add_task("out", total=None, note="")

    def show(self, counts: BatchCounts, waits_for: str) -> None:
        total = sum(counts.jobs.values())
        # Counted from the rows each time: a second run of the same list shows where the batch is.
        self._bars.update(self._issued, total=total, completed=total - _unissued(counts), note=_note(counts))
        self._bars.update(self._sent, total=total, completed=counts.out, note=waits_for)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed_at = 0.0
        self._line = self._last = ""

    def show(self, counts: BatchCounts, waits_for: str) -> None:
        self._line = line_of(counts, waits_for)
        if time.monotonic() - self._printed_at >= PLAIN_EVERY:
            self._printed_at = time.monotonic()
            self._print()

    def last(self) -> None:
        if self._line != self._last:
            self._print()

    def _print(self) -> None:
        # Never wrapped, however narrow the terminal: scripts read the line, and logs keep it.
        self._console.print(self._line, markup=False, highlight=False, soft_wrap=True)
        self._last = self._line


def line_of(counts: BatchCounts, waits_for: str = "") -> str:
    """The progress of a batch, in one line."""
    total = sum(counts.jobs.values())
    issued = total - _unissued(counts)
    found = (f"{counts.out:,} of {total:,} out, {issued:,} sessions", _note(counts), waits_for)
    return " · ".join(part for part in found if part)


def _unissued(counts: BatchCounts) -> int:
    return counts.jobs.get(JobState.WAITING, 0) + counts.jobs.get(JobState.WORKING, 0)


def _note(counts: BatchCounts) -> str:
    notes = [
        f"{counts.jobs[state]:,} {state.value}"
        for state in (JobState.HELD, JobState.FAILED, JobState.CANCELLED)
        if counts.jobs.get(state)
    ]
    limited = sum(facts.rate_limited for facts in counts.accounts.values())
    if limited:
        notes.append(f"{limited:,} rate-limited")
    return ", ".join(notes)
