"""Lists that are made to harm: each is refused or rejected by name, in bounded memory and time."""

import gzip
import io
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
    PACKAGE,
    RAW_HEADER,
    RELATED,
    inline,
    raw_workbook,
    spreadsheet,
    workbook,
    zipped,
)
from worker.domain.intake import Accepted, ListOptions, ListRefused, Rejected, open_list
from worker.domain.intake.columns import MOST_COLUMNS
from worker.domain.intake.formats import bounded_xml, zip_parts

MEGABYTE = 1 << 20
LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
GOOD = RAW_HEADER + inline(*ANN)


def names(tag: str) -> str:
    """A part with 20 MB of different names, each in such a tag."""
    return "<a>" + "".join(tag.format(f"{'x' * 1000}{number}") for number in range(20_000)) + "</a>"


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
        assert "values in more than 1,000 columns" in refusal(spreadsheet(titles, ("1",)))


def test_a_header_with_long_titles_is_refused_before_they_are_compared(refusal):
    titles = ["customer_id", *["x" * 29_990] * 5]
    for content in (raw_workbook(inline(*titles) + inline("A1")), spreadsheet(titles, ("A1",))):
        assert refusal(content) == "the header has more than 131,072 characters: is the file a list?"


def test_at_most_twenty_unknown_columns_are_named(refusal):
    reasons = refusal("customer_id," + ",".join(f"x{n}q" for n in range(200)) + "\nA1\n").splitlines()
    assert len(reasons) == 21
    assert reasons[-1] == "and 180 more columns like these"


