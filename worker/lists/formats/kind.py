"""Which format and encoding a list has: by its content. Its name only decides where the content leaves it open."""

import codecs
import io
import re
from collections.abc import Collection
from pathlib import PurePath
from typing import BinaryIO

from onboarding_worker.core.foundation.notation import listed_in_words
from onboarding_worker.lists.formats import Form, opening
from onboarding_worker.lists.lines import ListRefused

HEAD = 4096  # bytes, blank lines included, that are looked at
_ENDINGS: dict[Form, str] = {
    "csv": ".csv .tsv .txt", "jsonl": ".jsonl .ndjson", "json": ".json", "xlsx": ".xlsx .xlsm", "parquet": ".parquet"
}  # fmt: skip
_OF_ENDINGS = {ending: form for form, endings in _ENDINGS.items() for ending in endings.split()}
NAMES: dict[Form, str] = {
    "csv": "CSV",
    "jsonl": "JSON lines",
    "json": "a JSON array",
    "xlsx": "an XLSX workbook",
    "parquet": "Parquet",
}
PARQUET = b"PAR1"
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0", "an old workbook (XLS), or a workbook with a password: save it as XLSX without a password"),
    (b"%PDF", "a PDF: save the list as XLSX or CSV"),
    (b"7z\xbc\xaf", "compressed (7z): decompress it, or use gzip or ZIP"),
    (b"Rar!", "compressed (RAR): decompress it, or use gzip or ZIP"),
    (b"BZh", "compressed (bzip2): decompress it, or use gzip or ZIP"),
    (b"\xfd7zXZ", "compressed (xz): decompress it, or use gzip or ZIP"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd): decompress it, or use gzip or ZIP"),
    (opening.GZIP, "compressed twice: decompress it first"),
    (b"SQLite format 3", "a database: export the list as CSV"),
    (b"Obj\x01", "an Avro file: save it as Parquet or CSV"),
    (PARQUET, "a Parquet file: leave --format out"),
    (b"PARE", "an encrypted Parquet file: write it without encryption"),
    (opening.ZIP, "a workbook or another ZIP file: leave --format out"),
    (b"PK\x05\x06", "an empty ZIP file"),
)
# Text has few control characters besides these: tab, line feed, vertical tab, form feed, carriage return, the end of a
# DOS file, and escape, which ISO-2022 uses. Zeros are not counted: UTF-16 has them.
_CONTROLS = bytes({*range(0x01, 0x20)} - {*b"\t\n\v\f\r\x1a\x1b"})
# The longer byte order mark comes first: the mark of UTF-32-LE begins with the mark of UTF-16-LE.
_WIDE_MARKS = {
    **dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", **_WIDE_MARKS}
_MARKS = re.compile(rb"\A(?:%s)+" % codecs.BOM_UTF8)
_PAGE = re.compile(rb"<(?:!doctype|html|head|body|table|\?xml|meta|style)\b", re.IGNORECASE)
_CHUNK = 1 << 20


def without_marks(head: bytes) -> bytes:
    """The bytes without the byte order marks before them: a program that adds one to a file that has one leaves two."""
    return _MARKS.sub(b"", head)


def refuse_foreign(head: bytes) -> None:
    """Raises ListRefused for a file that is no list, with what to do."""
    for magic, reason in _FOREIGN:
        if head.startswith(magic):
            raise ListRefused([f"the file is {reason}"])
    if _PAGE.match(without_marks(head).lstrip()):
        raise ListRefused(["the file is an HTML or XML page, whatever its name says: save it as XLSX or CSV"])


def refuse_binary(head: bytes) -> None:
    """Raises ListRefused for a file that is no text, whatever its encoding is."""
    if head.startswith(tuple(_WIDE_MARKS)):
        return
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls * 20 > len(head) - head.count(0):  # one of 20; of random bytes it is one of ten
        formats = listed_in_words([*NAMES.values()]).replace(" and ", " or ")
        raise ListRefused([f"the file does not look like a list, it is binary: give {formats}, also in gzip or ZIP"])


def of_zip(names: Collection[str]) -> Form | None:
    """The format of a ZIP file with these files in it; None if it is not a workbook. Raises ListRefused."""
    if "xl/workbook.bin" in names:
        raise ListRefused(["the workbook is binary (XLSB): save it as XLSX"])
    if "Index/Document.iwa" in names or "Index.zip" in names:
        raise ListRefused(["the file is a document of Numbers or Pages: export it as XLSX or CSV"])
    if "[Content_Types].xml" in names or "xl/workbook.xml" in names:
        if any(name.startswith(("word/", "ppt/")) for name in names):
            raise ListRefused(["the file is a document or a presentation: save the list as XLSX or CSV"])
        return "xlsx"
    if "content.xml" in names and "mimetype" in names:
        raise ListRefused(["the file is an OpenDocument spreadsheet (ODS): save it as XLSX or CSV"])
    return None


def of_text(head: bytes, name: str) -> Form:
    """The format of a list that is not binary."""
    text = without_marks(head).lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    # "[" alone may begin a CSV header such as [id],[email].
    if text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"]", b""):
        return "json"
    # Other content is wrong JSON, and its reader says where.
    expected = _OF_ENDINGS.get(_ending(name))
    return expected if expected in ("json", "jsonl") else "csv"


