"""A list of JSON objects, one per line (JSON Lines) or in one array, as a source of raw lines. Memory is bounded, and
what is no object becomes a problem.

The columns are the objects' keys, so all of them are known only after the last object. A problem that refuses a whole
CSV list at its header, such as an unknown column, refuses only one object here.

A file in which the list is inside an object has metadata too, such as the number of the next page: reading what is
there could leave out customers without a word. So the file is refused, with what to do.

A library that parses JSON as a stream accepts a key twice and ends at the first error. So an array is only split here,
at the commas between its elements, and each element is read like a line of JSON Lines.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from onboarding_worker.adapters.strict_json import MOST_LEVELS, Flaw, NoObject, read_object
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.columns import MOST_KEYS, Objects, normal, our_name, own_file, shown
from onboarding_worker.lists.formats.kind import refuse_unless_utf8, without_marks
from onboarding_worker.lists.formats.opening import ListBytes
from onboarding_worker.lists.lines import ListRefused, RawLine
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.other_names import OTHER_NAMES

LONGEST_LINE = 1 << 20  # bytes, without the line's end
_BLANK = 1000  # lines after which those that follow are counted together
_CHUNK = 1 << 16

_ONE_ON_LINE = 'write each customer as an object on one line: {"customer_id": "A1", …}'


def json_lines(raw: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | FieldProblem]]:
    """Each line's object with the line's number. Blank lines are skipped and counted."""
    row = blank = 0
    while line := raw.readline(LONGEST_LINE + 1):
        row += 1
        if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = raw.readline(LONGEST_LINE + 1)
            yield row, FieldProblem("", f"the line has more than {LONGEST_LINE:,} bytes", _ONE_ON_LINE)
            continue
        if row == 1:
            line = without_marks(line)
        if line.strip():
            blank = 0
            yield row, object_of(line, "line", _ONE_ON_LINE)
        elif (blank := blank + 1) == _BLANK:
            row, blank = row + _pass_blank(raw), 0


def _pass_blank(raw: BinaryIO) -> int:
    """Passes over the blank lines that follow; returns how many. One by one, a file of them takes a minute."""
    passed = 0
    while chunk := raw.read(_CHUNK):
        rest = chunk.lstrip()
        begin = chunk.rfind(b"\n", 0, len(chunk) - len(rest)) + 1
        passed += chunk.count(b"\n", 0, begin)
        if rest:
            raw.seek(begin - len(chunk), os.SEEK_CUR)
            break
    return passed


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
            deep = f"objects or lists nested more than {MOST_LEVELS} levels deep"
            return FieldProblem("", deep, "remove the inner ones")
        case Flaw.NUMBER_TOO_LARGE:
            return FieldProblem("", f"the {what} {found.words}", "write a shorter number, or a text in quotes")
        case Flaw.NO_OBJECT | Flaw.NOT_JSON:
            return FieldProblem("", f"the {what} {found.words}", hint)


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
_NO_LIST = FieldProblem(
    "", f"the array is nested more than {MOST_OPEN:,} levels deep", "look for a bracket that is not closed"
)
_BEHIND = FieldProblem("", "there is something behind the array's end", "put all customers into one array")


def _taken(kept: bytearray) -> bytes | FieldProblem:
    """The element whose bytes were kept, or that it is too long; and begin the next one."""
    found = _TOO_LONG if len(kept) > LONGEST_LINE else bytes(kept)
    kept.clear()
    return found


def _last(kept: bytearray) -> list[bytes | FieldProblem]:
    """Nothing at the end is no element: the array is empty, or it has a comma before its end."""
    found = _taken(kept)
    return [found] if isinstance(found, FieldProblem) or found.strip() else []


def json_array(raw: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | FieldProblem]]:
    """Each element's object with its number, from 1."""
    for row, element in enumerate(_elements(raw), start=1):
        yield row, object_of(element, "object", _ONE_OBJECT) if isinstance(element, bytes) else element


def _elements(raw: BinaryIO) -> Iterator[bytes | FieldProblem]:
    """Each element's bytes; then what is wrong with the array, if anything is."""
    kept = bytearray()  # the bytes of the element that is read: one more than the longest may have, at most

    def keep(part: bytes) -> None:
        kept.extend(part[: LONGEST_LINE + 1 - len(kept)])

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
                    keep(chunk[begin : place - 1])
                    yield from _last(kept)
                    if _is_more(raw, chunk[place:]):
                        yield _BEHIND
                    return
            elif sign and depth == 1:  # a comma
                keep(chunk[begin : place - 1])
                yield _taken(kept)
                begin = place
        if depth:
            keep(chunk[begin:])
        chunk = raw.read(_CHUNK)
    yield from _last(kept)
    yield FieldProblem("", "the array has no end: the file is cut off", "get the file again: customers are missing")


