"""Tables of cases: what was given, and behind it what is expected."""

from collections.abc import Callable, Iterable
from typing import Any


def differing(cases: Iterable[tuple[Any, ...]], of: Callable[..., Any]) -> list[tuple[Any, Any]]:
    """The cases whose result is not the expected one, each with what came."""
    return [(case, got) for case in cases if (got := of(*case[:-1])) != case[-1]]


def lacking(cases: Iterable[tuple[Any, ...]], of: Callable[..., str]) -> list[tuple[Any, str]]:
    """The cases whose result does not hold the expected text, each with what came."""
    return [(case, got) for case in cases if case[-1] not in (got := of(*case[:-1]))]
