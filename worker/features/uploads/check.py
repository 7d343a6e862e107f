"""The check of an uploaded list: what `onboard check` finds, as facts that a page shows, and what a person may map."""

import heapq
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from worker.cli.exits import CannotStart
from worker.cli.lists.cost import ListCost, costs_in_words
from worker.cli.lists.foreseen import foreseen
from worker.cli.lists.found_rows import FoundRows
from worker.cli.sample_message import rendered
from worker.core.customers.customers import FieldProblem, invitation_channels
from worker.core.foundation.notation import written
from worker.core.messages.contact import Wording
from worker.features.uploads.store.uploads import in_parts
from worker.features.uploads.uploaded import MOST_ROWS, How
from worker.lists.columns import our_name
from worker.lists.formats.opening import content_digest
from worker.lists.importing.judging import PREFILLED, Judged, count, judge_all, options_of, problems_of
from worker.lists.known_customers import KnownChoices, KnownRule
from worker.lists.lines import AcceptedLine, ListRefused, RefusedLine
from worker.lists.listing import CustomerList, open_list, open_table
from worker.lists.options import ListOptions, Vocabulary
from worker.lists.own_files import OwnFile
from worker.lists.rules import WORDED, DateForm
from worker.lists.warned import Kind, Severity, Warned, problems_csv
from worker.reporting.store.outlook import CallsNow
from worker.templates.checks import problems as problems_of_templates
from worker.wiring.container import Parts

MOST_SHOWN = 100  # kinds of problems, and of warnings
MOST_TITLES, LONGEST_TITLE = 30, 60  # that can be mapped, in characters
MOST_WORDS, LONGEST_WORD = 12, 40  # of all columns
MOST_WRONG = 5000  # rows of a column, that are looked at for words
SAMPLE_LINES, SAMPLE_LETTERS = 40, 4000
A_REPORT = "the file is a report of ours: give it to `onboard run`, which acts on the rows that were changed"
TOO_LONG = f"it has more than {MOST_ROWS:,} rows: send it with `onboard run`, or in parts"
# What to do by an option of a command, at the end of a reason: the page has a form for that.
_OPTION = re.compile(r"[:;,] [^:;,]* --[a-z].*")
# Reads no column: any header will do.
_TITLES_ONLY = Vocabulary({}, needed=("",))


@dataclass(frozen=True)
class Checked:
    """`found`: JSON, for the page. `problems`: the file of all problems and warnings, in parts."""

    found: dict[str, Any]
    problems: Iterator[bytes]


def options_for(parts: Parts, how: How) -> ListOptions:
    """How the list is read: the configuration, and above it what a person chose."""
    configured = parts.settings.import_
    options = options_of(
        parts.intake,
        mapping=how.mapping,
        ignore=frozenset(how.ignore).union(configured.ignore),
        dates=DateForm.parse(how.dates) if how.dates else configured.dates,
        if_used=PREFILLED,
        defaults=configured.defaults,
        sheet=how.sheet or None,
    )
    words = {column: {**options.values.get(column, {}), **ours} for column, ours in how.values.items()}
    return replace(options, values={**options.values, **words})


def rule_of(parts: Parts) -> KnownRule:
    return KnownRule(parts.settings.import_.known)


def check(parts: Parts, content: BinaryIO, how: How, *, step: Callable[[], None]) -> Checked:
    """Changes nothing. `step` is called between rows, and may raise."""
    options = options_for(parts, how)
    found: dict[str, Any] = {"columns": _columns(content, options), "refused": [], "suggested": {}}
    found |= {"rows": None, "words": {}, "at": written(parts.clock())}
    content.seek(0)  # a list begins where its stream stands
    try:
        reading = open_list(content, options)
        if reading.own is OwnFile.REPORT:
            raise ListRefused([A_REPORT])
        judging = _Judging(parts, content)
        judging.judge(reading, step)
    except ListRefused as error:
        reasons = [_OPTION.sub("", reason) for reason in error.reasons]
        return Checked(found | {"refused": reasons, "suggested": error.renames}, iter(()))
    found |= judging.facts() | {"words": _words(reading, judging.wrong, options, step)}
    return Checked(found, judging.file(reading, step))


def _columns(content: BinaryIO, options: ListOptions) -> list[list[str | None]]:
    """The list's titles, each with our name; "": it is left out; None: it is not known. Empty where there are none."""
    try:
        table, _ = open_table(content, replace(options, vocabulary=_TITLES_ONLY))
    except ListRefused:
        return []
    titles = [title for title in getattr(table, "titles", ()) if title.strip()]
    shown = [title for title in titles if len(title) <= LONGEST_TITLE and title.isprintable()]
    return [[title, our_name(title, options)] for title in shown[:MOST_TITLES]]


