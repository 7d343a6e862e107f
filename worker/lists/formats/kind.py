"""Which format a list has: by its content. Its name only decides where the content leaves it open."""

import codecs
import re
from collections.abc import Collection
from pathlib import PurePath

from worker.core.foundation.notation import listed_in_words
from worker.lists.formats import Form, zip_parts
from worker.lists.lines import ListRefused

HEAD = 4096  # bytes, blank lines included, that are looked at
_OF_ENDINGS: dict[str, Form] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
}
NAMES: dict[Form, str] = {
    "csv": "CSV",
    "jsonl": "JSON lines",
    "json": "a JSON array",
    "xlsx": "an XLSX workbook",
    "parquet": "Parquet",
}
_PARQUET = b"PAR1"
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0", "an old workbook (XLS), or a workbook with a password: save it as XLSX without a password"),
    (b"%PDF", "a PDF: save the list as XLSX or CSV"),
    (b"7z\xbc\xaf", "compressed (7z): decompress it, or use gzip or ZIP"),
    (b"Rar!", "compressed (RAR): decompress it, or use gzip or ZIP"),
    (b"BZh", "compressed (bzip2): decompress it, or use gzip or ZIP"),
    (b"\xfd7zXZ", "compressed (xz): decompress it, or use gzip or ZIP"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd): decompress it, or use gzip or ZIP"),
    (zip_parts.GZIP, "compressed twice: decompress it first"),
    (b"SQLite format 3", "a database: export the list as CSV"),
    (b"Obj\x01", "an Avro file: save it as Parquet or CSV"),
    (_PARQUET, "a Parquet file: leave --format out"),
    (b"PARE", "an encrypted Parquet file: write it without encryption"),
    (zip_parts.ZIP, "a workbook or another ZIP file: leave --format out"),
    (b"PK\x05\x06", "an empty ZIP file"),
)
# Text has few control characters besides these: tab, line feed, vertical tab, form feed, carriage return, the end of a
# DOS file, and escape, which ISO-2022 uses. Zeros are not counted: UTF-16 has them.
_CONTROLS = bytes({*range(0x01, 0x20)} - {*b"\t\n\v\f\r\x1a\x1b"})
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_MARKS = re.compile(rb"\A(?:%s)+" % codecs.BOM_UTF8)
_PAGE = re.compile(rb"<(?:!doctype|html|head|body|table|\?xml|meta|style)\b", re.IGNORECASE)


def without_marks(head: bytes) -> bytes:
    """The bytes without the byte order marks before them: a program that adds one to a file that has one leaves two."""
    return _MARKS.sub(b"", head)


def first_byte(head: bytes) -> bytes:
    """The first byte that is neither a byte order mark nor a space; empty if there is none."""
    return without_marks(head).lstrip()[:1]


def refuse_foreign(head: bytes) -> None:
    """Raises ListRefused for a file that is no list, with what to do."""
    for magic, reason in _FOREIGN:
        if head.startswith(magic):
            raise ListRefused([f"the file is {reason}"])
    if _PAGE.match(without_marks(head).lstrip()):
        raise ListRefused(["the file is an HTML or XML page, whatever its name says: save it as XLSX or CSV"])


def refuse_binary(head: bytes) -> None:
    """Raises ListRefused for a file that is no text, whatever its encoding is."""
    if head.startswith(_WIDE_MARKS):
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


def of_binary(head: bytes) -> Form | None:
    return "parquet" if head.startswith(_PARQUET) else None


def name_warning(name: str, form: Form) -> list[str]:
    """What to say about a file whose name promises another format. It is read as what it is."""
    ending = _ending(name)
    expected = _OF_ENDINGS.get(ending)
    alike = {expected, form} <= {"json", "jsonl"}
    if expected is None or expected == form or alike:
        return []
    return [f"the name ends in {ending}, but the content is {NAMES[form]}, and is read as that"]


def _ending(name: str) -> str:
    path = PurePath(name.lower())
    return PurePath(path.stem).suffix if path.suffix in (".gz", ".zip") else path.suffix
