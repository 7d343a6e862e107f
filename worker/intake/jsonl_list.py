"""A list of JSON objects, one a line (JSON Lines), as a source of raw lines: the columns are the objects' keys.

The columns are known when the last line has been read. So what refuses a whole CSV list at its header, such as
an unknown column, refuses one line here, and the others go on.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from worker.customers import FieldProblem
from worker.intake.columns import is_provider, our_name, shown, unknown_key, whole_and_in_parts
from worker.intake.encoding import refuse_unless_utf8
from worker.intake.json_lines import json_lines
from worker.intake.lines import ListRefused, RawLine
from worker.intake.opening import ListBytes
from worker.intake.options import ListOptions

MOST_KEYS = 500
_LONGEST_KEY = 200  # characters; no column's name is nearly as long, and looking for the nearest takes time
_TOO_MANY = FieldProblem("", f"more than {MOST_KEYS} keys", "leave out what is not the customer's")


class JsonlList:
    """One list. It can be iterated again; each time it is read afresh, a line at a time."""

    def __init__(self, content: ListBytes, options: ListOptions) -> None:
        """Raises ListRefused for a list that cannot be read, OSError for a path that cannot be opened."""
        if options.delimiter is not None:
            raise ListRefused(["--delimiter: JSON lines have none; leave it out, or say --format csv"])
        if options.encoding is not None and options.encoding.lower().replace("_", "-") not in ("utf-8", "utf-8-sig"):
            raise ListRefused(["--encoding: JSON lines are UTF-8; convert the file, and leave the option out"])
        self._bytes = content
        self._options = options
        self._judge_key = lru_cache(maxsize=1024)(self._judged_key)
        self.warnings: tuple[str, ...] = ()
        with self._bytes.opened() as raw:
            begins_as_object = refuse_unless_utf8(raw) == b"{"
        first = next((line for line in self if not isinstance(line.cells, FieldProblem)), None)
        if first is None and not begins_as_object:
            raise ListRefused(
                ["no line of the list is a JSON object: write one customer a line, or say --format csv where it is CSV"]
            )
        # Those of the first line: others may have more.
        self.columns = () if first is None or isinstance(first.cells, FieldProblem) else tuple(first.cells)

    def __iter__(self) -> Iterator[RawLine]:
        with self._bytes.opened() as raw:
            for row, found in json_lines(raw):
                yield RawLine(row, found) if isinstance(found, FieldProblem) else self._line(row, found)

    def _line(self, row: int, found: Mapping[str, Any]) -> RawLine:
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
