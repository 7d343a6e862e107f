"""How a list is to be read: what the command line and the configuration say about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

Form = Literal["csv", "jsonl"]
CheckParameter = Callable[[str, str, Any], tuple[Any, str | None]]
KnownParameter = Callable[[str, str], str | None]


def _as_it_is(_provider: str, _name: str, value: Any) -> tuple[Any, str | None]:
    return value, None


def _any_name(_provider: str, _name: str) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """`today` is the date that no birth may lie after.

    `mapping` gives our names for the list's own; `ignore` names columns to leave out. `form`, `encoding`
    and `delimiter` are found out where they are None. `check_parameter(provider, name, cell)` gives the value to
    send and None, or anything and what is wrong with the cell, in words that do not repeat it; `name` has
    dots where it is nested. `known_parameter(provider, name)` says at the header what is wrong with a
    column's name, or None. Which values a parameter may have is the providers' to know, so both are handed in.
    """

    today: date
    mapping: Mapping[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    hash_ids: bool = False
    form: Form | None = None
    encoding: str | None = None
    delimiter: str | None = None
    check_parameter: CheckParameter = _as_it_is
    known_parameter: KnownParameter = _any_name
