"""The progress of a batch on standard error: a display on a terminal, else a plain line every few seconds."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from worker.core.foundation.notation import counted
from worker.core.model.states import JobState
from worker.reporting.store.counts import BatchCounts

PLAIN_EVERY = 5.0  # seconds between lines without a terminal
PACE_OF = 30.0  # the pace is that of the last seconds: it changes with pauses and limits


class Progress(Protocol):
    def show(self, counts: BatchCounts, waits_for: str) -> None: ...


@contextmanager
def open_progress(*, on_click: bool) -> Iterator[Progress]:
    """`on_click`: a row is out without a session, which is bought when its customer comes."""
    console = Console(stderr=True)
    if not console.is_terminal:
        lines = _Lines(console, on_click=on_click)
        yield lines
        lines.last()
        return
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=24),  # a line fits into 80 columns
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TextColumn("[dim]elapsed"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console, transient=False) as bars:
        yield _Display(bars, on_click=on_click)


class Pace:
    """How fast rows go out, from what was seen in the last seconds, and how long the rest takes at that pace."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, out: int, now: float) -> None:
        """`out` rows were out at `now`, in seconds of a clock that only goes forward."""
        self._seen.append((now, out))
        while len(self._seen) > 2 and self._seen[1][0] <= now - PACE_OF:
            self._seen.popleft()

    def words(self, left: int) -> str:
        """`24/s, 10 min left`; "" before a row has gone out, and when none is left."""
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        if last <= first or ended <= began or left <= 0:
            return ""
        rate = (last - first) / (ended - began)
        seconds = round(left / rate)
        minutes = -(-seconds // 60)
        time_left = f"{seconds} s" if seconds < 60 else f"{minutes} min" if minutes < 120 else f"{-(-minutes // 60)} h"
        return f"{f'{rate:.0f}/s' if rate >= 1 else f'{rate * 60:.0f}/min'}, {time_left} left"


class _Display:
    def __init__(self, bars: Bars, *, on_click: bool) -> None:
        self._bars, self._on_click = bars, on_click
        self._pace = Pace()
        self._tasks: list[TaskID] = []

    def show(self, counts: BatchCounts, waits_for: str) -> None:
        total = sum(counts.jobs.values())
        if not self._tasks:  # a bar without its total would be drawn as if it were full
            names = ("sent",) if self._on_click else ("sessions", "sent")
            self._tasks = [self._bars.add_task(name, total=total, note="") for name in names]
        self._pace.see(counts.out, time.monotonic())
        # Counted from the rows each time: a second run of the same list shows where the batch is.
        *issued, sent = self._tasks
        note = waits_for or self._pace.words(counts.left)
        if issued:
            self._bars.update(issued[0], total=total, completed=counts.sessions, note=_note(counts))
        else:
            note = " · ".join(filter(None, (_bought(counts), _note(counts), note)))
        self._bars.update(sent, total=total, completed=counts.out, note=note)


class _Lines:
    def __init__(self, console: Console, *, on_click: bool) -> None:
        self._console, self._on_click = console, on_click
        self._printed_at = 0.0
        self._line = self._last = ""
        self._pace = Pace()

    def show(self, counts: BatchCounts, waits_for: str) -> None:
        now = time.monotonic()
        self._pace.see(counts.out, now)
        self._line = line_of(counts, waits_for or self._pace.words(counts.left), on_click=self._on_click)
        if now - self._printed_at >= PLAIN_EVERY:
            self._printed_at = now
            self.last()

    def last(self) -> None:
        """Print the newest line, unless it was printed: the same line again would only fill a log."""
        if self._line == self._last:
            return
        # Never wrapped, however narrow the terminal: scripts read the line, and logs keep it.
        self._console.print(self._line, markup=False, highlight=False, soft_wrap=True)
        self._last = self._line


def line_of(counts: BatchCounts, waits_for: str = "", *, on_click: bool = False) -> str:
    """The progress of a batch, in one line."""
    total = sum(counts.jobs.values())
    sessions = _bought(counts) if on_click else counted(counts.sessions, "session")
    found = (f"{counts.out:,} of {total:,} out, {sessions}", _note(counts), waits_for)
    return " · ".join(part for part in found if part)


def _bought(counts: BatchCounts) -> str:
    return f"{counted(counts.bought, 'session')} bought"


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
