"""Imports a list into the database: each line is routed, and becomes a job or a skipped line."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from threading import Event
from typing import Any, Protocol

import sqlalchemy as sa

from worker.domain.contact.contact_times import Hours, issue_at
from worker.domain.contact.country_cap import country_of
from worker.domain.events.incoming import Outcome
from worker.domain.events.traces import Span, Traces
from worker.domain.intake import (
    Accepted,
    Content,
    CustomerList,
    Duplicate,
    Line,
    ListOptions,
    ListRefused,
    Rejected,
    Returned,
    content_digest,
    open_list,
)
from worker.domain.intake.own_files import OwnFile
from worker.domain.intake.refusals import Refusals
from worker.domain.model.channels import CHANNELS, address_of
from worker.domain.model.customers import (
    Channel,
    Customer,
    FieldProblem,
    invitation_channels,
    same_customer,
)
from worker.domain.model.known_customers import Known
from worker.domain.model.sessions import floor_of, max_age_of
from worker.domain.routing import Chosen, Unroutable, choose_account, further_problems
from worker.engine.intake import Intake
from worker.foundation.clock import Clock, monotonic
from worker.foundation.outage_log import Outage
from worker.inbound.forked import ChildEnded, Forked, forked
from worker.inbound.list_deadline import RowTimes, counted, group_of, planned
from worker.providers.parameters import parse_cell, unknown_parameter
from worker.store.base.database import reason
from worker.store.base.priorities import BATCH
from worker.store.onboarding.batches import Batches, BatchFacts
from worker.store.onboarding.batches import Line as StoredLine
from worker.store.onboarding.new_rows import AcceptedLine, RefusedLine, erased_line
from worker.store.onboarding.plans import Plan, Planned

log = logging.getLogger(__name__)
# How long an import that has begun waits for a database that restarts, and how often it tries.
DATABASE_PATIENCE = timedelta(seconds=60)
DATABASE_RETRY = timedelta(seconds=1)
LARGE = 250_000  # bytes of a list, some 2,500 rows: a smaller one is imported before a second process is of use
CHUNK = 1000  # lines in one transaction: after a kill in the middle of an import, at most these are done again
Progress = Callable[[int], None]


@dataclass
class Judged:
    """The counts of a list's rows, before anything is sent."""

    total: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    known: int = 0
    routes: dict[str, int] = field(default_factory=dict)
    unsent: dict[str, int] = field(default_factory=dict)  # of the rows, by account: those that ask for no message
    messages: dict[str, int] = field(default_factory=dict)
    # For channels with quiet hours: the number of customers by channel and possible time zones.
    nights: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)  # for a forecast: the texts by country
    # Rows by their channels, and by the other channels on which they have an address.
    reach: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=Counter)


class TooManyRefused(Exception):
    """The list has refused lines, and --strict is set: nothing of it is imported."""


class ListChanged(ListRefused):
    """The list was changed while it was read. Its batch stays incomplete, since its name is the list as it was."""


class CutOff(Exception):
    """The database could not be reached in the middle of a list. Imported rows stay; the same list again goes on."""


A_REPORT = FieldProblem("", "a row of a report", "give the report to `onboard run` or `onboard import`")
# No message contains these columns: only providers receive them, and only from accounts with `prefill = "all"`.
PREFILLED = frozenset({"date_of_birth", "sex", "nationality", "address"})


def options_of(intake: Intake, *, mapping: Mapping[str, str] | None = None, **how: Any) -> ListOptions:
    """How rows of lists and events are read by this configuration. `how` and `mapping`: a command's options."""
    return ListOptions(
        today=intake.clock().date(),
        mapping={**intake.columns, **(mapping or {})},
        check_parameter=parse_cell,
        known_parameter=unknown_parameter,
        **how,
    )


def judge(intake: Intake, line: Line) -> AcceptedLine | RefusedLine:
    """Route an accepted line; refuse a line that no account or sender of this configuration can serve."""
    match line:
        case Accepted():
            return _judge_accepted(intake, line)
        case Rejected():
            problems, warnings = _by_use(intake, line, intake.providers.keys())
            problems = (*line.problems, *problems)
            return RefusedLine(
                line.row, line.customer_id, (*problems, *_further(intake, line, problems)), warnings=warnings
            )
        case Duplicate():
            return RefusedLine(line.row, line.customer_id, (), duplicate_of=line.of_row)
        case Returned():
            return RefusedLine(line.row, "", (A_REPORT,))


