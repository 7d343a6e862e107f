"""Lists that are made to harm: each is refused or rejected by name, in bounded memory and time."""

import gzip
import io
import random
import signal
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.domain.intake.conftest import TODAY
from tests.domain.intake.formats.files import (
    ANN,
    BOB,
    HEADER,
    MAIN,
    RAW_HEADER,
    inline,
    raw_workbook,
    workbook,
    zipped,
)
from worker.lists.columns import MOST_COLUMNS
from worker.lists.formats import read_apart
from worker.lists.lines import Accepted, ListRefused, Rejected
from worker.lists.listing import open_list
from worker.lists.options import ListOptions

MEGABYTE = 1 << 20
LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
GOOD = RAW_HEADER + inline(*ANN)


class Endless(io.RawIOBase):
    """A file of `size` bytes: a beginning, and then one byte again and again. Nothing of it is kept."""

    def __init__(self, beginning: bytes, filling: bytes, size: int) -> None:
        self._beginning, self._filling, self._size, self._at = beginning, filling * MEGABYTE, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        count = min(len(into), self._size - self._at, MEGABYTE)
        if self._at < len(self._beginning):
            count = min(count, len(self._beginning) - self._at)
            into[:count] = self._beginning[self._at : self._at + count]
        else:
            into[:count] = self._filling[:count]
        self._at += count
        return count


def endless(beginning: bytes, filling: bytes = b"x", size: int = 5 * MEGABYTE) -> io.BufferedReader:
    return io.BufferedReader(Endless(beginning, filling, size), 1 << 16)


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()


def test_a_line_without_an_end_is_named_and_not_kept(subtests):
    cases = [
        (b"x", "the header has more than 131,072 characters"),
        (b"customer_id,email\nA1,", "the row has more than 1,048,576 characters"),
        (b'customer_id,email\nA1,"', "the row has more than 1,048,576 characters"),
        (b'{"customer_id": "', "the line has more than 1,048,576 bytes"),
        (b'[{"customer_id": "', "the object has more than 1,048,576 bytes"),
        (b"[{", "the object has more than 1,048,576 bytes"),
    ]
    for content, reason in cases:
        with subtests.test(content=content):
            with at_most(16):
                try:
                    lines = list(open_list(endless(content), ListOptions(today=TODAY)))
                    found = lines[0].problems[0].problem
                except ListRefused as refused:
                    found = refused.reasons[0]
            assert reason in found


@pytest.mark.parametrize("count", [MOST_COLUMNS + 1, 30_000])
def test_a_header_with_too_many_columns_is_refused_by_their_number(refusal, count):
    titles = ["a"] * count
    assert f"the header has {count:,} columns, more than 1,000" in refusal(",".join(titles) + "\n1\n")
    if count < 16_384:
        assert "values in more than 1,000 columns" in refusal(raw_workbook(inline(*titles) + inline("1")))


def test_a_header_with_long_titles_is_refused_before_they_are_compared(refusal):
    titles = ["customer_id", *["x" * 29_990] * 5]
    content = raw_workbook(inline(*titles) + inline("A1"))
    assert refusal(content) == "the header has more than 131,072 characters: is the file a list?"


def test_at_most_twenty_unknown_columns_are_named(refusal):
    reasons = refusal("customer_id," + ",".join(f"x{n}q" for n in range(200)) + "\nA1\n").splitlines()
    assert len(reasons) == 21
    assert reasons[-1] == "and 180 more columns like these"


def noise(size: int) -> bytes:
    """Bytes that cannot be compressed, such as those of a picture."""
    return random.Random(1).randbytes(size)  # noqa: S311 -- no secret


DAMAGED = "the workbook cannot be read: it is damaged or cut off: get it again, or save it again"
FAR_LARGER = "decompressed it is more than 200 times as large, or more than 4 GB"
MORE_THAN_ITS_SIZE = "it has more cells and texts than a file of its size can have; save it as CSV"
NAMED = '<row><c t="inlineStr"><is><t>&a;</t></is></c></row>'


