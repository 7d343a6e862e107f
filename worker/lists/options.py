"""How to read a list: the options of the command line and configuration, and which titles mean which of our columns."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

from onboarding_worker.lists.dates import DateForm
from onboarding_worker.lists.formats import Form

Values = Mapping[str, Mapping[str, str]]
SESSION = "session"  # the place of a row's session among its parameters
# The columns of the sessions that another tool opened, and our names for them.
ADOPTED = {f"session_{name}": f"{SESSION}.{name}" for name in ("token", "reference", "expires_at")}


def plainly(title: str) -> str:
    """A title as it is compared: `Scan Ref`, `scanRef` and `scan_ref` are one."""
    return re.sub(r"[^a-z0-9]+", "", title.lower()[:200])


@dataclass(frozen=True)
class Vocabulary:
    """`names`: by our name of a column, the titles that mean it, the best first. `mapping`: titles of this table that
    mean a column of ours whatever the names say. `needed`: our names, one of which the table must have."""

    names: Mapping[str, Sequence[str]]
    mapping: Mapping[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ()

    def place(self, title: str) -> tuple[str, int] | None:
        """Our name for a title, and how good it is (0: mapped); None: the column is not read."""
        return self._places.get(plainly(title))

    @cached_property
    def _places(self) -> Mapping[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = {}
        for ours, titles in self.names.items():
            for rank, known in enumerate((ours, *titles), start=1):
                found.setdefault(plainly(known), (ours, rank))
        return found | {plainly(theirs): (ours, 0) for theirs, ours in self.mapping.items()}

    def header(self, titles: Sequence[str]) -> tuple[str, ...]:
        """Our names for the columns, "" for those that are not read. Of several with one meaning the best is read."""
        best: dict[str, tuple[int, int]] = {}  # by our name: how good its title is, and of which column
        for column, title in enumerate(titles):
            if (place := self.place(title)) is not None:
                name, rank = place
                best[name] = min(best.get(name, (rank, column)), (rank, column))
        names = {column: name for name, (_, column) in best.items()}
        return tuple(names.get(column, "") for column in range(len(titles)))


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """`today` is the latest date of birth that is accepted.

    `dates` is the form of the list's dates; YYYY-MM-DD is always read. `mapping` gives our names for the list's names;
    `ignore` names columns to leave out. `form`, `encoding` and `delimiter` are detected where they are None. `sheet`
    names the sheet of a workbook; None: it has one only. `check_parameter(provider, name, cell)` returns the value to
    send and None, or any value and the cell's problem, in a text that does not repeat the cell; `name` has dots where
    it is nested. `known_parameter(provider, name)` returns the problem of a column's name at the header, or None; with
    `near` also the name that is meant. The providers know which values a parameter may have, so the caller passes both
    functions. `if_used` are the columns whose problems refuse a line only where the column is used; the caller decides
    that (`AcceptedLine.if_used`). `values`: by our column, our word for the list's, which is in small letters
    (`casefold`). `adopts`: the list names a session in each row (`adopted`), in the columns of `ADOPTED`. `defaults`
    are the cells, by our names, of rows that have none in that column. `vocabulary`: the table is no list of customers,
    and has these columns. `most`: no further rows are read. `mail_domains`: those of our own addresses, which columns
    for messages may have.
    """

    today: date
    mapping: Mapping[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    dates: DateForm | None = None
    if_used: frozenset[str] = frozenset()
    hash_ids: bool = False
    form: Form | None = None
    sheet: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    check_parameter: Callable[[str, str, Any], tuple[Any, str | None]] = lambda _provider, _name, value: (value, None)
    known_parameter: Callable[..., str | None] = lambda _provider, _name, near=True: None
    defaults: Mapping[str, str] = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    adopts: bool = False
    vocabulary: Vocabulary | None = None
    most: int | None = None
    mail_domains: Collection[str] = ()
