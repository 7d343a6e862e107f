"""What `check` finds about the rows of a list, one by one: problems, or warnings. A million of them cost no memory."""

import json
import weakref
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any, TextIO

from worker.cli.exits import CannotStart
from worker.core.customers.customers import FieldProblem

SHOWN = 20
_IN_MEMORY = 1_000
Found = tuple[int | None, FieldProblem]  # the row, and its problem or warning; None: the whole list


class FoundRows:
    """Problems or warnings in the order in which they were added. The first thousand are in memory, the others in a
    temporary file without a name: a kill leaves nothing of it. No problem repeats a value of the list."""

    def __init__(self) -> None:
        self._first: list[Found] = []
        self._others: TextIO | None = None
        self._count = 0

    def add(self, row: int | None, found: FieldProblem) -> None:
        """Raises CannotStart where no temporary file can be written."""
        self._count += 1
        if len(self._first) < _IN_MEMORY:
            self._first.append((row, found))
            return
        try:
            if self._others is None:
                self._others = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 -- closed below
                weakref.finalize(self, self._others.close)
            self._others.write(json.dumps((row, found.column, found.problem, found.hint)) + "\n")
        except OSError as error:
            raise CannotStart(f"what was found cannot be kept: {error.strerror}; set TMPDIR") from None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Found]:
        """One reader at a time, and none while something is added."""
        yield from self._first
        if self._others is not None:
            self._others.seek(0)
            for line in self._others:
                row, *problem = json.loads(line)
                yield row, FieldProblem(*problem)


class Streamed(list[Any]):
    """A list for `json.JSONEncoder.iterencode`, whose items are made one by one as they are written."""

    def __init__(self, *parts: FoundRows) -> None:
        super().__init__()
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Any]:
        for part in self._parts:
            for row, found in part:
                yield {"row": row, "column": found.column, "problem": found.problem, "hint": found.hint}
