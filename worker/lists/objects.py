"""Maps the keys of a customer's JSON object, a line of a list or the data of an event, to our columns."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from worker.core.customers.customers import FieldProblem
from worker.lists.columns import MOST_REASONS, holds_columns, normal, our_name, shown, unknown_key, whole_and_in_parts
from worker.lists.lines import RawLine
from worker.lists.options import ListOptions
from worker.lists.own_columns import is_own
from worker.lists.own_files import OwnFile, own_name

MOST_KEYS = 500
_LONGEST_KEY = 200  # characters; no column's name is nearly as long, and the search for the nearest name takes time
# So many different unknown names get the name that is meant, which takes a millisecond each; further ones do not: a
# stranger's list may have others in each line.
MOST_NEAREST = 1000
_TOO_MANY = FieldProblem("", f"more than {MOST_KEYS} keys", "remove the keys that are not about the customer")


class Objects:
    """The objects of one source; the result for each key is cached."""

    def __init__(self, options: ListOptions, *, own: OwnFile | None = None) -> None:
        """`own`: the objects are lines of this file of ours."""
        self._options = options
        self._own = own
        self._unknown = 0  # names that were looked for
        self._name_of = lru_cache(maxsize=1024)(self._find_name)
        self._problem_of = lru_cache(maxsize=1024)(self._find_problem)

    def cells(self, row: int, found: Mapping[str, Any]) -> RawLine:
        """The object as cells by our column names."""
        if self._options.vocabulary is not None:
            flat = dict(islice(_flat(found, "", 0), MOST_KEYS))
            named = zip(flat.values(), self._options.vocabulary.header(list(flat)), strict=True)
            return RawLine(row, {name: value for value, name in named if name})
        keys = list(self._by_dots(found))
        if len(keys) > MOST_KEYS:
            return RawLine(row, _TOO_MANY)
        cells: dict[str, Any] = {}
        problems: list[FieldProblem] = []
        refused, are_all = 0, True
        for key, value in keys:
            key = key if len(key) <= _LONGEST_KEY else ""
            name = self._name_of(key)
            if name is None or "." in name:
                # The name that is meant is looked for, which takes time: not with each of some hundred keys.
                if refused == MOST_REASONS:
                    are_all = False
                    continue
                if (problem := self._problem_of(key, name)) is not None:
                    refused += 1
                    problems.append(problem)
                    continue
            if name in cells:
                problems.append(FieldProblem(name, "it is given twice, under two names", "keep one of the two"))
            elif name:
                cells[name] = value
        if not are_all:
            problems.append(FieldProblem("", f"more than {MOST_REASONS} unknown keys", _TOO_MANY.hint))
        for name in whole_and_in_parts(cells):
            problems.append(FieldProblem(name, "it is given both as a whole and in parts", "keep one of them"))
            del cells[name]
        return RawLine(row, cells, tuple(problems))

    def _by_dots(self, found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The line's keys, with `"idenfy-kyc": {"documents": …}` expanded to `idenfy-kyc.documents`."""
        for key, value in found.items():
            if isinstance(value, dict) and holds_columns(key) and our_name(key, self._options) is None:
                for inner, parameter in value.items():
                    yield f"{key}.{inner}", parameter
            else:
                yield key, value

    def _find_name(self, key: str) -> str | None:
        """Our name for the key, or a parameter's, which its provider may not have; "": ignore it; None: unknown."""
        name = None if self._own is None else own_name(self._own, normal(key))
        return our_name(key, self._options) if name is None else name

    def _find_problem(self, key: str, name: str | None) -> FieldProblem | None:
        """Why a key is refused that is no column's name."""
        near = self._unknown < MOST_NEAREST
        if name is None:
            self._unknown += 1
            return unknown_key(key.strip(), near=near)
        if is_own(name):
            return None
        provider, _, parameter = name.partition(".")
        problem = self._options.known_parameter(provider, parameter, near=near)
        self._unknown += bool(problem)
        return FieldProblem(shown(name), problem, f"see the parameters of {provider}") if problem else None


def _flat(found: Mapping[str, Any], before: str, depth: int) -> Iterator[tuple[str, Any]]:
    """The cells of an object of another system. Objects in it are read by keys with dots, `mail.messageId`."""
    for key, value in found.items():
        if isinstance(value, dict) and depth < 3:
            yield from _flat(value, f"{before}{key}.", depth + 1)
        else:
            yield f"{before}{key}", value
