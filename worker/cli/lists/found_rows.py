"""What `check` finds about the rows of a list, one by one: problems, or warnings; with `--deadline` those that it
expects to be late. A million of them cost no memory."""

import heapq
import json
import weakref
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Any

from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.lists.foreseen import ListCost
from onboarding_worker.cli.lists.listed import Listed, lines_of
from onboarding_worker.core.foundation.notation import counted, written
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.columns import our_name
from onboarding_worker.lists.importing.intake import Intake
from onboarding_worker.lists.importing.judging import Judged, count, judge_together, problems_of
from onboarding_worker.lists.importing.list_import import ImportChoices
from onboarding_worker.lists.lines import AcceptedLine, PlainRows, RefusedLine
from onboarding_worker.lists.listing import CustomerList
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.rules import WORDED
from onboarding_worker.lists.warned import Refusals, Severity
from onboarding_worker.plans.deadlines import Group, group_of, planned, too_late
from onboarding_worker.reporting.store.outlook import CallsNow
from onboarding_worker.wiring.container import Parts

SHOWN = 20
MOST_WORDS, LONGEST_WORD, MOST_DIGITS = 1000, 40, 5  # of a column, in memory; characters, and digits from a number on
SHOWN_WORDS = 8  # of a column
_IN_MEMORY = 1_000_000  # bytes
Found = tuple[int | None, FieldProblem]  # the row, and its problem or warning; None: the whole list


class FoundRows:
    """Problems or warnings, in the order of `add`: few in memory, and many in a temporary file without a name, so that
    a killed process leaves no file. No problem repeats a value of the list but ids."""

    def __init__(self) -> None:
        self._kept = SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")  # noqa: SIM115 -- closed below
        weakref.finalize(self, self._kept.close)
        self._count = 0

    def add(self, row: int | None, found: FieldProblem) -> None:
        """Raises CannotStart where no temporary file can be written."""
        self._count += 1
        try:
            self._kept.write(json.dumps((row, found.column, found.problem, found.hint, found.unread)) + "\n")
        except OSError as error:
            raise CannotStart(f"what was found cannot be kept: {error.strerror}; set TMPDIR") from None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Found]:
        """One reader at a time, and none while something is added."""
        self._kept.seek(0)
        for line in self._kept:
            row, *problem = json.loads(line)
            yield row, FieldProblem(*problem)


class Streamed(list[Any]):
    """A list for `json.JSONEncoder.iterencode`, whose items are made one by one as they are written."""

    def __init__(self, *parts: FoundRows) -> None:
        super().__init__()
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Any]:
        for part in self._parts:
            for row, found in part:
                yield {"row": row, "column": found.column, "problem": found.problem, "hint": found.hint}


def unread_words(
    found: "ListFound", reading: CustomerList, options: ListOptions, step: Callable[[], None] = lambda: None
) -> dict[str, dict[str, int]]:
    """By column of few words, those of the list that are none of ours there, the commonest first, and how often each
    stands. They are not personal: what may be, in a row whose cells have slipped, is left out. `step` is called
    between rows."""
    titles, rows = reading.originals()
    names = [our_name(title, options) for title in titles]
    places = {name: place for place, name in enumerate(names) if name in WORDED}
    counts: dict[str, Counter[str]] = {}
    at: tuple[int, Sequence[str]] = (0, ())
    for row, one, _ in found.in_order() if found.unread & places.keys() else ():
        if row is None or not one.unread or one.column not in places:
            continue
        while at[0] < row:
            step()
            at = next(rows, (row + 1, ()))
        place = places[one.column]
        word = "".join(filter(str.isprintable, at[1][place].strip())) if at[0] == row and place < len(at[1]) else ""
        if word and len(word) <= LONGEST_WORD and "@" not in word and sum(map(str.isdigit, word)) < MOST_DIGITS:
            counted_ = counts.setdefault(one.column, Counter())
            if word in counted_ or len(counted_) < MOST_WORDS:
                counted_[word] += 1
    return {column: dict(words.most_common(SHOWN_WORDS)) for column, words in counts.items()}


