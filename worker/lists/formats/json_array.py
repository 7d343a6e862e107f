"""JSON objects, on lines or in one array, as they are read: memory is bounded, and what is no object becomes a problem.

A library that parses JSON as a stream accepts a key twice and ends at the first error. So the array is only split
here, at the commas between its elements, and each element is read like a line of JSON Lines.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from worker.core.customers.customers import FieldProblem
from worker.lists.columns import shown
from worker.lists.formats.kind import without_marks
from worker.providers.strict_json import MOST_LEVELS, Flaw, read_object

LONGEST_LINE = 1 << 20  # bytes, without the line's end

_ONE_ON_LINE = 'write each customer as an object on one line: {"customer_id": "A1", …}'
_LINE_TOO_LONG = FieldProblem("", f"the line has more than {LONGEST_LINE:,} bytes", _ONE_ON_LINE)
_TOO_DEEP = FieldProblem("", f"objects or lists nested more than {MOST_LEVELS} levels deep", "remove the inner ones")


def json_lines(raw: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | FieldProblem]]:
    """Each line's object with the line's number. Blank lines are skipped and counted."""
    row = 0
    while line := raw.readline(LONGEST_LINE + 1):
        row += 1
        if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = raw.readline(LONGEST_LINE + 1)
            yield row, _LINE_TOO_LONG
            continue
        if row == 1:
            line = without_marks(line)
        if line.strip():
            yield row, object_of(line, "line", _ONE_ON_LINE)


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


_CHUNK = 1 << 16
# What is passed over, up to the next sign that counts: whole texts, and what is between them. Inside an object commas
# do not count. Possessive, so that no bytes make the search slow. A text may be cut off by the chunk's end.
_IN_TEXT = rb'(?:[^"\\]++|\\.)*+'
_TO_SIGN = re.compile(rb'(?:[^"{}\[\],]++|"%s")*+' % _IN_TEXT, re.DOTALL)
_TO_SIGN_INSIDE = re.compile(rb'(?:[^"{}\[\]]++|"%s")*+' % _IN_TEXT, re.DOTALL)
_TO_SIGN_IN_TEXT = re.compile(_IN_TEXT, re.DOTALL)
# Each bracket costs time. Where more are open than an element may have bytes, what follows is not read.
MOST_OPEN = LONGEST_LINE
_ONE_OBJECT = 'write each customer as an object in the array: [{"customer_id": "A1", …}, …]'
_TOO_LONG = FieldProblem("", f"the object has more than {LONGEST_LINE:,} bytes", _ONE_OBJECT)
_CUT_OFF = FieldProblem("", "the array has no end: the file is cut off", "get the file again: customers are missing")
_NO_LIST = FieldProblem(
    "", f"the array is nested more than {MOST_OPEN:,} levels deep", "look for a bracket that is not closed"
)
_BEHIND = FieldProblem("", "there is something behind the array's end", "put all customers into one array")


class _Element:
    """The bytes of the element that is being read. Never holds more than the longest one."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._too_long = False

    def add(self, part: bytes) -> None:
        self._too_long = self._too_long or len(self._kept) + len(part) > LONGEST_LINE
        if not self._too_long:
            self._kept += part

    def take(self) -> bytes | FieldProblem:
        """The element, or that it is too long; and begin the next one."""
        found = _TOO_LONG if self._too_long else bytes(self._kept)
        self._kept.clear()
        self._too_long = False
        return found

    def take_last(self) -> list[bytes | FieldProblem]:
        """Nothing at the end is no element: the array is empty, or it has a comma before its end."""
        found = self.take()
        return [found] if isinstance(found, FieldProblem) or found.strip() else []


def json_array(raw: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | FieldProblem]]:
    """Each element's object with its number, from 1."""
    for row, element in enumerate(_elements(raw), start=1):
        yield row, object_of(element, "object", _ONE_OBJECT) if isinstance(element, bytes) else element


def _elements(raw: BinaryIO) -> Iterator[bytes | FieldProblem]:
    """Each element's bytes; then what is wrong with the array, if anything is."""
    element = _Element()
    depth, in_text, escaped = 0, False, False
    chunk = without_marks(raw.read(_CHUNK))
    while chunk:
        begin, place = 0, 0
        while place < len(chunk):
            if escaped:  # by a backslash: part of the text
                escaped = False
                place += 1
                continue
            passed_over = _TO_SIGN_IN_TEXT if in_text else _TO_SIGN if depth < 2 else _TO_SIGN_INSIDE
            passed = passed_over.match(chunk, place)
            place = passed.end() if passed else place
            sign = chunk[place : place + 1]
            place += 1
            if sign == b'"':
                in_text = not in_text
            elif in_text:
                escaped = sign != b""
            elif sign in (b"{", b"["):
                depth += 1
                if depth == 1:
                    begin = place
                elif depth > MOST_OPEN:
                    yield _NO_LIST
                    return
            elif sign in (b"}", b"]"):
                depth -= 1
                if depth <= 0:
                    element.add(chunk[begin : place - 1])
                    yield from element.take_last()
                    if _is_more(raw, chunk[place:]):
                        yield _BEHIND
                    return
            elif sign and depth == 1:  # a comma
                element.add(chunk[begin : place - 1])
                yield element.take()
                begin = place
        if depth:
            element.add(chunk[begin:])
        chunk = raw.read(_CHUNK)
    yield from element.take_last()
    yield _CUT_OFF


def _is_more(raw: BinaryIO, rest: bytes) -> bool:
    while not rest.strip():
        rest = raw.read(_CHUNK)
        if not rest:
            return False
    return True
