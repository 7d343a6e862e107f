"""Workbooks that are made to harm: each is refused or rejected by name, in bounded memory and time."""

import random
import signal

import pytest

from tests.features.spreadsheets.raw_workbooks import MAIN, RAW_HEADER, inline, raw_workbook
from tests.lists.formats.files import ANN, BOB, HEADER, workbook
from tests.lists.formats.test_hostile_lists import FAR_LARGER, MEGABYTE, at_most
from worker.features.spreadsheets import read_apart
from worker.lists.columns import MOST_COLUMNS
from worker.lists.lines import Accepted, ListRefused, Rejected

LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
GOOD = RAW_HEADER + inline(*ANN)


def noise(size: int) -> bytes:
    """Bytes that cannot be compressed, such as those of a picture."""
    return random.Random(1).randbytes(size)  # noqa: S311 -- no secret


DAMAGED = "the workbook cannot be read: it is damaged or cut off: get it again, or save it again"
MORE_THAN_ITS_SIZE = "it has more cells and texts than a file of its size can have; save it as CSV"
NAMED = '<row><c t="inlineStr"><is><t>&a;</t></is></c></row>'


# Made by the tests that need them: at import, each test process would make them.
def test_a_bomb_and_a_damaged_file_are_refused_as_a_whole(refusal, subtests):
    for what, (make, reason) in [
        ("laughs", (lambda: raw_workbook(GOOD + NAMED.replace("a", "i", 1), prolog=LAUGHS), DAMAGED)),
        ("outside", (lambda: raw_workbook(GOOD + NAMED, prolog=OUTSIDE), DAMAGED)),
        ("texts", (lambda: raw_workbook(GOOD, strings="<si/>" * 15_000_000), FAR_LARGER)),
        (
            "small texts",
            (
                lambda: raw_workbook(GOOD, strings="<si/>" * 12_000_000, xl__media__a_png=noise(550_000)),
                MORE_THAN_ITS_SIZE,
            ),
        ),
        ("cells", (lambda: raw_workbook(GOOD + "<row>" + "<c/>" * 200_000 + "</row>"), MORE_THAN_ITS_SIZE)),
        ("open tags", (lambda: raw_workbook(GOOD + "<c " * 300_000), DAMAGED)),
        ("blanks", (lambda: raw_workbook(GOOD + " " * 60 * MEGABYTE), "more than a megabyte stands between two tags")),
        ("part", (lambda: raw_workbook(GOOD, xl__drawings__big_xml=bytes(70 * MEGABYTE)), FAR_LARGER)),
        ("deep", (lambda: raw_workbook(GOOD, strings="<a>" * 100_000), DAMAGED)),
        ("end", (lambda: raw_workbook(GOOD, xl__workbook_xml="<workbook></x>"), DAMAGED)),
        ("sheet", (lambda: raw_workbook(GOOD + "<row></c>"), DAMAGED)),
        ("no text", (lambda: raw_workbook(GOOD + '<row><c t="s"><v>7</v></c></row>'), DAMAGED)),
        ("no column", (lambda: raw_workbook(GOOD + '<row><c r="ZZZZ2"><v>1</v></c></row>'), DAMAGED)),
    ]:
        with subtests.test(what=what):
            content = make()
            with at_most(16):
                assert reason in refusal(content)


def test_a_header_with_too_many_columns_is_refused(refusal):
    titles = ["a"] * (MOST_COLUMNS + 1)
    assert "values in more than 1,000 columns" in refusal(raw_workbook(inline(*titles) + inline("1")))


def test_a_header_with_long_titles_is_refused_before_they_are_compared(refusal):
    titles = ["customer_id", *["x" * 29_990] * 5]
    content = raw_workbook(inline(*titles) + inline("A1"))
    assert refusal(content) == "the header has more than 131,072 characters: is the file a list?"


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


def test_formulas_and_signs_that_turn_text_around_are_harmless(read):
    texts = ("=cmd|' /C calc'!A0", '=HYPERLINK("http://evil.example","x")', "ann\u202egro.elpmaxe")
    rows = [("customer_id", "channel", "first_name"), *((f"A{n}", "none", text) for n, text in enumerate(texts))]
    lines = read(workbook(*rows))
    assert [type(line) for line in lines] == [Accepted, Accepted, Rejected]
    assert lines[2].problems[0].problem == "it contains an invisible character"