class InTime:
    """The accepted rows by the hours and limits that they share."""

    def __init__(self, intake: Intake, deadline: datetime) -> None:
        self._intake, self._deadline = intake, deadline
        self._rows: dict[Group, array[int]] = {}
        self._late: list[int] = []

    def add(self, line: object) -> None:
        lines = zip(line.rows, line.judged, strict=True) if isinstance(line, PlainRows) else ()
        for row, one in [(line.row, line)] if isinstance(line, AcceptedLine) else lines:
            group = group_of(one.account, one.customer, self._intake.hours)
            self._rows.setdefault(group, array("q")).append(row)

    def late(self) -> FoundRows:
        """The rows that cannot be sent in time if the list starts now, each with a warning, in the list's order."""
        rows = {group: len(numbers) for group, numbers in self._rows.items()}
        hours, now = self._intake.hours, self._intake.clock()
        found = planned(rows, hours, self._intake.paces(), deadline=self._deadline, now=now)
        # The first rows of a group go first; so its last ones are late.
        self._late = sorted(row for group, number in found.late.items() for row in self._rows[group][-number:])
        warnings, problem = FoundRows(), too_late(self._deadline)
        for row in self._late:
            warnings.add(row, problem)
        return warnings

    def facts(self) -> dict[str, Any]:
        """As `check --json` prints them; after `late`."""
        return {"deadline": {"at": written(self._deadline), "late": len(self._late), "rows": self._late}}

    def in_words(self) -> str:
        """After `late`."""
        by = written(self._deadline)
        if not self._late:
            return f"by {by}: each row can be sent if the list starts now"
        return f"by {by}: {counted(len(self._late), 'row')} cannot be sent, if the list starts now"


class ListFound:
    """What the lines of a list are, one after the other; after `finish` also what concerns the list as a whole."""

    def __init__(self, parts: Parts, calls: CallsNow, deadline: datetime | None = None) -> None:
        self.judged, self.refusals = Judged(), Refusals()
        self.problems, self.of_list, self.of_rows = FoundRows(), FoundRows(), FoundRows()
        self.shared, self.late = FoundRows(), FoundRows()
        self.unread: set[str] = set()  # columns
        self.cost = ListCost(parts, calls, judged=self.judged, shared=self.shared.add)
        self.in_time = InTime(parts.intake, deadline) if deadline is not None else None

    def add(self, line: AcceptedLine | RefusedLine | PlainRows) -> None:
        if self.in_time is not None:
            self.in_time.add(line)
        count(self.judged, line)
        if isinstance(line, PlainRows):
            self.cost.add(line)
            return
        found = [(self.of_rows, one) for one in line.warnings] if line.warnings else []
        if isinstance(line, AcceptedLine):
            self.cost.add(line)
        else:
            found += [(self.problems, one) for one in problems_of(line)]
            if line.problems:
                self.refusals.add(line.problems)
        for rows, one in found:
            rows.add(line.row, one)
            if one.unread:
                self.unread.add(one.column)

    def finish(self, reading: CustomerList) -> None:
        self.cost.finish()
        if self.in_time is not None:
            self.late = self.in_time.late()
        for warned in reading.warnings:
            self.of_list.add(None, FieldProblem("", warned))
        if reading.hint is not None:
            self.of_list.add(None, reading.hint)

    @property
    def warnings(self) -> tuple[FoundRows, ...]:
        """Each has its findings in the order of the rows."""
        return self.of_list, self.of_rows, self.shared, self.late

    def in_order(self) -> Iterator[tuple[int | None, FieldProblem, Severity]]:
        """All problems and warnings in the order of the rows, those of the whole list first."""

        def each(rows: FoundRows, severity: Severity) -> Iterator[tuple[int | None, FieldProblem, Severity]]:
            return ((row, one, severity) for row, one in rows)

        parts = (each(self.problems, "error"), *(each(one, "warning") for one in self.warnings))
        return heapq.merge(*parts, key=lambda one: one[0] or 0)


def read_through(
    parts: Parts,
    listed: Listed,
    options: ListOptions,
    choices: ImportChoices,
    reading: CustomerList,
    digest: str,
    deadline: datetime | None = None,
) -> tuple[ListFound, ReturnedReport | None]:
    """What is in the list, and, if it is a report that comes back, what its rows would become."""
    found = ListFound(parts, CallsNow(parts.database, digest=digest, rule=choices.rule), deadline)
    each, report = lines_of(parts, listed, options, choices, reading)
    plain = judge_together(parts.intake.of(), parts.batches, reading.together(), choices)
    for one in plain if reading.own is None else each:
        found.add(one)
    found.finish(reading)
    return found, report