# Made by the tests that need them: at import, each test process would make them.
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: raw_workbook(GOOD + NAMED.replace("a", "i", 1), prolog=LAUGHS), DAMAGED),
        (lambda: raw_workbook(GOOD + NAMED, prolog=OUTSIDE), DAMAGED),
        (lambda: raw_workbook(GOOD, strings="<si/>" * 15_000_000), FAR_LARGER),
        (lambda: raw_workbook(GOOD, strings="<si/>" * 12_000_000, xl__media__a_png=noise(550_000)), MORE_THAN_ITS_SIZE),
        (lambda: raw_workbook(GOOD + "<row>" + "<c/>" * 200_000 + "</row>"), MORE_THAN_ITS_SIZE),
        (lambda: raw_workbook(GOOD + "<c " * 300_000), DAMAGED),
        (lambda: raw_workbook(GOOD + " " * 60 * MEGABYTE), "more than a megabyte stands between two tags"),
        (lambda: raw_workbook(GOOD, xl__drawings__big_xml=bytes(70 * MEGABYTE)), FAR_LARGER),
        (lambda: gzip.compress(bytes(70 * MEGABYTE)), FAR_LARGER),
        (lambda: zipped({"list.csv": bytes(70 * MEGABYTE)}), FAR_LARGER),
        (lambda: raw_workbook(GOOD, strings="<a>" * 100_000), DAMAGED),
        (lambda: raw_workbook(GOOD, xl__workbook_xml="<workbook></x>"), DAMAGED),
        (lambda: raw_workbook(GOOD + "<row></c>"), DAMAGED),
        (lambda: raw_workbook(GOOD + '<row><c t="s"><v>7</v></c></row>'), DAMAGED),
        (lambda: raw_workbook(GOOD + '<row><c r="ZZZZ2"><v>1</v></c></row>'), DAMAGED),
    ],
    ids=[
        "laughs",
        "outside",
        "texts",
        "small texts",
        "cells",
        "open tags",
        "blanks",
        "part",
        "gzip",
        "zip",
        "deep",
        "end",
        "sheet",
        "no text",
        "no column",
    ],
)
def test_a_bomb_and_a_damaged_file_are_refused_as_a_whole(refusal, make, reason):
    content = make()
    with at_most(16):
        assert reason in refusal(content)


def test_what_takes_too_long_to_read_is_refused(refusal, monkeypatch):
    monkeypatch.setattr(read_apart, "SECONDS", 1)
    monkeypatch.setattr(read_apart, "SECONDS_OF_A_MEGABYTE", 0)
    texts = raw_workbook(GOOD, strings="<si><t>a</t></si>" * 900_000, xl__media__a_png=noise(2 * MEGABYTE))
    assert refusal(texts) == "the workbook is refused: it takes too long to read; save it as CSV"


def test_what_needs_too_much_memory_is_refused(refusal, monkeypatch):
    monkeypatch.setattr(read_apart, "MOST_MEMORY", 100 << 20)
    digits = noise(5 * MEGABYTE).hex()
    many = raw_workbook(
        GOOD, strings="".join(f"<si><t>{digits[n : n + 10]}</t></si>" for n in range(0, len(digits), 10))
    )
    assert refusal(many) == "the workbook is refused: it needs more than 100 MiB of memory; save it as CSV"


def test_a_reader_that_dies_is_no_reader_that_was_ended_from_outside(refusal, read, monkeypatch):
    content = workbook(HEADER, ANN)
    for number, expected in ((signal.SIGSEGV, ListRefused), (signal.SIGTERM, RuntimeError)):
        monkeypatch.setattr(read_apart, "_MAIN", f"import os; os.kill(os.getpid(), {int(number)})")
        with pytest.raises(expected):
            read(content)