def name_warning(name: str, form: Form) -> list[str]:
    """What to say about a file whose name promises another format. It is read as what it is."""
    ending = _ending(name)
    expected = _OF_ENDINGS.get(ending)
    if expected in (None, form) or {expected, form} <= {"json", "jsonl"}:
        return []
    return [f"the name ends in {ending}, but the content is {NAMES[form]}, and is read as that"]


def _ending(name: str) -> str:
    path = PurePath(name.lower())
    return PurePath(path.stem).suffix if path.suffix in (".gz", ".zip") else path.suffix


def find_encoding(raw: BinaryIO, asked: str | None) -> tuple[str, list[str]]:
    """The encoding, and warnings about it. Reads the whole file in bounded memory. The order is: a byte order mark,
    `asked`, UTF-8 if all bytes are valid, and else Windows-1252 with a warning, because spreadsheets save "CSV" as
    Windows-1252. Raises ListRefused for a file that is not text."""
    start = raw.tell()
    head = _head_of_text(raw)
    raw.seek(start)
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)
    if marked or asked:
        encoding = marked or _named(asked or "")
        wrong = _first_wrong_byte(raw, encoding)
        if wrong is not None:
            raise ListRefused([f"the file is not {encoding}: byte {wrong:,} cannot be decoded; try another --encoding"])
        return encoding, []
    if head.count(0) * 5 > len(head):
        instead = "save it as CSV (UTF-8), or try --encoding utf-16-le"
        raise ListRefused([f"the file is binary, or UTF-16 without a mark: {instead}"])
    if _first_wrong_byte(raw, "utf-8") is None:
        return "utf-8", []
    raw.seek(start)
    wrong = _first_wrong_byte(raw, "cp1252")
    if wrong is not None:
        neither = f"the file is neither UTF-8 nor Windows-1252 (byte {wrong:,} cannot be decoded)"
        raise ListRefused([f"{neither}: give its --encoding"])
    return "cp1252", ["read as cp1252 (Windows-1252), because it is not UTF-8: check the accents, or give --encoding"]


def refuse_unless_utf8(raw: BinaryIO, what: str) -> bytes:
    """The first byte that is neither a byte order mark nor a space, of a file that may be UTF-8. Raises ListRefused for
    any other file."""
    head = _head_of_text(raw)
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8-sig")
    if marked != "utf-8-sig":
        raise ListRefused([f"the file is {marked.upper()}, and {what} must be UTF-8: convert it first"])
    if head.count(0) * 5 > len(head):
        raise ListRefused([f"the file is binary, or UTF-16: {what} must be UTF-8"])
    return without_marks(head).lstrip()[:1]


def _head_of_text(raw: BinaryIO) -> bytes:
    head = raw.read(HEAD)
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
