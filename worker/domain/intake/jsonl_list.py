"""A list of JSON objects, one per line (JSON Lines), as a source of raw lines: the columns are the objects' keys.

All columns are known only after the last line. So a problem that refuses a whole CSV list at its header, such as
an unknown column, refuses only one line here.
"""

from collections.abc import Iterator

from worker.domain.intake.encoding import refuse_unless_utf8
from worker.domain.intake.json_lines import json_lines
from worker.domain.intake.lines import ListRefused, RawLine
from worker.domain.intake.objects import Objects
from worker.domain.intake.opening import ListBytes
from worker.domain.intake.options import ListOptions
from worker.domain.model.customers import FieldProblem


class JsonlList:
    """One list. It can be iterated several times; each time it is read from the start, one line at a time."""

    def __init__(self, content: ListBytes, options: ListOptions) -> None:
        """Raises ListRefused for a list that cannot be read, OSError for a path that cannot be opened."""
        if options.delimiter is not None:
            raise ListRefused(["--delimiter: JSON lines have no delimiter; leave the option out, or use --format csv"])
        if options.encoding is not None and options.encoding.lower().replace("_", "-") not in ("utf-8", "utf-8-sig"):
            raise ListRefused(["--encoding: JSON lines are UTF-8; convert the file, and leave the option out"])
        self._bytes = content
        self._objects = Objects(options)
        self.warnings: tuple[str, ...] = ()
        with self._bytes.opened() as raw:
            begins_as_object = refuse_unless_utf8(raw) == b"{"
        first = next((line for line in self if not isinstance(line.cells, FieldProblem)), None)
        if first is None and not begins_as_object:
            raise ListRefused(
                ["no line of the list is a JSON object: write one customer per line, or use --format csv for CSV"]
            )
        # The first line's columns: later lines may have more.
        self.columns = () if first is None or isinstance(first.cells, FieldProblem) else tuple(first.cells)

    def __iter__(self) -> Iterator[RawLine]:
        with self._bytes.opened() as raw:
            for row, found in json_lines(raw):
                yield RawLine(row, found) if isinstance(found, FieldProblem) else self._objects.cells(row, found)