def test_the_reader_knows_no_secret(refusal, monkeypatch):
    monkeypatch.setenv("A_SECRET", "known")
    shows = "import json, os; print(json.dumps([*os.environ]), flush=True); os._exit(3)"
    monkeypatch.setattr(read_apart, "_MAIN", shows)
    assert {*refusal(workbook(HEADER, ANN)).split()} <= {"PYTHONPATH", "LC_CTYPE"}  # Python sets the second


def test_more_rows_than_a_workbook_may_have_are_refused(refusal, read):
    row = "<row><c><v>1</v></c></row>"
    numbered = "".join(f'<row r="{n}"><c r="A{n}"><v>1</v></c></row>' for n in range(1, 200_003))
    for sheet in (row * 200_002, numbered):
        assert (
            refusal(raw_workbook(sheet, xl__media__a_png=noise(600_000)))
            == "the workbook has more than 200,000 rows: save it as CSV"
        )


def test_a_sheet_in_another_encoding_of_xml_is_read(read):
    for encoding in ("windows-1252", "UTF-16"):
        text = f'<?xml version="1.0" encoding="{encoding}"?><worksheet xmlns="{MAIN}"><sheetData>'
        text += inline(*HEADER, "first_name") + inline(*ANN, "Zoë") + "</sheetData></worksheet>"
        (line,) = read(raw_workbook("", xl__worksheets__sheet1_xml=text.encode(encoding)))
        assert line.customer.person.first_name == "Zoë"


def test_an_odd_row_is_rejected_and_no_other(read, subtests):
    cases = [
        '<row r="3"><c r="XFD3"><v>1</v></c></row>',
        "<row><c><v>" + "9" * 4_000 + "</v></c></row>",
        '<row><c t="?"><v>x</v></c><c><v>0.5</v></c></row>',
        '<row><c t="str"><v>' + "x" * 40_000 + "</v></c></row>",
    ]
    for xml in cases:
        with subtests.test(case=xml[:40]):
            assert [type(line) for line in read(raw_workbook(GOOD + xml + inline(*BOB)))] == [
                Accepted,
                Rejected,
                Accepted,
            ]


def test_what_a_sheet_says_of_its_size_counts_for_nothing(read):
    for size in ("A1:XFD1048576", "A1:A1"):
        sheet = f'<worksheet xmlns="{MAIN}"><dimension ref="{size}"/><sheetData>{GOOD}</sheetData></worksheet>'
        assert [type(line) for line in read(raw_workbook("", xl__worksheets__sheet1_xml=sheet))] == [Accepted]


def test_a_zip_file_with_a_huge_directory_is_refused_unread(refusal):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("list.csv", "customer_id\nA1\n")
    content = bytearray(out.getvalue())
    struct.pack_into("<I", content, content.rindex(b"PK\x05\x06") + 12, 2_000_000_000)
    assert "it holds too many files" in refusal(bytes(content))


def test_formulas_and_signs_that_turn_text_around_are_harmless(read):
    texts = (
        "=cmd|' /C calc'!A0",
        '=HYPERLINK("http://evil.example","x")',
        "ann\u202egro.elpmaxe",
        "an\x00n",
        "\u2066x",
    )
    rows = [("customer_id", "channel", "first_name"), *((f"A{n}", "none", text) for n, text in enumerate(texts))]
    of_csv = read("\n".join(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in rows))
    of_sheet = read(workbook(*(row for row in rows if "\x00" not in row[2])))
    for lines in (of_csv, of_sheet):
        assert [type(line) for line in lines][:3] == [Accepted, Accepted, Rejected]
        assert lines[2].problems[0].problem == "it contains an invisible character"
    assert [type(line) for line in of_csv][3:] == [Rejected, Rejected]


@pytest.mark.parametrize(
    "address", ["ann@exаmple.com", "ann@ｅxample.com", "ann@exam\u200bple.com", "ann@example.com\u202e"]
)
def test_an_address_of_a_look_alike_domain_is_refused_or_shown_as_what_it_is(read, address):
    (line,) = read(workbook(HEADER, ("A1", address)))
    assert isinstance(line, Rejected) or line.customer.person.email.isascii()