def _judge_accepted(intake: Intake, line: Accepted) -> AcceptedLine | RefusedLine:
    customer = line.customer
    chosen = choose_account(customer, intake.routes, able=intake.able, known=intake.providers.keys())
    problems: tuple[FieldProblem, ...] = ()
    warnings: tuple[FieldProblem, ...] = ()
    if line.if_used:
        accounts = intake.providers.keys() if isinstance(chosen, Unroutable) else _accounts_of(chosen)
        problems, warnings = _by_use(intake, line, accounts)
    if isinstance(chosen, Unroutable):
        problems += chosen.problems
    problems += tuple(intake.unsendable(customer))
    if problems or isinstance(chosen, Unroutable):
        return RefusedLine(line.row, customer.customer_id, problems, warnings=warnings)
    if customer.parameters:
        warnings += tuple(intake.doubtful(chosen.account, customer))
    lifetime = intake.lifetime(chosen.account, customer)
    floor = floor_of(chosen.freshness, lifetime=lifetime)
    quiet_until = None
    if intake.hours.quiet and intake.hours.concern(channels := invitation_channels(customer.channel)):
        quiet_until = _quiet_until(intake, customer, channels, max_age_of(lifetime, floor=floor))
    return AcceptedLine(
        row=line.row,
        customer=customer,
        account=chosen.account,
        route=chosen.reason,
        floor_seconds=int(floor.total_seconds()),
        fallback_accounts=chosen.fallback_accounts,
        freshness_seconds=None if chosen.freshness is None else int(chosen.freshness.total_seconds()),
        quiet_until=quiet_until,
        warnings=warnings,
    )


class Settles(Protocol):
    """Says what the rows of a report that comes back become (`inbound.returned_lists`)."""

    def settle(self, lines: Sequence[Returned]) -> Iterator[AcceptedLine | RefusedLine]:
        """What each line becomes, in order. A line that was settled before is as stored, and does nothing again."""

    def foreseeing(self) -> "Settles":
        """The same, without doing it."""


def judge_chunk(intake: Intake, lines: Sequence[Line], returns: Settles | None) -> list[AcceptedLine | RefusedLine]:
    """Judge these lines; those of a report are settled, in their order."""
    returned = [line for line in lines if isinstance(line, Returned)] if returns is not None else []
    settled = iter(returns.settle(returned)) if returns is not None and returned else iter(())
    return [next(settled) if returned and isinstance(line, Returned) else judge(intake, line) for line in lines]


def judge_all(
    intake: Intake, batches: Batches, lines: Iterable[Line], *, allow_erased: bool, returns: Settles | None = None
) -> Iterator[AcceptedLine | RefusedLine]:
    """Judge each line of a list as the import does: also by who was erased on request. Changes nothing."""
    each = iter(lines)
    returns = returns.foreseeing() if returns is not None else None
    while chunk := judge_chunk(intake, list(islice(each, CHUNK)), returns):
        ids = [line.customer.customer_id for line in chunk if isinstance(line, AcceptedLine)]
        erased = set() if allow_erased else batches.erased(ids)
        for line in chunk:
            if isinstance(line, AcceptedLine) and line.customer.customer_id in erased:
                yield replace(erased_line(line.row, line.customer.customer_id), warnings=line.warnings)
            else:
                yield line


def _further(intake: Intake, line: Rejected, problems: Sequence[FieldProblem]) -> Iterator[FieldProblem]:
    """What this configuration refuses in the good cells of a refused line: one look at a row shows all of it."""
    if line.rest is None:
        return
    wrong = {problem.column for problem in problems}
    if not line.rest.person.phone:
        wrong.add("phone")
    yield from further_problems(line.rest, intake.routes, able=intake.able, known=intake.providers.keys(), wrong=wrong)
    yield from (problem for problem in intake.unsendable(line.rest) if problem.column not in wrong)


def _accounts_of(chosen: Chosen) -> Collection[str]:
    return (chosen.account, *chosen.fallback_accounts)


def _by_use(
    intake: Intake, line: Accepted | Rejected, accounts: Collection[str]
) -> tuple[tuple[FieldProblem, ...], tuple[FieldProblem, ...]]:
    """The problems of columns that one of these accounts uses, and warnings for those that none of them uses."""
    if not line.if_used:
        return (), ()
    used = tuple(problem for problem in line.if_used if intake.uses(problem.column, accounts))
    unused = tuple(
        replace(problem, problem=f"{problem.problem}; left out: nothing here uses this column")
        for problem in line.if_used
        if problem not in used
    )
    return used, unused


