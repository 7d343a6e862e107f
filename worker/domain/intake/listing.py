"""A whole list: opened once, checked line by line, however long it is."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import PurePath
from typing import Protocol

from worker.domain.intake.accept import accept
from worker.domain.intake.csv_list import CsvList
from worker.domain.intake.dates import DatesSeen
from worker.domain.intake.duplicates import Seen
from worker.domain.intake.encoding import first_byte
from worker.domain.intake.jsonl_list import JsonlList
from worker.domain.intake.lines import Accepted, Duplicate, Line, ListRefused, RawLine, Rejected
from worker.domain.intake.opening import Content, ListBytes
from worker.domain.intake.options import Form, ListOptions
from worker.domain.model.customers import FieldProblem

JSONL_ENDINGS = (".jsonl", ".ndjson")
_HEAD = 4096  # bytes, blank lines included, that are searched for the first byte


class Source(Protocol):
    """The contract of a format's reader. It raises ListRefused when it is created, hardly ever later."""

    @property
    def columns(self) -> Sequence[str]:
        """Our names for the list's columns; for JSON lines, the columns of the first line."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should check, in texts without personal values."""

    def __iter__(self) -> Iterator[RawLine]:
        """The lines below the header, if there is one, without blank lines. Memory is bounded."""


class CustomerList:
    """A list that can be read. Iterating checks each line; it can be iterated several times."""

    def __init__(self, source: Source, options: ListOptions) -> None:
        self._source = source
        self._options = options
        self.columns = tuple(source.columns)
        self.warnings = tuple(source.warnings)
        self._dates = DatesSeen(options.today)

    @property
    def hint(self) -> FieldProblem | None:
        """After an iteration: the form that its refused dates are in, as a warning for the whole list."""
        found = self._dates.hint()
        return None if found is None else FieldProblem("date_of_birth", *found)

    def __iter__(self) -> Iterator[Line]:
        seen = Seen()
        self._dates = DatesSeen(self._options.today)
        for raw in self._source:
            line = check_line(raw, self._options)
            if not isinstance(raw.cells, FieldProblem) and _has_problem(line, "date_of_birth"):
                self._dates.add(raw.cells.get("date_of_birth"))
            if isinstance(line, Accepted):
                customer = line.customer
                # Rejected lines are not remembered: a valid line below a rejected one is not a duplicate.
                earlier = seen.row_or_remember(customer.customer_id, customer.purpose, line.row)
                if earlier is not None:
                    yield Duplicate(line.row, customer.customer_id, earlier)
                    continue
            yield line


def _has_problem(line: Accepted | Rejected, column: str) -> bool:
    problems = line.if_used if isinstance(line, Accepted) else (*line.problems, *line.if_used)
    return any(problem.column == column for problem in problems)


def check_line(raw: RawLine, options: ListOptions) -> Accepted | Rejected:
    """Check a raw line, and add the problems that its reader found."""
    if isinstance(raw.cells, FieldProblem):
        return Rejected(raw.row, "", (raw.cells,))
    line = accept(raw.row, raw.cells, options)
    match line:
        case Accepted() if raw.problems:
            return Rejected(raw.row, line.customer.customer_id, raw.problems, line.if_used)
        case Rejected() if raw.problems:
            return replace(line, problems=(*raw.problems, *line.problems))
        case _:
            return line


def open_list(content: Content, options: ListOptions) -> CustomerList:
    """Open a customer list; a stream must be binary and seekable, and stays open.

    Raises ListRefused, with every reason, for a list that cannot be read as a whole.
    """
    try:
        read = ListBytes(content)
        form = options.form or _form(content, read)
        source: Source = JsonlList(read, options) if form == "jsonl" else CsvList(read, options)
        return CustomerList(source, options)
    except OSError as error:
        name = PurePath(content).name if isinstance(content, str | PathLike) else "the list"
        raise ListRefused([f"{name} cannot be opened: {error.strerror or type(error).__name__}"]) from None


def _form(content: Content, read: ListBytes) -> Form:
    """The format by the file's ending; else JSON lines if the first byte begins an object."""
    if isinstance(content, str | PathLike) and PurePath(content).suffix.lower() in JSONL_ENDINGS:
        return "jsonl"
    with read.opened() as raw:
        first = first_byte(raw.read(_HEAD))
    if first == b"[":
        raise ListRefused(
            ["the file is a JSON array: write one customer per line, as `jq -c '.[]' LIST.json > LIST.jsonl` does"]
        )
    return "jsonl" if first == b"{" else "csv"
