"""Imports a list into the database: each line becomes a job or a skipped line.

The lines are judged in chunks: made in this process, or in a child of it while this process stores them. The child
reads, judges and encrypts a large list on a core of its own (decision 91). Both make their chunks by `chunks`: a list
becomes the same rows wherever it is judged.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from threading import Event
from typing import TypeVar

import sqlalchemy as sa

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.incoming import Outcome
from onboarding_worker.core.model.states import BATCH
from onboarding_worker.lists.columns import OwnFile
from onboarding_worker.lists.formats.opening import Content, content_digest
from onboarding_worker.lists.importing.adopting import Adopts
from onboarding_worker.lists.importing.forked import ChildEnded, Forked, forked
from onboarding_worker.lists.importing.intake import A_REPORT, Intake, judge
from onboarding_worker.lists.importing.judging import Judged, count, judge_all, judge_chunk
from onboarding_worker.lists.known_customers import KnownChoices
from onboarding_worker.lists.lines import AcceptedLine, Line, ListRefused, RefusedLine
from onboarding_worker.lists.listing import CustomerList, open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.store.batches import Batches, BatchFacts
from onboarding_worker.lists.store.new_rows import Chunk
from onboarding_worker.lists.traces import Span, Traces
from onboarding_worker.lists.warned import Refusals, Warned
from onboarding_worker.plans.deadlines import RowTimes, group_of, planned
from onboarding_worker.plans.store.plans import Plan

log = logging.getLogger(__name__)
# How long an import that has begun waits for a database that restarts, and how often it tries.
DATABASE_PATIENCE = timedelta(seconds=60)
DATABASE_RETRY = timedelta(seconds=1)
LARGE = 500_000  # bytes of a list, some 5,000 rows: a smaller one is stored in one or two transactions
Progress = Callable[[int], None]
Judges = Callable[[Sequence[Line]], list[AcceptedLine | RefusedLine]]
T = TypeVar("T")


class TooManyRefused(Exception):
    """The list has refused lines, and --strict is set: nothing of it is imported."""


class ListChanged(ListRefused):
    """The list was changed while it was read. Its batch stays incomplete, since its name is the list as it was."""


class CutOff(Exception):
    """The database could not be reached in the middle of a list. Imported rows stay; the same list again goes on."""


@dataclass(frozen=True, kw_only=True)
class ImportChoices(KnownChoices):
    """What a person chose for an import.

    `again`: a new batch, though the list has one. `strict`: nothing is imported if a row is refused.
    `plan`: how a new batch goes out, and `hold`: why it waits for a person: see `Batches.open`.
    """

    again: bool = False
    strict: bool = False
    plan: Plan | None = None
    hold: str = ""


USUAL = ImportChoices()


@dataclass(frozen=True)
class Imported:
    """The list's batch. `new` is False when an import of the same list was begun before.

    `warnings` are what a person should check about the file; `refusals` and `warned` are of the rows of this import.
    """

    batch: BatchFacts
    new: bool
    warnings: tuple[str, ...] = ()
    refusals: Refusals = field(default_factory=Refusals)
    report: ReturnedReport | None = None  # if it is a report of ours that came back
    warned: Warned = field(default_factory=Warned)
    changed: int = 0  # rows that change the address of a customer with a live link


def import_list(
    intake: Intake,
    batches: Batches,
    content: Content,
    options: ListOptions,
    *,
    name: str,
    choices: ImportChoices = USUAL,
    report: ReturnedReport | None = None,
    adopts: Adopts | None = None,
    reading: CustomerList | None = None,
    child: Forked[Chunk] | None = None,
    opened: Callable[[BatchFacts], None] = lambda _batch: None,
    progress: Progress = lambda _rows: None,
    pause: Callable[[float], None] = time.sleep,
) -> Imported:
    """Import the list as `name`. An import that was cut off goes on where it stopped, with `again` too.

    `report`: the list, if it is a report that comes back; None: reports are refused. `adopts`: what becomes
    of rows that name a session; None: the list names none. `reading`: the content, if it was opened with these options.
    `child`: of `judging_child` for this list; it judges where judging needs no database. A batch that is complete, or
    was cancelled, stays as it is. `opened` gets the batch before its first row is written.

    Raises intake.ListRefused, and TooManyRefused under `strict` before anything is written; ListChanged at the end, if
    the bytes are not those that it began with. When the database cannot be used in the middle, the import waits,
    `pause` seconds at a time; it raises CutOff when that takes too long.
    """
    from onboarding_worker.lists.store.added_lines import all_added  # imported here: `check` adds no line

    if reading is None:
        reading = open_list(content, options)  # before anything is written: an unreadable list makes no batch
    if reading.own is OwnFile.REPORT and report is None:
        raise ListRefused([f"the file is {A_REPORT.problem.removeprefix('a row of ')}: {A_REPORT.hint}"])
    digest = content_digest(content)
    if choices.strict:
        all_judged = Judged()
        for line in judge_all(intake, batches, reading, choices, report=report):
            count(all_judged, line)
        if refused := all_judged.rejected:
            raise TooManyRefused(f"{refused} of {all_judged.total} rows are refused; `onboard check` names them")
    before = batches.of_content(digest) if choices.again else None
    # A command with --again that was killed is given again as it was: the half batch must not stay behind.
    again = choices.again and (before is None or before.imported_at is not None or before.cancelled_at is not None)
    batch, new = batches.open(
        name=name, digest=digest, again=again, now=intake.clock(), plan=choices.plan, hold=choices.hold
    )
    opened(batch)
    if batch.imported_at is not None or batch.cancelled_at is not None:
        return Imported(batch, new, reading.warnings, report=report)
    steps = _Steps(intake, batches, batch.id, choices, adopts, pause)
    judged: Judges | None = None  # None: the configuration says all
    if adopts is not None:
        judged = partial(adopts.judge, intake=intake)
    elif report is not None:
        judged = partial(steps.settle, report)
    plan = batches.plan(batch)
    times = _times(intake, reading, plan.plan, plan.plan.deadline) if plan is not None and plan.plan.deadline else None
    if judged is not None or times is not None:
        child = None
    here = partial(chunks, intake, batches, reading, batch.id, judged=judged, times=times)
    after = 0 if new else batches.last_row(batch.id)
    found = here(after) if child is None else _of_child(child, here, batch.id, after)
    # In a thread, if the database does its work in a process of its own. SQLite does it in this process, and gives the
    # interpreter back for each row: a second thread would only slow it.
    with ThreadPoolExecutor(1, "import") if batches.are_elsewhere else nullcontext() as writer:
        try:
            hint = _store(steps, found, writer, progress)
            if content_digest(content) != digest:
                raise ListChanged([f"{name} was changed while it was read: import it again once it is complete"])
            steps.patiently(lambda: all_added(batches, batch.id, planned=batch.planned, now=intake.clock()))
        finally:
            steps.ended.set()  # after Ctrl-C nothing waits for a database that is away
    hints = () if hint is None else (f"{hint.column}: {hint.problem} ({hint.hint})",)
    return Imported(batch, new, (*reading.warnings, *hints), steps.refusals, report, steps.warned, steps.changed)


@dataclass
class _Steps:
    """The steps of an import that need the database: each waits while that is away. `refusals`, `warned` and
    `changed` are counted here."""

    intake: Intake
    batches: Batches
    batch_id: int
    choices: ImportChoices
    adopts: Adopts | None
    pause: Callable[[float], None]
    refusals: Refusals = field(default_factory=Refusals)
    warned: Warned = field(default_factory=Warned)
    changed: int = 0
    ended: Event = field(default_factory=Event)

    def patiently(self, step: Callable[[], T]) -> T:
        """Make a step that may be made twice; wait while the database cannot be used, until `ended`. Raises CutOff."""
        clock, outage = self.intake.clock, Outage(log, logging.WARNING)
        since: datetime | None = None  # the first failure: a machine that slept in the middle of a step tries it again
        while True:
            try:
                found = step()
            except sa.exc.OperationalError as error:
                since = since or clock()
                if clock() - since > DATABASE_PATIENCE or self.ended.is_set():
                    raise CutOff(reason(error)) from None
                outage.lasts("the import waits: the database cannot be used", monotonic(), why=reason(error))
                self.pause(DATABASE_RETRY.total_seconds())
            else:
                outage.over("the database is back: the import goes on")
                return found

    def settle(self, report: ReturnedReport, lines: Sequence[Line]) -> list[AcceptedLine | RefusedLine]:
        """Judge lines of a report. What is done before an outage is done, and is not done again."""
        return self.patiently(lambda: judge_chunk(self.intake, lines, report))

    def write(self, chunk: Chunk) -> Sequence[tuple[int, FieldProblem]]:
        """Store a chunk, and return the warnings that only the database knows. Lines that are stored already are
        skipped: it may be added again, if its commit was not confirmed."""
        from onboarding_worker.lists.store.added_lines import add_lines  # imported here: see above

        clock, traces = self.intake.clock, self.intake.traces()
        spans = _spans(traces, chunk, self.batch_id, clock()) if traces.on else {}
        added = self.patiently(
            lambda: add_lines(
                self.batches,
                self.batch_id,
                chunk,
                priority=BATCH,
                now=clock(),
                choices=self.choices,
                traced={row: span.traceparent for row, span in spans.items()},
                added=self.adopts.store if self.adopts is not None else None,
            )
        )
        self.changed += sum(bool(one.links) for one in added.changed)
        for line in added.refused:
            self.refusals.add(line.problems)
            if (span := spans.pop(line.row, None)) is not None:
                span.end(clock(), Outcome.REFUSED.value, failed=True)
        for span in spans.values():
            span.end(clock(), Outcome.TAKEN.value)
        return added.warnings


def _store(steps: _Steps, found: Iterator[Chunk], writer: Executor | None, progress: Progress) -> FieldProblem | None:
    """Store the chunks. With a `writer`, the next one is judged while the database stores this one: at most two are in
    memory.

    Returns what a person should check about the rows, as the last chunk says it.
    """
    done, hint = 0, None
    stored: Future[Sequence[tuple[int, FieldProblem]]] | None = None
    warnings: Sequence[tuple[int, FieldProblem]] = ()
    for chunk in found:
        warnings = stored.result() if stored is not None else warnings
        if done:
            progress(done)
        for line in chunk.refused:
            if line.problems:
                steps.refusals.add(line.problems)
        for row, warning in (*warnings, *chunk.warnings):
            steps.warned.add(row, warning)
        done, hint = chunk.done, chunk.hint
        if writer is not None:
            stored = writer.submit(steps.write, chunk)
        else:
            warnings = steps.write(chunk)
    for row, warning in warnings if stored is None else stored.result():
        steps.warned.add(row, warning)
    return hint


def chunks(
    intake: Intake,
    batches: Batches,
    reading: CustomerList,
    batch_id: int,
    after: int,
    *,
    judged: Judges | None = None,
    times: RowTimes | None = None,
) -> Iterator[Chunk]:
    """The list's lines behind the row `after`, judged, so many together. `judged`: by more than the configuration."""
    lines, done = iter(reading), 0
    while some := list(islice(lines, batches.lines_at_once)):
        done += len(some)
        # Of imported rows too, if they have times: each takes its place in the plan.
        new = some if times is not None else [line for line in some if line.row > after]
        found = judged(new) if judged is not None else [judge(intake, line) for line in new]
        if times is not None:
            for place, line in enumerate(found):
                if isinstance(line, AcceptedLine):
                    at = times.next(group_of(line.account, line.customer, intake.hours))
                    found[place] = replace(line, planned_at=at)
            found = [line for line in found if line.row > after]
        yield Chunk.of(batches.keyring, batch_id, found, done=done, last=some[-1].row, hint=reading.hint)