def _quiet_until(intake: Intake, customer: Customer, channels: Sequence[str], max_age: timedelta) -> datetime | None:
    """Until when no session is opened, since its message could not leave before; None: a session may be opened now."""
    zones = intake.hours.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)
    now = intake.clock()
    at = issue_at(channels, zones, intake.hours.quiet, invite_at=None, max_age=max_age, now=now)
    return at if at > now else None


def count(judged: Judged, line: AcceptedLine | RefusedLine, hours: Hours | None = None) -> None:
    """Count a line. With `hours`, for a forecast, count also the time zones whose quiet hours delay its messages."""
    judged.total += 1
    match line:
        case AcceptedLine():
            judged.accepted += 1
            judged.routes[line.account] = judged.routes.get(line.account, 0) + 1
            channels = invitation_channels(line.customer.channel)
            if not channels:
                judged.unsent[line.account] = judged.unsent.get(line.account, 0) + 1
            for channel in channels:
                judged.messages[channel] = judged.messages.get(channel, 0) + 1
                if hours is not None and hours.concern((channel,)):
                    customer = line.customer
                    zones = hours.zones_of(
                        timezone=customer.timezone, phone=customer.person.phone, country=customer.country
                    )
                    judged.nights[channel, zones] += 1
                if hours is not None and channel == Channel.SMS:
                    judged.texts[country_of(line.customer.person.phone)] += 1
            person = line.customer.person
            spare = tuple(name for name in CHANNELS if channels and address_of(person, name) and name not in channels)
            judged.reach[tuple(channels), spare] += 1
        case RefusedLine(duplicate_of=None, known=""):
            judged.rejected += 1
        case RefusedLine(duplicate_of=None):
            judged.known += 1
        case _:
            judged.duplicate += 1


def problems_of(line: RefusedLine) -> list[FieldProblem]:
    """The problems of a refused line, as `check` shows them."""
    if line.duplicate_of is not None:
        return [same_customer(line.duplicate_of)]
    return list(line.problems)


@dataclass(frozen=True)
class Imported:
    """The list's batch. `new` is False when an import of the same list was begun before.

    `warnings` are what a person should check about the file, `refusals` the rows that this import refused.
    """

    batch: BatchFacts
    new: bool
    warnings: tuple[str, ...] = ()
    refusals: Refusals = field(default_factory=Refusals)
    is_report: bool = False  # a report of ours that came back


