"""Workbooks that are made to harm: each is refused or rejected by name, in bounded memory and time."""

import io
import random
import signal

import pytest

from onboarding_worker.features.spreadsheets import read_apart
from onboarding_worker.lists.columns import MOST_COLUMNS
from onboarding_worker.lists.lines import AcceptedLine, ListRefused, RefusedLine
from tests.features.spreadsheets.raw_workbooks import MAIN, RAW_HEADER, inline, raw_workbook
from tests.lists.formats.files import ANN, HEADER, workbook
from tests.lists.formats.test_hostile_lists import FAR_LARGER, MEGABYTE, at_most

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
def test_a_damaged_file_is_refused_as_a_whole(forked, refusal, subtests):
    for what, make in [
        ("laughs", lambda: raw_workbook(GOOD + NAMED.replace("a", "i", 1), prolog=LAUGHS)),
        ("outside", lambda: raw_workbook(GOOD + NAMED, prolog=OUTSIDE)),
        ("open tags", lambda: raw_workbook(GOOD + "<c " * 300_000)),
        ("deep", lambda: raw_workbook(GOOD, strings="<a>" * 100_000)),
        ("end", lambda: raw_workbook(GOOD, xl__workbook_xml="<workbook></x>")),
    ]:
        with subtests.test(what=what):
            content = make()
            with at_most(16):
                assert DAMAGED in refusal(content)


def test_a_bomb_is_refused_as_a_whole(refused_here, subtests):
    for what, make, reason in [
        ("texts", lambda: raw_workbook(GOOD, strings="<si/>" * 13_500_000), FAR_LARGER),
        (
            "small texts",
            lambda: raw_workbook(GOOD, strings="<si/>" * 500_000, xl__media__a_png=noise(550_000)),
            MORE_THAN_ITS_SIZE,
        ),
        ("cells", lambda: raw_workbook(GOOD + "<row>" + "<c/>" * 200_000 + "</row>"), MORE_THAN_ITS_SIZE),
        ("blanks", lambda: raw_workbook(GOOD + " " * 2 * MEGABYTE), "more than a megabyte stands between two tags"),
        ("part", lambda: raw_workbook(GOOD, xl__drawings__big_xml=bytes(65 * MEGABYTE)), FAR_LARGER),
    ]:
        with subtests.test(what=what):
            content = make()
            with at_most(16):
                assert reason in refused_here(content)


@pytest.mark.filterwarnings("ignore:Workbook contains no:UserWarning")
def test_a_sheet_that_is_not_whole_raises(subtests):
    from onboarding_worker.features.spreadsheets.xlsx import read_workbook  # openpyxl may be missing

    for what, sheet in [
        ("sheet", "<row></c>"),
        ("no text", '<row><c t="s"><v>7</v></c></row>'),
        ("no column", '<row><c r="ZZZZ2"><v>1</v></c></row>'),
    ]:
        with subtests.test(what=what), pytest.raises((SyntaxError, LookupError, ValueError)):
            list(read_workbook(io.BytesIO(raw_workbook(GOOD + sheet)), None)[0])


def test_a_header_with_too_many_columns_is_refused(forked, refusal):
    titles = ["a"] * (MOST_COLUMNS + 1)
    assert "values in more than 1,000 columns" in refusal(raw_workbook(inline(*titles) + inline("1")))


def test_a_header_with_long_titles_is_refused_before_they_are_compared(forked, refusal):
    titles = ["customer_id", *["x" * 29_990] * 5]
    content = raw_workbook(inline(*titles) + inline("A1"))
    assert refusal(content) == "the header has more than 131,072 characters: is the file a list?"


def test_what_takes_too_long_to_read_is_refused(refusal, monkeypatch):
    monkeypatch.setattr(read_apart, "SECONDS", 1)
    monkeypatch.setattr(read_apart, "SECONDS_OF_A_MEGABYTE", 0)
    texts = raw_workbook(GOOD, strings="<si><t>a</t></si>" * 900_000, xl__media__a_png=noise(2 * MEGABYTE))
    assert refusal(texts) == "the workbook is refused: it takes too long to read; save it as CSV"


