"""The LIST of a command: the `[import]` block that makes its options unnecessary, the errors of a list that cannot be
read, and its import: its progress, what keeps it from being worked, and what is said when SIGTERM ends it.

`import_listed` is the whole of it: the rows that a report has changed, the child that judges, warnings, the batch.
"""

import json
import shutil
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import Any, BinaryIO

import click
import sqlalchemy as sa

from onboarding_worker.cli.exits import INTERRUPTED, CannotStart, Ended, Stopped, refusing
from onboarding_worker.cli.running.summary import (
    changed_in_words,
    changes_in_words,
    deciding,
    show_refusals,
    show_warned,
)
from onboarding_worker.cli.shared_options import counting
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.lists.columns import OwnFile, known_name, nearest
from onboarding_worker.lists.dates import DateForm
from onboarding_worker.lists.importing.adopting import Adopts
from onboarding_worker.lists.importing.intake import PREFILLED
from onboarding_worker.lists.importing.judging import judge_all, options_of
from onboarding_worker.lists.importing.list_import import (
    CutOff,
    ImportChoices,
    Imported,
    TooManyRefused,
    import_list,
    judging_child,
    list_age,
)
from onboarding_worker.lists.known_customers import KnownRule
from onboarding_worker.lists.lines import AcceptedLine, ListRefused, RefusedLine
from onboarding_worker.lists.listing import CustomerList, open_list
from onboarding_worker.lists.options import ADOPTED, ListOptions
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.rules import WORDED
from onboarding_worker.lists.sources import LIST_SOURCES, CannotFetch, fetch, is_address, name_of, shown_name
from onboarding_worker.lists.store.batches import STDIN, BatchFacts
from onboarding_worker.plans.store.plans import Plan, PlanRefused
from onboarding_worker.reporting.store.processes import IMPORT
from onboarding_worker.settings.model import Import
from onboarding_worker.templates.checks import problems as problems_of_templates
from onboarding_worker.wiring.background import settling
from onboarding_worker.wiring.container import Parts


@dataclass(eq=False)
class Listed:
    """The LIST of a command: its name for people, its content, and how it is to be read."""

    path: str
    form: str | None = None
    sheet: str | None = None
    mapped: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    hash_ids: bool = False
    dates: DateForm | None = None
    encoding: str | None = None
    delimiter: str | None = None
    strict: bool = False  # the whole list is refused if one of its rows is rejected
    known: str | None = None  # what becomes of known customers; None: as the configuration says
    allow_erased: bool = False
    another_person: bool = False
    take_over: bool = False

    @property
    def name(self) -> str:
        if self.path == "-":
            return STDIN
        return name_of(self.path) if is_address(self.path) else shown_name(Path(self.path).name)

    def options(self, parts: Parts) -> ListOptions:
        """How it is to be read. Raises click.UsageError."""
        own = parts.settings.import_
        return options_of(
            parts.intake,
            mapping=dict(map(_pair, self.mapped)),
            ignore=frozenset(self.ignored).union(own.ignore),
            dates=self.dates or own.dates,
            if_used=PREFILLED,
            defaults=own.defaults,
            form=self.form,
            sheet=self.sheet,
            hash_ids=self.hash_ids,
            encoding=self.encoding,
            delimiter=self.delimiter,
        )

    def choices(self, parts: Parts, *, again: bool = False, plan: Plan | None = None) -> ImportChoices:
        """How it is to be imported."""
        rule = KnownRule(self.known or parts.settings.import_.known)
        allowed = {name: getattr(self, name) for name in ("allow_erased", "another_person", "take_over")}
        return ImportChoices(again=again, strict=self.strict, rule=rule, plan=plan, **allowed)

    @cached_property
    def content(self) -> Path | BinaryIO:
        """The content. Standard input is read, and an address fetched, at the first use: after the configuration."""
        if is_address(self.path):
            return self._kept("the list", lambda kept: fetch(self.path, kept, LIST_SOURCES.offered()))
        if self.path != "-":
            return Path(self.path)
        if sys.stdin is None:
            raise CannotStart("standard input is closed: send the list to it, or name a file")
        return self._kept("standard input", lambda kept: shutil.copyfileobj(sys.stdin.buffer, kept))

    def _kept(self, what: str, read: Callable[[BinaryIO], None]) -> BinaryIO:
        """A list is read more than once. The file has no name: no other process opens it, and a kill leaves no file."""
        try:
            kept: BinaryIO = TemporaryFile("w+b")  # noqa: SIM115 -- closed with the command
            weakref.finalize(self, kept.close)
            read(kept)
            kept.seek(0)
        except CannotFetch as error:
            raise CannotStart(f"{self.name} cannot be fetched: {error}") from None
        except OSError as error:
            raise CannotStart(f"{what} cannot be kept for reading: {error.strerror}; set TMPDIR") from None
        return kept