def import_list(
    intake: Intake,
    batches: Batches,
    content: Content,
    options: ListOptions,
    *,
    name: str,
    again: bool = False,
    strict: bool = False,
    allow_erased: bool = False,
    plan: Plan | None = None,
    hold: str = "",
    rule: Known = Known.REFRESH,
    returns: Settles | None = None,
    child: "Forked[_Chunk] | None" = None,
    opened: Callable[[BatchFacts], None] = lambda _batch: None,
    progress: Progress = lambda _rows: None,
    pause: Callable[[float], None] = time.sleep,
) -> Imported:
    """Import the list as `name`. An import that was cut off goes on where it stopped, with `again` too.

    `allow_erased`: customers who were erased on request are brought back; else their rows are refused.
    `plan`: how a new batch goes out, and `hold`: why it waits for a person: see `Batches.open`.
    `rule`: what becomes of customers who are known. `returns`: what becomes of the rows of a report that comes back;
    None: reports are refused.
    `child`: of `judging_child` for this list; it judges where judging needs no database.
    A batch that is complete, or was cancelled, stays as it is. `opened` gets the batch before its first row is written.

    Raises intake.ListRefused, and TooManyRefused under `strict` before anything is written; ListChanged at the end, if
    the bytes are not those that it began with. When the database cannot be reached in the middle, the import waits,
    `pause` seconds at a time; it raises CutOff when that takes too long.
    """
    reading = open_list(content, options)  # before anything is written: an unreadable list makes no batch
    if reading.own is OwnFile.REPORT and returns is None:
        raise ListRefused([f"the file is {A_REPORT.problem.removeprefix('a row of ')}: {A_REPORT.hint}"])
    digest = content_digest(content)
    if strict:
        _nothing_refused(intake, reading, batches, allow_erased=allow_erased, returns=returns)
    before = batches.of_content(digest) if again else None
    # A command with --again that was killed is given again as it was: the half batch must not stay behind.
    again = again and (before is None or before.imported_at is not None or before.cancelled_at is not None)
    batch, new = batches.open(name=name, digest=digest, again=again, now=intake.clock(), plan=plan, hold=hold)
    opened(batch)
    if batch.imported_at is not None or batch.cancelled_at is not None:
        return Imported(batch, new, reading.warnings, is_report=reading.own is OwnFile.REPORT)
    refusals = Refusals()
    times = _times(intake, reading, batches.plan(batch))
    if times is not None or reading.own is OwnFile.REPORT:
        child = None

    ended = Event()

    def patiently(step: Callable[[], None]) -> None:
        _retried(step, intake.clock, pause, ended)

    traces = intake.traces()

    def patient_judge(lines: Sequence[Line]) -> list[AcceptedLine | RefusedLine]:
        if returns is None:
            return judge_chunk(intake, lines, None)
        judged: list[AcceptedLine | RefusedLine] = []

        def settle() -> None:  # what was done before an outage is done, and is not done again
            judged[:] = judge_chunk(intake, lines, returns)

        patiently(settle)
        return judged

    def write(chunk: _Chunk) -> None:
        spans = _spans(traces, chunk, batch.id, intake.clock()) if traces.on else {}
        traced = {row: span.traceparent for row, span in spans.items()}

        # Lines that are stored already are skipped: a chunk whose commit was not confirmed may be added again.
        def add() -> None:
            now = intake.clock()
            chunk.erased = batches.add(
                batch.id,
                chunk.accepted,
                chunk.refused,
                priority=BATCH,
                now=now,
                allow_erased=allow_erased,
                traced=traced,
                rule=rule,
            )

        patiently(add)
        for line in chunk.erased:
            refusals.add(line.problems)
            if (span := spans.pop(line.row, None)) is not None:
                span.end(intake.clock(), Outcome.REFUSED.value, failed=True)
        for span in spans.values():
            span.end(intake.clock(), Outcome.TAKEN.value)

    after, seal = batches.last_row(batch.id), batches.sealer(batch.id)
    here = partial(_chunks, patient_judge, reading, intake.hours, seal, times=times)
    # The next chunk is judged while the database stores this one. At most two are in memory.
    with _writer(batches) as writer:
        stored: Future[Any] | None = None
        done, hint = 0, None
        try:
            for chunk in here(after) if child is None else _of_child(child, batch.id, after, here):
                if stored is not None:
                    stored.result()
                    progress(done)
                for line in chunk.refused:
                    if line.problems:
                        refusals.add(line.problems)
                done, hint = chunk.done, chunk.hint
                stored = writer.submit(write, chunk)
            if stored is not None:
                stored.result()
            progress(done)
            if content_digest(content) != digest:
                raise ListChanged([f"{name} was changed while it was read: import it again once it is complete"])
            patiently(lambda: batches.imported(batch.id, now=intake.clock()))
        finally:
            ended.set()  # after Ctrl-C nothing waits for a database that is away
    hints = () if hint is None else (f"{hint.column}: {hint.problem} ({hint.hint})",)
    return Imported(batch, new, (*reading.warnings, *hints), refusals, reading.own is OwnFile.REPORT)


