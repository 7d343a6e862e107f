"""What the reader of a format gives, and the formats that features read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.core import shipped
from worker.core.features import NOT_INSTALLED, Hook
from worker.lists.formats.kind import NAMES
from worker.lists.formats.opening import ListBytes
from worker.lists.lines import ListRefused, RawLine
from worker.lists.options import Form, ListOptions


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