def test_what_needs_too_much_memory_is_refused(refusal, monkeypatch):
    monkeypatch.setattr(read_apart, "MOST_MEMORY", 80 << 20)
    texts = raw_workbook(GOOD, strings=f"<si><t>{'x' * 30_000}</t></si>" * 1_600)
    assert refusal(texts) == "the workbook is refused: it needs more than 80 MiB of memory; save it as CSV"


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


def test_more_rows_than_a_workbook_may_have_are_refused(forked, refusal, read, monkeypatch):
    numbered = "".join(f'<row r="{n}"><c r="A{n}"><v>1</v></c></row>' for n in range(1, 200_003))
    reason = "the workbook has more than 200,000 rows: save it as CSV"
    assert refusal(raw_workbook(numbered, xl__media__a_png=noise(600_000))) == reason
    # Rows without numbers are counted one by one, by openpyxl: here not so many.
    few = f"from onboarding_worker.features.spreadsheets import xlsx; xlsx.MOST_ROWS = 3; {read_apart._MAIN}"
    monkeypatch.setattr(read_apart, "_MAIN", few)
    row = inline("A1", "ann@example.com")
    assert len(read(raw_workbook(RAW_HEADER + 3 * row))) == 3
    with pytest.raises(ListRefused, match=reason):
        read(raw_workbook(RAW_HEADER + 4 * row))


def test_a_sheet_in_another_encoding_of_xml_is_read(forked, read):
    for encoding in ("windows-1252", "UTF-16"):
        text = f'<?xml version="1.0" encoding="{encoding}"?><worksheet xmlns="{MAIN}"><sheetData>'
        text += inline(*HEADER, "first_name") + inline(*ANN, "Zoë") + "</sheetData></worksheet>"
        (line,) = read(raw_workbook("", xl__worksheets__sheet1_xml=text.encode(encoding)))
        assert line.customer.person.first_name == "Zoë"


def test_an_odd_row_is_rejected_and_no_other(forked, read):
    odd = [
        '<row r="3"><c r="XFD3"><v>1</v></c></row>',
        "<row><c><v>" + "9" * 4_000 + "</v></c></row>",
        '<row><c t="?"><v>x</v></c><c><v>0.5</v></c></row>',
        '<row><c t="str"><v>' + "x" * 40_000 + "</v></c></row>",
    ]
    sheet = GOOD + "".join(xml + inline(f"B{n}", "bob@example.com") for n, xml in enumerate(odd))
    found = [AcceptedLine, *[RefusedLine, AcceptedLine] * len(odd)]
    assert [type(line) for line in read(raw_workbook(sheet))] == found


def test_what_a_sheet_says_of_its_size_counts_for_nothing(forked, read):
    for size in ("A1:XFD1048576", "A1:A1"):
        sheet = f'<worksheet xmlns="{MAIN}"><dimension ref="{size}"/><sheetData>{GOOD}</sheetData></worksheet>'
        assert [type(line) for line in read(raw_workbook("", xl__worksheets__sheet1_xml=sheet))] == [AcceptedLine]


def test_formulas_and_signs_that_turn_text_around_are_harmless(forked, read):
    texts = ("=cmd|' /C calc'!A0", '=HYPERLINK("http://evil.example","x")', "ann\u202egro.elpmaxe")
    rows = [("customer_id", "channel", "first_name"), *((f"A{n}", "none", text) for n, text in enumerate(texts))]
    lines = read(workbook(*rows))
    assert [type(line) for line in lines] == [AcceptedLine, AcceptedLine, RefusedLine]
    assert lines[2].problems[0].problem == "it contains an invisible character: U+202E RIGHT-TO-LEFT OVERRIDE"