def _is_more(raw: BinaryIO, rest: bytes) -> bool:
    while not rest.strip():
        rest = raw.read(_CHUNK)
        if not rest:
            return False
    return True


HEAD = 1 << 16  # bytes that are looked at; a list inside an object begins in them
# A text with what follows it if it is a key, or a bracket. Possessive, and a text without an end goes on to the end of
# all: else each further quote in it would be tried, and the search be slow.
_PART = re.compile(rb'"((?:[^"\\]++|\\.?+)*+)(?:"(?=(\s*+:(\s*+\[\s*+\{)?+)?+)|\Z)|[][{}]', re.DOTALL)
_PLAIN_KEYS = re.compile(r"(?=.{1,60}$)[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)  # may be shown, and be in a command
# An object with one of these is a customer, and an array in it is a column of that customer.
_OF_CUSTOMERS = frozenset({"customer_id", "email", "phone", "first_name", "last_name"})

_Split = Callable[[BinaryIO], Iterator[tuple[int, dict[str, Any] | FieldProblem]]]


def refuse_other_shapes(head: bytes, options: ListOptions) -> None:
    """Raises ListRefused for a list inside an object, and for an object that goes over several lines."""
    text = without_marks(head).lstrip()
    level = 1 if text.startswith(b"{") else 2  # the array's first object
    keys = list(_keys(text, level))
    inside = next((path for path, holds_rows in keys if holds_rows), None)
    if inside is not None and not any(_is_of_customer(path[0], options) for path, _ in keys):
        raise ListRefused([_inside(".".join(inside), "." if level == 1 else ".[].")])
    if level == 1 and _goes_over_lines(text.decode("utf-8", "replace")):
        instead = "write each customer as an object on one line, such as with: jq -c . FILE > customers.jsonl"
        raise ListRefused([f"the first object goes over several lines: {instead}"])


def _keys(text: bytes, level: int) -> Iterator[tuple[list[str], bool]]:
    """The keys of the first object and of those in it, each behind its parents, and whether an array of objects begins
    there."""
    opened: list[bytes] = []
    path: list[str] = []
    for part in _PART.finditer(text):
        match part[0]:
            case b"{" | b"[":
                opened.append(part[0])
                if len(opened) > MOST_LEVELS:
                    return
            case b"}" | b"]":
                del opened[-1:]
                if len(opened) < level:
                    return
            case _ if part[2] and len(opened) >= level and b"[" not in opened[level:]:
                path[len(opened) - level :] = [part[1].decode("utf-8", "replace")]
                yield [*path], part[3] is not None


def _is_of_customer(key: str, options: ListOptions) -> bool:
    ours = our_name(key, options)
    if options.vocabulary is not None:
        return ours is not None
    # A file may have an `id` of its own, so only contact details count by the names that others have for them.
    return ours in _OF_CUSTOMERS or OTHER_NAMES.get(normal(key)) in _OF_CUSTOMERS - {"customer_id"}


def _inside(keys: str, before: str) -> str:
    if not _PLAIN_KEYS.fullmatch(keys):
        return "the list is inside an object: write the array of customers alone into a file"
    return (
        f'the list is inside an object, under "{keys}": write the array of customers alone into a file, '
        f"such as with: jq -c '{before}{keys}[]' FILE > customers.jsonl"
    )


def _goes_over_lines(text: str) -> bool:
    """Whether the object that begins on the first line goes on behind the begin of the next one. A line that is cut off
    does not: the next line begins with what cannot be there, or is an object by itself."""
    _, _, rest = text.partition("\n")
    rest = rest.lstrip()
    next_line = rest.partition("\n")[0]
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except RecursionError:
        return False
    except ValueError as error:
        end = error.pos if isinstance(error, json.JSONDecodeError) else 0
    return bool(rest) and end > len(text) - len(rest) and isinstance(read_object(next_line.encode()), NoObject)


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
        self._objects = Objects(options, own=own_file(self.titles[:MOST_KEYS]))
        if array and next(iter(self), None) is None:
            raise ListRefused(["the JSON array is empty"])
        first = next((line for line in self if not isinstance(line.cells, FieldProblem)), None)
        if first is None and not array and first_byte != b"{":
            instead = "write one customer per line, or use --format csv for CSV"
            raise ListRefused([f"no line of the list is a JSON object: {instead}"])
        # The first object's columns: later ones may have more.
        self.columns = () if first is None or isinstance(first.cells, FieldProblem) else tuple(first.cells)

    def __iter__(self) -> Iterator[RawLine]:
        with self._bytes.opened() as raw:
            for row, found in self._split(raw):
                yield RawLine(row, found) if isinstance(found, FieldProblem) else self._objects.cells(row, found)