@contextmanager
def judging_child(
    intake: Intake, batches: Batches, content: Content, reading: CustomerList
) -> Iterator[Forked[Chunk] | None]:
    """A process that makes the chunks of the list `reading`, while this one stores them; None where it does not pay or
    cannot be made. Begin it before any thread. `content` is what was opened."""
    size = os.path.getsize(content) if isinstance(content, str | os.PathLike) and os.path.exists(content) else 0
    if size < LARGE:
        yield None
        return
    with forked(partial(chunks, intake, batches, reading)) as child:
        yield child


def _of_child(
    child: Forked[Chunk], here: Callable[[int], Iterator[Chunk]], batch_id: int, after: int
) -> Iterator[Chunk]:
    """The child's chunks behind the row `after`; and from `here` what it does not come to."""
    try:
        for chunk in child.items(batch_id, after):
            after = max(after, chunk.last)
            yield chunk
        return
    except ChildEnded as error:
        log.warning("the import goes on in one process: %s", error)
    yield from here(after)  # not above: for the whole rest the child's end would be what is being handled


def _spans(traces: Traces, chunk: Chunk, batch_id: int, now: datetime) -> dict[int, Span]:
    """The spans of the chunk's lines that are traced, by row."""
    begun = {row: traces.of_row(now, {"batch": batch_id, "row": row}) for row in chunk.jobs["row"]}
    return {row: span for row, span in begun.items() if span is not None}


def _times(intake: Intake, reading: CustomerList, plan: Plan, deadline: datetime) -> RowTimes | None:
    """When each row goes, if the deadline of its batch is not over: the list is read once more for it."""
    now = intake.clock()
    if deadline <= now:
        return None
    judged = (judge(intake, line) for line in reading)
    rows = Counter(
        group_of(line.account, line.customer, intake.hours) for line in judged if isinstance(line, AcceptedLine)
    )
    paces = intake.paces().at_most(plan.per_hour, rows)
    begins = max(plan.start_at or now, now)
    found = planned(rows, intake.hours, paces, deadline=deadline, now=begins)
    return RowTimes(found, paces, deadline=deadline)


def list_age(batch: BatchFacts, *, now: datetime) -> str:
    """How long ago the batch was made, in words."""
    seconds = max((now - batch.created_at).total_seconds(), 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "less than a minute"
