"""A whole list: opened once, judged line by line, however long it is."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import PurePath
from typing import Protocol

from worker.domain.intake.accept import accept
from worker.domain.intake.csv_list import CsvList
from worker.domain.intake.duplicates import Seen
from worker.domain.intake.encoding import first_sign
from worker.domain.intake.jsonl_list import JsonlList
from worker.domain.intake.lines import Accepted, Duplicate, Line, ListRefused, RawLine, Rejected
from worker.domain.intake.opening import Content, ListBytes
from worker.domain.intake.options import Form, ListOptions
from worker.domain.model.customers import FieldProblem

JSONL_ENDINGS = (".jsonl", ".ndjson")
_HEAD = 4096  # bytes, blank lines among them, in which the first sign is looked for


class Source(Protocol):
    """What a format's reader promises. It raises ListRefused when it is made, hardly ever later."""

    @property
    def columns(self) -> Sequence[str]:
        """Our names of the columns that the list has; of JSON lines, those of the first line."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should look at, in words without personal values."""

    def __iter__(self) -> Iterator[RawLine]:
        """The lines, below the header where there is one, blank ones left out, a bounded number in memory."""


class CustomerList:
    """A list that can be read. Iterating judges each line; it can be iterated again."""

    def __init__(self, source: Source, options: ListOptions) -> None:
        self._source = source
        self._options = options
        self.columns = tuple(source.columns)
        self.warnings = tuple(source.warnings)

    def __iter__(self) -> Iterator[Line]:
        seen = Seen()
        for raw in self._source:
            line = judge_line(raw, self._options)
            if isinstance(line, Accepted):
                customer = line.customer
                # Rejected lines are not remembered: the good line below a bad one is no duplicate of it.
                earlier = seen.row_or_remember(customer.customer_id, customer.purpose, line.row)
                if earlier is not None:
                    yield Duplicate(line.row, customer.customer_id, earlier)
                    continue
            yield line


def judge_line(raw: RawLine, options: ListOptions) -> Accepted | Rejected:
    """Judge a line as its reader found it, with what the reader found wrong."""
    if isinstance(raw.cells, FieldProblem):
        return Rejected(raw.row, "", (raw.cells,))
    line = accept(raw.row, raw.cells, options)
    match line:
        case Accepted() if raw.problems:
            return Rejected(raw.row, line.customer.customer_id, raw.problems)
        case Rejected() if raw.problems:
            return Rejected(raw.row, line.customer_id, (*raw.problems, *line.problems))
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
        raise ListRefused([f"the list cannot be opened: {error.strerror or type(error).__name__}"]) from None


def _form(content: Content, read: ListBytes) -> Form:
    """By the file's ending; else JSON lines where the first sign is the one that begins an object."""
    if isinstance(content, str | PathLike) and PurePath(content).suffix.lower() in JSONL_ENDINGS:
        return "jsonl"
    with read.opened() as raw:
        return "jsonl" if first_sign(raw.read(_HEAD)) == b"{" else "csv"