def _pair(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not (theirs and equals and ours):
        raise click.UsageError(f"--map: expected THEIRS=OURS, such as --map Mail=email, not {text!r}")
    if ours not in ADOPTED and known_name(ours) is None:
        meant = nearest(ours)
        hint = f"; did you mean {meant}?" if meant else "; docs/reference/list-format.md has them all"
        raise click.UsageError(f"--map: there is no column {ours!r} to map {theirs!r} to{hint}")
    return theirs, ours


@contextmanager
def refusing_lists(name: str = "") -> Iterator[None]:
    """Turns a list that cannot be read, is refused under --strict or has no usable plan into clear lines and exit code
    2. `name`: the list's, for what says only "the file"."""
    with refusing(TooManyRefused, PlanRefused):
        try:
            yield
        except ListRefused as error:
            raise CannotStart("\n".join(named_reasons(error, name))) from None


def named_reasons(error: ListRefused, name: str) -> list[str]:
    """Why a list is refused, each reason with the list's name: they say "the file"."""
    return [f"{name}: {one}" if name else one for one in error.reasons]


def report_of(
    parts: Parts, listed: Listed, options: ListOptions, choices: ImportChoices, reading: CustomerList
) -> ReturnedReport | None:
    """The list as a report that comes back; None: it is none."""
    if reading.own is not OwnFile.REPORT:
        return None
    by, another = parts.database, choices.another_person
    return settling(parts, ReturnedReport(name=listed.name, options=options, database=by, another_person=another))


def lines_of(
    parts: Parts, listed: Listed, options: ListOptions, choices: ImportChoices, reading: CustomerList
) -> tuple[Iterator[AcceptedLine | RefusedLine], ReturnedReport | None]:
    """Each line as the import would judge it now, and the report with what its rows would become once they are read."""
    report = report_of(parts, listed, options, choices, reading)
    report = report.foreseeing() if report is not None else None
    return judge_all(parts.intake.of(), parts.batches, reading, choices, report=report), report


def block_for(
    options: ListOptions,
    configured: Import,
    *,
    renames: Mapping[str, str] | None = None,
    ignore: Iterable[str] = (),
    words: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> list[str]:
    """The lines of the block; none if the configuration has all of it already. `renames` and `ignore` are suggestions
    for columns that are not known. `words`: by our columns with unknown words, those that may be shown."""
    columns = {theirs: ours for theirs, ours in options.mapping.items() if configured.mapping.get(theirs) != ours}
    columns = {**configured.columns, **columns, **(renames or {})}
    # Two columns of one name are one name here.
    left_out = [*configured.ignore, *sorted(options.ignore - {*configured.ignore}), *dict.fromkeys(ignore)]
    keys = []
    if left_out:
        keys.append(f"ignore = [{', '.join(map(_quoted, left_out))}]")
    if options.dates is not None:
        keys.append(f"dates = {_quoted(options.dates.text)}")
    if configured.message_columns:
        keys.append(f"message_columns = [{', '.join(map(_quoted, configured.message_columns))}]")
    lines = []
    if (columns, tuple(left_out), options.dates) != (configured.columns, configured.ignore, configured.dates):
        lines += ["[import]", *keys] if keys else []
        if columns:
            lines += ["[import.columns]", *(f"{_quoted(theirs)} = {_quoted(ours)}" for theirs, ours in columns.items())]
    instead = bool(lines) and not renames
    if worded := [column for column in WORDED if column in {*(renames or {}).values(), *words}]:
        lines += ["# [import.values]"]  # a comment, which changes nothing
        for column in worded:
            each = (f'{_quoted(one)} = "OURS"' for one in [*words.get(column, ())] or ["THEIRS"])
            lines.append(f"# {column} = {{ {', '.join(each)} }}")
    if not lines:
        return []
    return ["", f"for onboarding.toml{', in place of these options' if instead else ''}:", *lines]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a basic string of TOML has JSON's escapes


class Terminated(Ended):
    """SIGTERM has ended the import."""

    exit_code = INTERRUPTED


class _Sigterm(KeyboardInterrupt):
    """Ends what is under way as Ctrl-C does, so that connections and the child that judges are closed."""


@contextmanager
def ended_by_sigterm(parts: Parts, opened: list[BatchFacts], *, again: bool) -> Iterator[None]:
    """Raises Terminated where SIGTERM comes. `opened` has the batch once that is open. The batch is not stopped, as it
    is by Ctrl-C: a service manager sends SIGTERM, and starts the command again."""

    def end(number: int, _frame: Any) -> None:
        signal.signal(number, before)  # a second one ends the process at once
        raise _Sigterm

    before = signal.getsignal(signal.SIGTERM)  # read first: the signal may come at once
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Sigterm:
        raise Terminated(_what_is_kept(parts, opened, again=again)) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _what_is_kept(parts: Parts, opened: list[BatchFacts], *, again: bool) -> str:
    if not opened:
        return "ended by SIGTERM before the import began: nothing was imported; run the same command again"
    (batch,) = opened
    try:
        rows = counted(sum(parts.facts.counts(batch.id).jobs.values()), "row")
    except sa.exc.OperationalError:  # the database is away: what it has committed stays all the same
        rows = "rows"
    without = " (without --again)" if again else ""
    return (
        f"ended by SIGTERM in the middle of the import: batch {batch.id} has {rows}, which stay, and running workers"
        f" send them\nthe same command{without} imports the rest; `onboard cancel {batch.id}` ends the batch"
    )


def refuse_what_cannot_work(parts: Parts) -> None:
    """Raises CannotStart with a line for each problem."""
    # With a template that cannot be rendered each row would be held, one by one.
    if problems := problems_of_templates(parts.templates):
        raise CannotStart("\n".join(f"template: {problem}" for problem in problems))


def import_listed(
    parts: Parts,
    listed: Listed,
    options: ListOptions,
    choices: ImportChoices,
    *,
    lift: bool = False,
    opened: list[BatchFacts] | None = None,
    was_shown: bool = False,
    adopts: Adopts | None = None,
) -> Imported:
    """Import the list. Returns what it became.

    `lift`: its rows are to be sent now. A batch that a person stopped with Ctrl-C goes on, and a paused one is refused.

    `opened` gets the batch once that is open. `was_shown`: a person has seen the warnings. `adopts`: see `import_list`.
    Raises Terminated where SIGTERM comes.
    """
    began = time.monotonic()
    opened = [] if opened is None else opened
    try:
        with ExitStack() as exits:
            exits.enter_context(ended_by_sigterm(parts, opened, again=choices.again))
            reading = open_list(listed.content, options)
            report = report_of(parts, listed, options, choices, reading)
            child = None
            if adopts is None:
                with parts.one_thread():
                    child = exits.enter_context(
                        judging_child(parts.intake.of(), parts.batches, listed.content, reading)
                    )
            exits.enter_context(parts.heartbeat(IMPORT))
            imported = import_list(
                parts.intake.of(),
                parts.batches,
                listed.content,
                options,
                name=listed.name,
                choices=choices,
                report=report,
                adopts=adopts,
                reading=reading,
                child=child,
                opened=opened.append,
                progress=counting(lambda rows: f"importing: {counted(rows, 'row')}"),
            )
    except CutOff as error:
        without = " (without --again)" if choices.again else ""
        why = f"the database could not be used for too long, the import is cut off: {error}"
        raise Stopped(f"{why}\nthe imported rows stay; the same command{without} imports the rest") from None
    for warning in imported.warnings:
        click.echo(f"warning: {warning}", err=True)
    batch = imported.batch
    if over := is_over(batch):
        raise CannotStart(over)
    if lift:
        _lift(parts, batch)
    _say_what_it_became(parts, listed.name, imported, seconds=time.monotonic() - began)
    if imported.changed:
        click.echo(changed_in_words(imported.changed), err=True)
    if not was_shown:
        show_warned(imported.warned, listed.name)
    if not lift and (paused := is_paused(batch)):
        click.echo(paused, err=True)
    return imported


def _lift(parts: Parts, batch: BatchFacts) -> None:
    """Let the batch go on that a person stopped with Ctrl-C. Raises CannotStart if it is paused in another way."""
    decisions = deciding(parts, "resuming", batch)
    if batch.is_stopped:
        decisions.lift(batch.id, now=parts.clock())
        click.echo(f"batch {batch.id} was {batch.pause_reason}; it goes on", err=True)
    elif batch.changing_since is not None and decisions.lift(batch.id, now=parts.clock()).rows:
        click.echo(f"batch {batch.id}: a resume that was cut off is finished", err=True)
    elif paused := is_paused(batch):
        raise CannotStart(paused)


def _say_what_it_became(parts: Parts, name: str, imported: Imported, *, seconds: float) -> None:
    batch, age = imported.batch, list_age(imported.batch, now=parts.clock())
    if imported.new:
        click.echo(f"batch {batch.id}: {name} imported in {seconds:.1f} s", err=True)
        if imported.refusals.rows:
            show_refusals(imported.refusals, batch)
        if imported.report is not None:
            known = parts.facts.counts(batch.id).known
            click.echo("\n".join(changes_in_words(imported.report, known)), err=True)
    elif batch.imported_at is None:
        before = f"the import of {name}, begun {age} ago, was not complete"
        click.echo(f"batch {batch.id}: {before}; the rest was imported in {seconds:.1f} s", err=True)
        if imported.refusals.rows:
            show_refusals(imported.refusals, batch, of=" of the rest")
    else:
        stay = ": rejected rows stay so" if parts.facts.counts(batch.id).rejected else ""
        continues = f"this list was imported {age} ago; continuing with it{stay} (--again: anew)"
        click.echo(f"batch {batch.id}: {continues}", err=True)


def is_over(batch: BatchFacts) -> str:
    """Why the batch of a list takes nothing more; "" if it may go on."""
    if batch.cancelled_at is not None:
        return f"batch {batch.id} of this list was cancelled; --again imports it anew"
    if batch.purged_at is not None:
        purged = f"batch {batch.id} of this list was purged on {batch.purged_at:%Y-%m-%d}"
        return f"{purged}; --again imports it anew, without customers who have finished"
    return ""


def is_paused(batch: BatchFacts) -> str:
    """Why the batch of a list waits for a person; "" if it is not paused."""
    if not batch.is_paused:
        return ""
    why = "has paused itself: " if batch.paused_itself else "is "
    return f"batch {batch.id} of this list {why}{batch.pause_reason}; `onboard resume {batch.id}` resumes it"


def refused_by_run(batch: BatchFacts | None) -> str:
    """Why `run` does not go on with the list of this batch; "" if it does. What Ctrl-C stopped goes on."""
    if batch is None:
        return ""
    return is_over(batch) or ("" if batch.is_stopped else is_paused(batch))


def changes_of(report: ReturnedReport | None) -> dict[str, Any]:
    """What a report has changed, or would change, for `--json`."""
    if report is None:
        return {}
    return {"changes": [{"row": one.row, "customer_id": one.customer_id, "what": one.what} for one in report.changes]}
