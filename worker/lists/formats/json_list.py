"""A list of JSON objects, one per line (JSON Lines) or in one array, as a source of raw lines.

The columns are the objects' keys, so all of them are known only after the last object. A problem that refuses a whole
CSV list at its header, such as an unknown column, refuses only one object here.
"""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from worker.core.customers.customers import FieldProblem
from worker.lists.columns import normal
from worker.lists.formats.encoding import refuse_unless_utf8
from worker.lists.formats.json_array import json_array
from worker.lists.formats.json_lines import json_lines
from worker.lists.formats.json_shape import HEAD, refuse_other_shapes
from worker.lists.formats.opening import ListBytes
from worker.lists.lines import ListRefused, RawLine
from worker.lists.objects import MOST_KEYS, Objects
from worker.lists.options import ListOptions
from worker.lists.own_files import own_file

_Split = Callable[[BinaryIO], Iterator[tuple[int, dict[str, Any] | FieldProblem]]]


class JsonList:
    """One list. It can be iterated several times; each time it is read from the start, one object at a time."""

    def __init__(self, content: ListBytes, options: ListOptions, *, array: bool) -> None:
        """Raises ListRefused for a list that cannot be read, OSError for a path that cannot be opened."""
        what = "a JSON array" if array else "JSON lines"
        have, are = ("has", "is") if array else ("have", "are")
        if options.delimiter is not None:
            raise ListRefused([f"--delimiter: {what} {have} no delimiter; leave the option out, or use --format csv"])
        if options.encoding is not None and options.encoding.lower().replace("_", "-") not in ("utf-8", "utf-8-sig"):
            raise ListRefused([f"--encoding: {what} {are} UTF-8; convert the file, and leave the option out"])
        self._bytes = content
        self._split: _Split = json_array if array else json_lines
        self.warnings: tuple[str, ...] = ()
        with self._bytes.opened() as raw:
            first_byte = refuse_unless_utf8(raw, what)
        with self._bytes.opened() as raw:
            refuse_other_shapes(raw.read(HEAD), options)
        if array and first_byte != b"[":
            raise ListRefused(["the file is not a JSON array: it does not begin with ["])
        # A report of ours is known by the keys of its first object.
        with self._bytes.opened() as raw:
            found = next((one for _, one in self._split(raw) if isinstance(one, dict)), {})
        self.titles = tuple(found)
        self._objects = Objects(options, own=own_file([normal(key) for key in self.titles[:MOST_KEYS]]))
        line = next(iter(self), None)
        if array and line is None:
            raise ListRefused(["the JSON array is empty"])
        first = line
        if isinstance(first, RawLine) and isinstance(first.cells, FieldProblem):
            first = next((line for line in self if not isinstance(line.cells, FieldProblem)), None)
        if first is None and not array and first_byte != b"{":
            raise ListRefused(
                ["no line of the list is a JSON object: write one customer per line, or use --format csv for CSV"]
            )
        # The first object's columns: later ones may have more.
        self.columns = () if first is None or isinstance(first.cells, FieldProblem) else tuple(first.cells)

    def __iter__(self) -> Iterator[RawLine]:
        with self._bytes.opened() as raw:
            for row, found in self._split(raw):
                yield RawLine(row, found) if isinstance(found, FieldProblem) else self._objects.cells(row, found)
