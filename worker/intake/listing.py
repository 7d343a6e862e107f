"""A whole list: opened once, judged line by line, however long it is."""

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import BinaryIO, Protocol

from worker.customers import FieldProblem
from worker.intake.accept import accept
from worker.intake.csv_list import CsvList
from worker.intake.duplicates import Seen
from worker.intake.lines import Accepted, Duplicate, Line, ListRefused, RawLine, Rejected
from worker.intake.options import ListOptions


class Source(Protocol):
    """What a format's reader promises. It raises ListRefused when it is made, hardly ever later."""

    @property
    def columns(self) -> Sequence[str]:
        """Our names of the columns that the list has."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should look at, in words without personal values."""

    def __iter__(self) -> Iterator[RawLine]:
        """The lines below the header, blank ones left out, a bounded number in memory."""


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
            line = _judge(raw, self._options)
            if isinstance(line, Accepted):
                customer = line.customer
                # Rejected lines are not remembered: the good line below a bad one is no duplicate of it.
                earlier = seen.row_or_remember(customer.customer_id, customer.purpose, line.row)
                if earlier is not None:
                    yield Duplicate(line.row, customer.customer_id, earlier)
                    continue
            yield line


def _judge(raw: RawLine, options: ListOptions) -> Accepted | Rejected:
    if isinstance(raw.cells, FieldProblem):
        return Rejected(raw.row, "", (raw.cells,))
    return accept(raw.row, raw.cells, options)


def open_list(path_or_stream: str | PathLike[str] | BinaryIO, options: ListOptions) -> CustomerList:
    """Open a customer list; a stream must be binary and seekable, and stays open.

    Raises ListRefused, with every reason, for a list that cannot be read as a whole.
    """
    try:
        return CustomerList(CsvList(path_or_stream, options), options)
    except OSError as error:
        raise ListRefused([f"the list cannot be opened: {error.strerror or type(error).__name__}"]) from None