# Made by the tests that need them: at import, each test process would make them.
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: raw_workbook(GOOD, prolog=LAUGHS), "declares a document type"),
        (lambda: raw_workbook(GOOD, prolog=OUTSIDE), "declares a document type"),
        (
            lambda: raw_workbook(GOOD, xl__sharedStrings_xml=f'{LAUGHS}<sst xmlns="{MAIN}"/>'),
            "declares a document type",
        ),
        (lambda: raw_workbook(GOOD, xl__workbook_xml=f"{LAUGHS}<workbook/>"), "declares a document type"),
        (lambda: spreadsheet(HEADER, ANN, prolog=LAUGHS), "declares a document type"),
        (lambda: spreadsheet(HEADER, ANN, prolog=OUTSIDE), "declares a document type"),
        (lambda: raw_workbook(GOOD, xl__sharedStrings_xml="<a>" * 100_000), "nested too deep"),
        (lambda: spreadsheet(HEADER, ANN, xml="<table:x>" * 100_000), "nested too deep"),
        (
            lambda: raw_workbook(GOOD, xl__sharedStrings_xml=f'<a b="{"x" * (MEGABYTE * 3 // 2)}"/>'),
            "a tag of more than 1 MB",
        ),
        (lambda: raw_workbook(GOOD, xl__sharedStrings_xml=names("<{0}/>")), "too many different names"),
        (lambda: raw_workbook(GOOD, xl__sharedStrings_xml=names("<a {0}=''/>")), "too many different names"),
        (lambda: raw_workbook(GOOD, xl__sharedStrings_xml=names("<a xmlns:{0}='a'/>")), "too many different names"),
        (lambda: spreadsheet(HEADER, ANN, xml=names("<{0}/>")), "too many different names"),
        (lambda: raw_workbook(GOOD, xl__workbook_xml="<workbook></x>"), "its XML is damaged"),
        (
            lambda: raw_workbook(GOOD, xl__sharedStrings_xml="<a>" + " " * (3 * MEGABYTE)),
            "more than 200 times as large",
        ),
        (lambda: gzip.compress(b"customer_id\n" * (MEGABYTE // 4)), "more than 200 times as large"),
        (lambda: zipped({"list.csv": bytes(3 * MEGABYTE)}), "more than 200 times as large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bomb_is_refused_before_it_grows(refusal, make, reason, monkeypatch):
    monkeypatch.setattr(zip_parts, "SMALL", 2 * MEGABYTE)
    content = make()
    with at_most(16):
        assert reason in refusal(content)


@pytest.mark.parametrize(
    "name", ["hex", "undefined", "idna", "punycode", "utf-7", "no-such", "a" * 500, "shift_jis", "cp037"]
)
def test_xml_in_an_encoding_of_python_alone_is_refused(refusal, name):
    prolog = f'<?xml version="1.0" encoding="{name}"?>'
    reason = "its XML is in an encoding that is not read here"
    assert reason in refusal(raw_workbook(GOOD, prolog=prolog))
    assert reason in refusal(raw_workbook(GOOD, xl__sharedStrings_xml=f'{prolog}<sst xmlns="{MAIN}"/>'))
    assert reason in refusal(spreadsheet(HEADER, ANN, prolog=prolog))


def test_a_sheet_in_an_encoding_that_is_not_read_says_what_to_do(refusal):
    for content in (
        in_encoding("shift_jis", "Ann"),
        spreadsheet(HEADER, ANN, prolog='<?xml version="1.0" encoding="x"?>'),
    ):
        assert "save it again in a spreadsheet" in refusal(content)


@pytest.mark.parametrize("name", ["UTF-8", "utf-8", "iso-8859-1", "us-ascii"])
def test_xml_in_an_encoding_of_xml_is_read(read, name):
    assert [type(line) for line in read(raw_workbook(GOOD, prolog=f'<?xml version="1.0" encoding="{name}"?>'))] == [
        Accepted
    ]


def in_encoding(encoding: str, name: str | bytes) -> bytes:
    """A workbook whose sheet and texts are in this encoding, with a customer of this name."""
    before, _, after = (inline(*HEADER, "first_name") + inline(*ANN, "NAME")).partition("NAME")
    raw = name if isinstance(name, bytes) else name.encode(encoding)
    start = f'<?xml version="1.0" encoding="{encoding}"?><worksheet xmlns="{MAIN}"><sheetData>{before}'.encode()
    return raw_workbook("", xl__worksheets__sheet1_xml=start + raw + f"{after}</sheetData></worksheet>".encode())


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("windows-1252", "Zoë Œuvrard"),
        ("Windows-1250", "Żaneta Kořínková"),
        ("windows-1251", "Анна"),
        ("windows-1257", "Ona Petrauskaitė"),
        ("ISO-8859-2", "Żaneta"),
        ("iso-8859-15", "Œdipe Šimon"),
    ],
)
def test_xml_in_a_declared_encoding_of_one_byte_is_read(read, encoding, name):
    (line,) = read(in_encoding(encoding, name))
    assert isinstance(line, Accepted)
    assert line.customer.person.first_name == name


def test_each_encoding_of_one_byte_is_one_that_python_has(read):
    assert bounded_xml._OF_ONE_BYTE
    for encoding in bounded_xml._OF_ONE_BYTE:
        assert [type(line) for line in read(in_encoding(encoding, "Ann"))] == [Accepted], encoding


def test_a_byte_without_a_character_in_its_encoding_is_damage(read):
    (line,) = read(in_encoding("windows-1252", b"Ann\x81"))
    assert isinstance(line, Rejected)
    assert line.problems[0].problem == "the sheet is damaged here: its XML is damaged"


def test_a_damaged_sheet_ends_with_a_row_that_says_so(read):
    cases = {
        "its XML is nested too deep": "<row><c><v>" + "<a>" * 1000,
        "its XML is damaged": "<row></c>",
        "its rows are not in order": '<row r="1"><c><v>1</v></c></row>',
        "a row has too many cells": "<row>" + "<c/>" * 16_385 + "</row>",
        "its XML has a tag of more than 1 MB": f'<row><c r="{"A" * 2 * MEGABYTE}"/></row>',
    }
    for reason, xml in cases.items():
        lines = read(raw_workbook(GOOD + xml))
        assert [type(line) for line in lines] == [Accepted, Rejected], reason
        assert lines[1].row == 3
        assert lines[1].problems[0].problem == f"the sheet is damaged here: {reason}"


def test_an_odd_cell_rejects_its_row_and_no_other(read, subtests):
    cases = [
        '<row><c r="XFD2"><v>1</v></c></row>' * 50,
        '<row><c r="ZZZZ2"><v>1</v></c></row>',
        '<row><c r="B2"><v>1</v></c><c r="A2"><v>1</v></c></row>',
        '<row><c t="s"><v>99999999999999999999</v></c></row>',
        '<row><c s="99999999999999999999"><v>1</v></c></row>',
        '<row><c t="n"><v>' + "9" * 30_000 + "</v></c></row>",
        '<row><c t="b"><v>x</v></c><c t="?"><v>x</v></c></row>',
        "<row><c><v>" + "9" * 40_000 + "</v></c></row>",
    ]
    for xml in cases:
        with subtests.test(case=xml[:40]):
            with at_most(32):
                lines = read(raw_workbook(GOOD + xml + inline(*BOB)))
            assert isinstance(lines[0], Accepted)
            assert isinstance(lines[-1], Accepted)
            assert lines[1:-1]
            assert all(isinstance(line, Rejected) for line in lines[1:-1])


def test_declared_and_repeated_sizes_cost_nothing(read):
    sheet = f'<worksheet xmlns="{MAIN}"><dimension ref="A1:XFD1048576"/><sheetData>{GOOD}</sheetData></worksheet>'
    repeated = "<table:table-row table:number-rows-repeated='{0}'><table:table-cell {1}/></table:table-row>"
    with at_most(16):
        assert len(read(raw_workbook("", xl__worksheets__sheet1_xml=sheet))) == 1
        assert len(read(spreadsheet(HEADER, ANN, xml=repeated.format(999_999_999, "")))) == 1
        spaces = "<table:table-row><table:table-cell><text:p>A<text:s text:c='999999999'/></text:p></table:table-cell>"
        (_, line) = read(spreadsheet(HEADER, ANN, xml=spaces + "</table:table-row>"))
    assert line.problems[0].problem == "a cell has more than 32,767 characters"
    text = (
        "<table:table-row table:number-rows-repeated='{0}'><table:table-cell {1}><text:p>x</text:p></table:table-cell>"
    )
    for rows, columns, reason in (
        ("999999999", "", "it has too many rows"),
        ("1", "table:number-columns-repeated='999999999'", "a row has too many cells"),
        ("-1", "", "it repeats something an unclear number of times"),
        ("1" * 99, "", "it repeats something an unclear number of times"),
    ):
        (_, line) = read(spreadsheet(HEADER, ANN, xml=text.format(rows, columns) + "</table:table-row>"))
        assert line.row == 3
        assert line.problems[0].problem == f"the sheet is damaged here: {reason}"


def test_a_text_that_is_named_a_million_times_is_kept_once(read):
    strings = "".join(f"<si><t>{n:032767}</t></si>" for n in range(40))
    cells = "".join(f'<c t="s"><v>{n}</v></c>' for n in range(2))
    with at_most(40):
        lines = read(raw_workbook(RAW_HEADER + f"<row>{cells}</row>" * 300, strings=strings))
    assert len(lines) == 300


@pytest.mark.parametrize(
    "cell", [f'<c t="{"a" * 30_000}"/>', f'<c s="{"1" * 30_000}"/>', f"<c><v>{'1' * 30_000}</v></c>"]
)
def test_a_row_of_long_cells_is_not_kept_to_its_end(read, cell):
    content = raw_workbook(f"{GOOD}<row>{cell * 2_000}</row>{inline(*BOB)}")
    with at_most(48):
        lines = read(content)
    assert isinstance(lines[0], Accepted)
    assert isinstance(lines[-1], Accepted)


def related(more: str) -> str:
    kinds = "".join(
        f'<Relationship Id="{one}" Type="{RELATED}/{one}" Target="{one}.xml"/>' for one in ("sheet", "styles")
    )
    return f'<Relationships xmlns="{PACKAGE}">{kinds.replace("/sheet", "/worksheet")}{more}</Relationships>'


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (
            "xl___rels__workbook_xml.rels",
            lambda: related("".join(f'<Relationship Id="{n}" Type="x" Target="{n:01000}"/>' for n in range(40_000))),
        ),
        (
            "xl__workbook_xml",
            lambda: (
                f'<workbook xmlns="{MAIN}" xmlns:r="{RELATED}"><sheets><sheet name="List" r:id="sheet"/>'
                + "".join(f'<sheet name="{n:06000}" state="hidden" r:id="sheet"/>' for n in range(9_000))
                + "</sheets></workbook>"
            ),
        ),
        (
            "xl__styles_xml",
            lambda: (
                f'<styleSheet xmlns="{MAIN}">'
                + "".join(f'<numFmt numFmtId="{n}" formatCode="{n:06000}"/>' for n in range(9_000))
                + "</styleSheet>"
            ),
        ),
    ],
    ids=["relationships", "workbook", "styles"],
)
def test_the_small_parts_of_a_workbook_are_not_kept_as_they_are(read, part, written):
    files = {
        "xl___rels__workbook_xml.rels": related(""),
        "xl__workbook_xml": f'<workbook xmlns="{MAIN}" xmlns:r="{RELATED}">'
        '<sheets><sheet name="List" r:id="sheet"/></sheets></workbook>',
        "xl__sheet_xml": f'<worksheet xmlns="{MAIN}"><sheetData>{GOOD}</sheetData></worksheet>',
    }
    content = raw_workbook("", **files | {part: written()})
    with at_most(32):
        assert len(read(content)) == 1


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
