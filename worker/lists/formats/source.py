"""What a format's reader gives: a list's lines, those of a table with a header row; and the formats that features
read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import NOT_INSTALLED, Hook
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.columns import Header
from onboarding_worker.lists.formats import Form
from onboarding_worker.lists.formats.kind import NAMES
from onboarding_worker.lists.formats.opening import ListBytes
from onboarding_worker.lists.lines import ListRefused, RawLine
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.providers.values import Refusal

Cell = str | Refusal  # the text that a CSV file would hold, or why there is none
# A row's number as a person sees it, and its cells. A row that cannot be read is a problem instead.
Row = tuple[int, Sequence[Cell] | FieldProblem]


class Source(Protocol):
    """The contract of a format's reader. It raises ListRefused when it is created, hardly ever later."""

    @property
    def columns(self) -> Sequence[str]:
        """Our names for the list's columns; for JSON, the columns of the first object."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should check, in texts without personal values."""

    def __iter__(self) -> Iterator[RawLine]:
        """The lines below the header, if there is one, without blank lines. Memory is bounded."""


@dataclass(frozen=True)
class ListFormat:
    """A format that a list may have. `template`: a list with these columns and rows, for a person to fill in."""

    form: Form
    read: Callable[[ListBytes, ListOptions], Source]
    template: Callable[[Sequence[str], Sequence[Sequence[str]]], bytes] | None = None


# The feature `spreadsheets` reads workbooks and Parquet files.
LIST_FORMATS = Hook("LIST_FORMATS", ListFormat)


def source_of_feature(content: ListBytes, options: ListOptions, form: Form) -> Source:
    """The list, by the feature that reads its format. Raises ListRefused, also where that feature is not there."""
    for one in LIST_FORMATS.offered():
        if one.form == form:
            return one.read(content, options)
    raise ListRefused([f"the file is {NAMES[form]}: save it as CSV ({shipped.FORMATS[form]}: {NOT_INSTALLED})"])


def raw_lines(rows: Iterator[Row], header: Header, *, below: int, hint: str) -> Iterator[RawLine]:
    """The rows below the row `below`, which is the header's. `hint`: what to do about a row with too many cells. `rows`
    has no blank rows below the header."""
    width = len(header.names)
    some_unused = "" in header.names
    for row, found in rows:
        if row <= below:
            continue
        if isinstance(found, FieldProblem):
            yield RawLine(row, found)
        elif (len(found) > width or header.nameless) and (stray := _stray(found, header, hint)):
            yield RawLine(row, stray)
        else:
            cells = dict(zip(header.names, found, strict=False))  # missing cells at the end are empty ones
            if some_unused:
                cells.pop("", None)
            yield RawLine(row, cells)


def _stray(found: Sequence[Cell], header: Header, hint: str) -> FieldProblem | None:
    """The problem of a row that has values where there is no column."""
    width = len(header.names)
    last = max(place for place, cell in enumerate(found) if is_filled(cell)) + 1
    if last > width:
        return FieldProblem("", f"{last:,} cells, but the header has {width:,}", hint)
    for place in header.nameless:
        if place < len(found) and is_filled(found[place]):
            nameless = f"a value in column {place + 1}, which has no name"
            return FieldProblem("", nameless, "name the column, or empty the cell")
    return None


def is_filled(cell: Cell) -> bool:
    """Whether a cell has a value; one that cannot be read has one."""
    return bool(cell.strip()) if isinstance(cell, str) else True
