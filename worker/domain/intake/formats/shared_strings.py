"""The texts of a workbook, which its cells name by number: kept in a temporary file, in blocks, and read as needed.

A list of a million customers has millions of different texts, too many for memory.
"""

import os
import re
import weakref
from array import array
from bisect import bisect_right
from functools import lru_cache
from tempfile import TemporaryFile

import orjson

from worker.domain.intake.formats.bounded_xml import Stream, read_whole
from worker.domain.intake.formats.sheet_values import LONGEST_TEXT, TOO_LONG
from worker.domain.intake.formats.table import Cell
from worker.domain.intake.lines import Refusal

_TEXTS = 256  # in a block
_CHARACTERS = 1 << 16  # in a block, about
_BLOCKS = 256  # in memory: at most about 40 MB, mostly 2
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_DAMAGED = Refusal("a text that the workbook does not have", "save the workbook again in a spreadsheet")


def unescaped(text: str) -> str:
    """Excel writes control characters as _x000D_."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


class SharedStrings:
    """All texts of one workbook. The temporary file has no name and ends with this object."""

    def __init__(self) -> None:
        file = TemporaryFile("w+b")  # noqa: SIM115 -- closed by the finalizer
        weakref.finalize(self, file.close)
        self._file = file
        self._count = 0
        self._first = array("Q")  # by block: the number of its first text, and where its bytes begin
        self._at = array("Q", [0])
        self._block: list[str | None] = []
        self._characters = 0
        self._read = lru_cache(maxsize=_BLOCKS)(self._read_block)

    def __getitem__(self, written: str) -> Cell:
        """The text with this number, as a cell names it."""
        if not (written.isdigit() and written.isascii() and len(written) < 11) or int(written) >= self._count:
            return _DAMAGED
        number = int(written)
        block = bisect_right(self._first, number) - 1
        text = self._read(block)[number - self._first[block]]
        # Only now: an escape may be half of a surrogate pair, which no file can keep.
        return TOO_LONG if text is None else unescaped(text)

    def _read_block(self, block: int) -> list[str | None]:
        start, end = self._at[block], self._at[block + 1]
        texts: list[str | None] = orjson.loads(os.pread(self._file.fileno(), end - start, start))
        return texts

    def add(self, text: str | None) -> None:
        """Add the next text; None: it was too long to be kept."""
        self._block.append(text)
        self._characters += len(text or "")
        if len(self._block) >= _TEXTS or self._characters >= _CHARACTERS:
            self.end()

    def end(self) -> None:
        """Write what is not written yet."""
        if not self._block:
            return
        written = orjson.dumps(self._block)
        self._file.write(written)
        self._file.flush()
        self._first.append(self._count)
        self._at.append(self._at[-1] + len(written))
        self._count += len(self._block)
        self._block.clear()
        self._characters = 0


def read_shared_strings(stream: Stream, what: str) -> SharedStrings:
    """The texts of `xl/sharedStrings.xml`. Raises ListRefused."""
    strings = SharedStrings()
    found: list[str] = []
    size = 0
    collecting = False
    phonetic = 0

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal collecting, phonetic, size
        local = name.rpartition(" ")[2]
        if local == "si":
            found.clear()
            size = 0
        elif local == "rPh":  # how a Japanese text is spoken, next to the text
            phonetic += 1
        elif local == "t":
            collecting = not phonetic

    def end(name: str) -> None:
        nonlocal collecting, phonetic
        local = name.rpartition(" ")[2]
        if local == "t":
            collecting = False
        elif local == "rPh":
            phonetic -= 1
        elif local == "si":
            strings.add("".join(found) if size <= LONGEST_TEXT else None)

    def text(part: str) -> None:
        nonlocal size
        if collecting:
            size += len(part)
            if size <= LONGEST_TEXT:
                found.append(part)

    read_whole(stream, what, start, end, text)
    strings.end()
    return strings
