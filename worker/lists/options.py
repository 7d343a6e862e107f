"""How to read a list: the options of the command line and the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Protocol, get_args

from worker.lists.dates import DateForm
from worker.lists.vocabulary import Vocabulary

Form = Literal["csv", "jsonl", "json", "xlsx", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)
Values = Mapping[str, Mapping[str, str]]
CheckParameter = Callable[[str, str, Any], tuple[Any, str | None]]


class KnownParameter(Protocol):
    def __call__(self, provider: str, name: str, /, *, near: bool = True) -> str | None: ...


def _as_it_is(_provider: str, _name: str, value: Any) -> tuple[Any, str | None]:
    return value, None


def _any_name(_provider: str, _name: str, *, near: bool = True) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """`today` is the latest date of birth that is accepted.

    `dates` is the form of the list's dates; YYYY-MM-DD is always read. `mapping` gives our names for the list's names;
    `ignore` names columns to leave out. `form`, `encoding` and
    `delimiter` are detected where they are None. `sheet` names the sheet of a
    workbook; None: it has one only. `check_parameter(provider, name, cell)` returns the value to send
    and None, or any value and the cell's problem, in a text that does not repeat the cell; `name` has dots where it
    is nested. `known_parameter(provider, name)` returns the problem of a column's name at the header, or None; with
    `near` also the name that is meant. The providers know which values a parameter may have, so the caller passes both
    functions. `if_used` are the columns whose problems refuse a line only where the column is used; the caller decides
    that (`Accepted.if_used`).
    `values`: by our column, our word for the list's, which is in small letters (`casefold`).
    `defaults` are the cells, by our names, of rows that have none in that column. `vocabulary`: the table is no list of
    customers, and has these columns. `most`: no further rows are read.
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
    check_parameter: CheckParameter = _as_it_is
    known_parameter: KnownParameter = _any_name
    defaults: Mapping[str, str] = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    most: int | None = None