class _Judging:
    """Judges each row once, and keeps what the page and the file show. `wrong`: the rows with a problem, by column."""

    def __init__(self, parts: Parts, content: BinaryIO) -> None:
        self._parts = parts
        self._calls = CallsNow(parts.database, digest=content_digest(content), rule=rule_of(parts))
        self._judged, self._problems, self._warned = Judged(), Warned(), Warned()
        self._of_rows, self._of_list, self._refused, self._shared = FoundRows(), FoundRows(), FoundRows(), FoundRows()
        self._cost = ListCost(parts, self._calls, shared=self._share)
        self.wrong: dict[str, set[int]] = {column: set() for column in WORDED}

    def judge(self, reading: CustomerList, step: Callable[[], None]) -> None:
        parts = self._parts
        for number, line in enumerate(
            judge_all(parts.intake, parts.batches, reading, KnownChoices(rule=rule_of(parts))), 1
        ):
            step()
            if number > MOST_ROWS:
                raise ListRefused([TOO_LONG])
            count(self._judged, line, parts.hours)
            if isinstance(line, AcceptedLine):
                self._cost.add(line)
            else:
                self._refuse(line)
            for warning in line.warnings:
                self._warned.add(line.row, warning)
                self._of_rows.add(line.row, warning)
                self._note(warning.column, line.row)
        self._cost.finish()
        general = [FieldProblem("", warning) for warning in reading.warnings]
        for warning in [*general, *([reading.hint] if reading.hint is not None else [])]:
            self._warned.add(None, warning)
            self._of_list.add(None, warning)

    def _refuse(self, line: RefusedLine) -> None:
        for problem in problems_of(line):
            self._refused.add(line.row, problem)
            self._problems.add(line.row, problem)
            self._note(problem.column, line.row)

    def _share(self, row: int, warning: FieldProblem) -> None:
        self._warned.add(row, warning)
        self._shared.add(row, warning)

    def _note(self, column: str, row: int) -> None:
        if column in self.wrong and len(self.wrong[column]) < MOST_WRONG:
            self.wrong[column].add(row)

    def facts(self) -> dict[str, Any]:
        due = self._cost.due
        whole = foreseen(
            self._parts, self._judged, due, (), apart=self._cost.beyond_cap(), batch=self._calls.batch, alone=False
        )
        chosen = ("rows", "now", "credits", "messages", "forecast", "routes", "changed_addresses")
        return {
            **{name: whole[name] for name in chosen},
            "costs": costs_in_words(whole),
            "problems": [_shown(one) for one in self._problems.kinds[:MOST_SHOWN]],
            "warnings": [_shown(one) for one in self._warned.kinds[:MOST_SHOWN]],
            "templates": list(problems_of_templates(self._parts.templates)),
            "sample": self._sample(),
        }

    def _sample(self) -> dict[str, Any] | None:
        line = self._cost.first
        channel = next(iter(invitation_channels(line.customer.channel)), None) if line is not None else None
        if line is None or channel is None:
            return None
        parts = self._parts
        try:
            words = rendered(parts.settings, parts.templates, line.customer, channel, Wording.INVITATION.value)
        except CannotStart:
            return None  # the template's problem is shown
        text = "\n".join(words.text.splitlines()[:SAMPLE_LINES])[:SAMPLE_LETTERS]
        return {"row": line.row, "channel": channel, "subject": words.subject, "text": text, "language": words.language}

    def file(self, reading: CustomerList, step: Callable[[], None]) -> Iterator[bytes]:
        def each(rows: FoundRows, severity: Severity) -> Iterable[tuple[int | None, FieldProblem, Severity]]:
            for row, one in rows:
                step()
                yield row, one, severity

        warnings = [each(one, "warning") for one in (self._of_list, self._of_rows, self._shared)]
        ordered = heapq.merge(each(self._refused, "error"), *warnings, key=lambda one: one[0] or 0)
        with TemporaryFile("w+b") as kept:
            out = io.TextIOWrapper(kept, encoding="utf-8-sig", newline="", write_through=True)
            problems_csv(out, ordered, originals=reading.originals())
            kept.seek(0)
            yield from in_parts(kept.read)
            out.detach()


def _words(
    reading: CustomerList, wrong: dict[str, set[int]], options: ListOptions, step: Callable[[], None]
) -> dict[str, list[list[Any]]]:
    """By column of ours, the commonest words of the list that are not ours there, each with how often it stands."""
    titles, rows = reading.originals()
    names = [our_name(title, options) for title in titles]
    places = {name: place for place, name in enumerate(names) if name and wrong.get(name)}
    if not places:
        return {}
    counts: dict[str, Counter[str]] = {name: Counter() for name in places}
    last = max(max(wrong[name]) for name in places)
    for row, cells in rows:
        step()
        for name, place in places.items():
            word = cells[place].strip() if row in wrong[name] and place < len(cells) else ""
            if word and len(word) <= LONGEST_WORD and word.isprintable():
                counts[name][word] += 1
        if row >= last:
            break
    each = MOST_WORDS // len(places) or 1
    return {name: [[word, number] for word, number in found.most_common(each)] for name, found in counts.items()}


def _shown(one: Kind) -> dict[str, Any]:
    problem = one.problem
    return {
        "column": problem.column,
        "problem": problem.problem,
        "hint": problem.hint,
        "rows": one.count,
        "first": one.rows,
        "differs": one.differs,
    }
