"""A customer as a JSON object, a line of a list or the data of an event: which of our columns its keys are."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from worker.domain.intake.columns import is_provider, our_name, shown, unknown_key, whole_and_in_parts
from worker.domain.intake.lines import RawLine
from worker.domain.intake.options import ListOptions
from worker.domain.model.customers import FieldProblem

MOST_KEYS = 500
_LONGEST_KEY = 200  # characters; no column's name is nearly as long, and looking for the nearest takes time
_TOO_MANY = FieldProblem("", f"more than {MOST_KEYS} keys", "leave out what is not the customer's")


class Objects:
    """Objects of one source; a key that was judged once is known."""

    def __init__(self, options: ListOptions) -> None:
        self._options = options
        self._judge_key = lru_cache(maxsize=1024)(self._judged_key)

    def cells(self, row: int, found: Mapping[str, Any]) -> RawLine:
        """The object told into cells by our column names."""
        keys = list(self._by_dots(found))
        if len(keys) > MOST_KEYS:
            return RawLine(row, _TOO_MANY)
        cells: dict[str, Any] = {}
        problems: list[FieldProblem] = []
        for key, value in keys:
            name = self._judge_key(key) if len(key) <= _LONGEST_KEY else unknown_key("")
            if isinstance(name, FieldProblem):
                problems.append(name)
            elif name in cells:
                problems.append(FieldProblem(name, "it is given twice, under two names", "keep one of the two"))
            elif name:
                cells[name] = value
        for name in whole_and_in_parts(cells):
            problems.append(FieldProblem(name, "it is given whole and in parts", "keep one of them"))
            del cells[name]
        return RawLine(row, cells, tuple(problems))

    def _by_dots(self, found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The line's keys, with `"idenfy-kyc": {"documents": …}` opened up as `idenfy-kyc.documents`."""
        for key, value in found.items():
            if isinstance(value, dict) and is_provider(key) and our_name(key, self._options) is None:
                for inner, parameter in value.items():
                    yield f"{key}.{inner}", parameter
            else:
                yield key, value

    def _judged_key(self, key: str) -> str | FieldProblem:
        """Our name for the key, "" for one that is to be ignored, or why it cannot be there."""
        name = our_name(key, self._options)
        if name is None:
            return unknown_key(key.strip())
        provider, dot, parameter = name.partition(".")
        problem = self._options.known_parameter(provider, parameter) if dot else None
        if problem:
            return FieldProblem(shown(name), problem, f"see the parameters of {provider}")
        return name
