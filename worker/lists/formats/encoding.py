"""Finds a list's encoding by reading the whole list once before it is used."""

import codecs
import io
from typing import BinaryIO

from worker.lists.formats.kind import first_byte, refuse_foreign
from worker.lists.lines import ListRefused

_CHUNK = 1 << 20
_HEAD = 4096
# The longer byte order mark comes first: the mark of UTF-32-LE begins with the mark of UTF-16-LE.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def find_encoding(raw: BinaryIO, asked: str | None) -> tuple[str, list[str]]:
    """The encoding, and warnings about it. Reads the whole file in bounded memory.

    The order is: a byte order mark, `asked`, UTF-8 if all bytes are valid, and else Windows-1252 with a warning,
    because spreadsheets save "CSV" as Windows-1252. Raises ListRefused for a file that is not text.
    """
    start = raw.tell()
    head = _head_of_text(raw)
    raw.seek(start)
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    if marked or asked:
        encoding = marked or _named(asked or "")
        wrong = _first_wrong_byte(raw, encoding)
        if wrong is not None:
            raise ListRefused([f"the file is not {encoding}: byte {wrong:,} cannot be decoded; try another --encoding"])
        return encoding, []
    if head.count(0) * 5 > len(head):
        raise ListRefused(
            ["the file is binary, or UTF-16 without a mark: save it as CSV (UTF-8), or try --encoding utf-16-le"]
        )
    if _first_wrong_byte(raw, "utf-8") is None:
        return "utf-8", []
    raw.seek(start)
    wrong = _first_wrong_byte(raw, "cp1252")
    if wrong is not None:
        raise ListRefused(
            [f"the file is neither UTF-8 nor Windows-1252 (byte {wrong:,} cannot be decoded): give its --encoding"]
        )
    return "cp1252", ["read as cp1252 (Windows-1252), because it is not UTF-8: check the accents, or give --encoding"]


def refuse_unless_utf8(raw: BinaryIO, what: str) -> bytes:
    """The first byte that is not a space, of a file that may be UTF-8. Raises ListRefused for any other file."""
    head = _head_of_text(raw)
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if head.startswith(mark)), "utf-8-sig")
    if marked != "utf-8-sig":
        raise ListRefused([f"the file is {marked.upper()}, and {what} must be UTF-8: convert it first"])
    if head.count(0) * 5 > len(head):
        raise ListRefused([f"the file is binary, or UTF-16: {what} must be UTF-8"])
    return first_byte(head)


def _head_of_text(raw: BinaryIO) -> bytes:
    head = raw.read(_HEAD)
    if not head:
        raise ListRefused(["the file is empty"])
    refuse_foreign(head)
    return head


def _named(asked: str) -> str:
    try:
        with io.TextIOWrapper(io.BytesIO(), encoding=asked):  # refuses codecs that are not for text
            name = codecs.lookup(asked).name
    except (LookupError, ValueError):
        raise ListRefused([f"--encoding {asked}: no such encoding; try utf-8, cp1252, iso-8859-15 or utf-16"]) from None
    return name


def _first_wrong_byte(raw: BinaryIO, encoding: str) -> int | None:
    """The position, from 1, of the first byte that cannot be decoded; None when all can."""
    decoder = codecs.getincrementaldecoder(encoding)()
    before = 0
    while True:
        chunk = raw.read(_CHUNK)
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            return before - waiting + getattr(error, "start", 0) + 1
        if not chunk:
            return None
        before += len(chunk)
