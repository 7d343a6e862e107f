"""JSON Lines to objects: memory is bounded, and a line that is not an object becomes a problem."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from worker.core.customers.customers import FieldProblem
from worker.core.foundation.strict_json import MOST_LEVELS, Flaw, read_object
from worker.lists.columns import shown
from worker.lists.formats.kind import without_marks

LONGEST_LINE = 1 << 20  # bytes, without the line's end

_ONE_OBJECT = 'write each customer as an object on one line: {"customer_id": "A1", …}'
_TOO_LONG = FieldProblem("", f"the line has more than {LONGEST_LINE:,} bytes", _ONE_OBJECT)
_TOO_DEEP = FieldProblem("", f"objects or lists nested more than {MOST_LEVELS} levels deep", "remove the inner ones")


def json_lines(raw: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | FieldProblem]]:
    """Each line's object with the line's number. Blank lines are skipped and counted."""
    row = 0
    while line := raw.readline(LONGEST_LINE + 1):
        row += 1
        if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = raw.readline(LONGEST_LINE + 1)
            yield row, _TOO_LONG
            continue
        if row == 1:
            line = without_marks(line)
        if line.strip():
            yield row, object_of(line, "line", _ONE_OBJECT)


def object_of(text: bytes, what: str, hint: str) -> dict[str, Any] | FieldProblem:
    """The object that is all of the text. `what`: how a problem names the text, `hint`: what to write instead."""
    found = read_object(text)
    if isinstance(found, dict):
        return found
    match found.flaw:
        case Flaw.NOT_UTF8:
            return FieldProblem("", f"the {what} {found.words}", "write the file as UTF-8")
        case Flaw.KEY_TWICE:
            return FieldProblem(shown(found.key), "the key appears twice in one object", "keep one of the two")
        case Flaw.TOO_DEEP:
            return _TOO_DEEP
        case Flaw.NUMBER_TOO_LARGE:
            return FieldProblem("", f"the {what} {found.words}", "write a shorter number, or a text in quotes")
        case Flaw.NO_OBJECT | Flaw.NOT_JSON:
            return FieldProblem("", f"the {what} {found.words}", hint)