class _AtOnce(Executor):
    """Makes each step where it is submitted."""

    def submit(self, step: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        made: Future[Any] = Future()
        made.set_result(step(*arguments, **named))
        return made


@contextmanager
def _writer(batches: Batches) -> Iterator[Executor]:
    """Where chunks are stored: in a thread, if the database does its work in a process of its own.

    SQLite does it in this process, and gives the interpreter back for each row: a second thread would only slow it.
    """
    if not batches.are_elsewhere:
        yield _AtOnce()
        return
    with ThreadPoolExecutor(1, "import") as writer:
        yield writer


@dataclass
class _Chunk:
    """Lines that are stored together. `done`: the lines of the list up to here. `last`: the row of the last of them.
    `hint`: `CustomerList.hint` up to here."""

    done: int = 0
    last: int = 0
    accepted: Sequence[StoredLine] = ()
    refused: list[RefusedLine] = field(default_factory=list)
    hint: FieldProblem | None = None
    erased: list[RefusedLine] = field(default_factory=list)  # refused when they were stored


def _spans(traces: Traces, chunk: _Chunk, batch_id: int, now: datetime) -> dict[int, Span]:
    """The spans of the chunk's lines that are traced, by row."""
    begun = {line.row: traces.of_row(now, {"batch": batch_id, "row": line.row}) for line in chunk.accepted}
    return {row: span for row, span in begun.items() if span is not None}


def _times(intake: Intake, reading: CustomerList, made: Planned | None) -> RowTimes | None:
    """When each row goes, if its batch has a deadline that is not over: the list is read once more for it."""
    plan, now = made.plan if made is not None else Plan(), intake.clock()
    if plan.deadline is None or plan.deadline <= now:
        return None
    rows = counted((judge(intake, line) for line in reading), intake.hours)
    paces = intake.paces().at_most(plan.per_hour)
    begins = max(plan.start_at or now, now)
    found = planned(rows, intake.hours, paces, deadline=plan.deadline, now=begins)
    return RowTimes(found, paces, deadline=plan.deadline)


def _chunks(
    judged: Callable[[Sequence[Line]], list[AcceptedLine | RefusedLine]],
    reading: CustomerList,
    hours: Hours,
    seal: Callable[[Sequence[AcceptedLine]], Sequence[StoredLine]],
    after: int,
    *,
    times: RowTimes | None = None,
) -> Iterator[_Chunk]:
    """The list's lines behind the row `after`, judged; the last chunk may be empty."""
    each = enumerate(reading, start=1)
    done = 0
    while numbered := list(islice(each, CHUNK)):
        done, end = numbered[-1]
        accepted: list[AcceptedLine] = []
        refused: list[RefusedLine] = []
        # Also of rows that are imported already: each takes its place in the plan.
        wanted = [line for _, line in numbered if line.row > after or times is not None]
        for line in judged(wanted):
            if times is not None and isinstance(line, AcceptedLine):
                at, _ = times.next(group_of(line, hours))
                line = replace(line, planned_at=at)
            if line.row <= after:
                continue
            if isinstance(line, AcceptedLine):
                accepted.append(line)
            else:
                refused.append(line)
        yield _Chunk(done, end.row, seal(accepted), refused, reading.hint)
    if not done:
        yield _Chunk()


@contextmanager
def judging_child(
    intake: Intake, batches: Batches, content: Content, options: ListOptions
) -> Iterator["Forked[_Chunk] | None"]:
    """A process that reads, judges and seals the list, while this one stores it; None where it does not pay or cannot
    be made. Begin it before any thread."""
    size = os.path.getsize(content) if isinstance(content, str | os.PathLike) and os.path.exists(content) else 0
    if size < LARGE:
        yield None
        return

    def chunks(batch_id: int, after: int) -> Iterator[_Chunk]:
        judged = partial(judge_chunk, intake, returns=None)
        yield from _chunks(judged, open_list(content, options), intake.hours, batches.sealer(batch_id), after)

    with forked(chunks) as child:
        yield child


def _of_child(
    child: "Forked[_Chunk]", batch_id: int, after: int, here: Callable[[int], Iterator[_Chunk]]
) -> Iterator[_Chunk]:
    """The child's chunks; those that it does not come to are judged here."""
    try:
        for chunk in child.items(batch_id, after):
            after = max(after, chunk.last)
            yield chunk
        return
    except ChildEnded as error:
        log.warning("the import goes on in one process: %s", error)
    yield from here(after)


def _retried(step: Callable[[], None], clock: Clock, pause: Callable[[float], None], ended: Event) -> None:
    """Make a step that may be made twice; wait while the database cannot be reached, until `ended`. Raises CutOff."""
    outage = Outage(log, logging.WARNING)
    since: datetime | None = None  # the first failure: a machine that slept in the middle of a step tries it again
    while True:
        try:
            step()
        except sa.exc.OperationalError as error:
            since = since or clock()
            if clock() - since > DATABASE_PATIENCE or ended.is_set():
                raise CutOff(reason(error)) from None
            outage.lasts("the import waits: the database cannot be reached", monotonic(), why=reason(error))
            pause(DATABASE_RETRY.total_seconds())
        else:
            return outage.over("the database is back: the import goes on")


def _nothing_refused(
    intake: Intake, reading: CustomerList, batches: Batches, *, allow_erased: bool, returns: Settles | None
) -> None:
    judged = Judged()
    for line in judge_all(intake, batches, reading, allow_erased=allow_erased, returns=returns):
        count(judged, line)
    if judged.rejected:
        raise TooManyRefused(f"{judged.rejected} of {judged.total} rows are refused; `onboard check` names them")


def list_age(batch: BatchFacts, *, now: datetime) -> str:
    """How long ago the batch was made, in words."""
    seconds = max((now - batch.created_at).total_seconds(), 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "less than a minute"
