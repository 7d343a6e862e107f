"""XLSX workbooks, as spreadsheets save them."""

import io
from datetime import date, datetime

import pytest

from onboarding_worker.features.spreadsheets import sheet_values
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from onboarding_worker.lists.listing import open_list, open_table
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.providers.values import Refusal
from tests.features.spreadsheets.raw_workbooks import MAIN, RAW_HEADER, RELATED, inline, raw_workbook
from tests.lists.conftest import TODAY
from tests.lists.formats.files import ANN, BOB, HEADER, workbook, zipped

pytestmark = pytest.mark.usefixtures("forked")
WIDE = (*HEADER, "phone", "date_of_birth", "consent", "country")


def problem(line):
    assert isinstance(line, RefusedLine), line
    return {found.column: found.problem for found in line.problems}


def test_rows_have_the_numbers_that_the_spreadsheet_shows(read):
    lines = read(workbook((), HEADER, ANN, (), ("", " "), BOB))
    assert [(type(line), line.row) for line in lines] == [(AcceptedLine, 3), (AcceptedLine, 6)]


def test_cells_with_types_mean_what_the_same_text_means(read):
    (line,) = read(workbook(WIDE, (17, "a@example.com", 447911123456, date(1990, 12, 31), True, "GB")))
    assert isinstance(line, AcceptedLine), line
    assert line.customer.customer_id == "17"
    assert line.customer.person.phone == "+447911123456"
    assert line.customer.person.date_of_birth == date(1990, 12, 31)
    assert line.customer.consent is True


def test_what_a_spreadsheet_has_lost_is_refused_with_the_reason(read):
    lines = read(
        workbook(
            WIDE,
            ("A1", "a@example.com", "4.4791E+11", "", "", "GB"),
            ("A2", "a@example.com", "4,4791E+11", "", "", "GB"),
            ("4.4791E+11", "a@example.com"),
            (1234567890123456789, "a@example.com"),
            ("A5", "a@example.com", 4479111.5, "", "", "GB"),
        )
    )
    assert [(line.row, problem(line)) for line in lines] == [
        (2, {"phone": "a number that a spreadsheet has shortened, such as 4.4791E+11: digits are lost"}),
        (3, {"phone": "a number that a spreadsheet has shortened, such as 4.4791E+11: digits are lost"}),
        (4, {"customer_id": "a number that a spreadsheet has shortened, such as 4.4791E+11: digits are lost"}),
        (5, {"customer_id": "a number of more than 15 digits, of which a spreadsheet keeps 15"}),
        (6, {"phone": "a number with a fraction"}),
    ]
    assert all(found.hint for line in lines for found in line.problems)


def test_one_of_several_sheets_is_chosen_by_name(read, refusal):
    content = workbook(HEADER, ANN, sheets=["Old customers", "Notes"])
    assert refusal(content) == (
        'the workbook has 3 sheets, "List", "Old customers", "Notes": choose one with --sheet NAME, or save the list'
        " alone"
    )
    assert [line.row for line in read(content, sheet="List")] == [2]
    assert [line.row for line in read(content, sheet=" list ")] == [2]
    assert refusal(content, sheet="notes") == "the sheet is empty"
    assert refusal(content, sheet="Nowhere").startswith('the workbook has no sheet "Nowhere"; it has "List", "Old')


def test_a_hidden_sheet_is_not_read_and_is_named():
    content = workbook(HEADER, ANN, sheets=["Old"], fill=lambda book, _sheet: book.get_worksheet_by_name("Old").hide())
    opened = open_list(io.BytesIO(content), ListOptions(today=TODAY))
    assert opened.warnings == ('hidden sheets are not read: "Old"',)
    assert [line.row for line in opened] == [2]


def test_a_number_is_what_its_cell_shows(read):
    def fill(book, sheet):
        sheet.write_number(1, 0, 42, book.add_format({"num_format": "00000"}))
        sheet.write_number(2, 0, 43, book.add_format({"num_format": '#,##0 "Stück"'}))

    lines = read(workbook(HEADER, ("", "a@example.com"), ("", "b@example.com"), fill=fill))
    assert [line.customer.customer_id for line in lines] == ["00042", "43"]


def test_a_formula_is_its_value_and_one_without_a_value_or_with_an_error_is_refused(read):
    def fill(_book, sheet):
        sheet.write_formula(1, 0, '="A"&1', None, "A1")
        sheet.write_formula(2, 0, "=B9", None, "#REF!")

    lines = read(workbook(HEADER, ("", "a@example.com"), ("", "b@example.com"), fill=fill))
    assert lines[0].customer.customer_id == "A1"
    assert problem(lines[1]) == {"customer_id": "the spreadsheet's error #REF!"}
    (line,) = read(raw_workbook(f"{RAW_HEADER}<row><c><f>1+1</f></c>{inline('a@example.com')[5:]}"))
    assert problem(line) == {"customer_id": "a formula without a value"}


def test_every_way_to_write_a_text_is_read(read):
    strings = (
        "<si><t>A1</t></si><si><t>a_x000D_b</t></si>"
        "<si><r><t>a@</t></r><r><t>example.com</t></r><rPh sb='0' eb='1'><t>no</t></rPh></si>"
    )
    rows = (
        '<row r="4"><c r="B4" t="s"><v>2</v></c></row>'
        '<row r="5"><c r="A5" t="s"><v>0</v></c><c r="B5" t="s"><v>2</v></c></row>'
        '<row r="9"><c r="A9" t="str"><v>A2</v></c><c r="B9" t="s"><v>1</v></c></row>'
    )
    lines = read(raw_workbook(RAW_HEADER + rows, strings=strings))
    assert [line.row for line in lines] == [4, 5, 9]
    assert problem(lines[0]) == {"customer_id": "it is empty"}
    assert lines[1].customer.person.email == "a@example.com"
    assert lines[2].customer_id == "A2"
    assert problem(lines[2]) == {"email": "3 characters without an @"}


def test_a_number_is_kept_exactly_or_refused(subtests):
    cases = [
        (447911123456, "447911123456"),
        (4.47911123456e11, "447911123456"),
        (-5, "-5"),
        (0.0, "0"),
        (999_999_999_999_999, "999999999999999"),
        (10**15, None),
        (1e300, None),
        (float("inf"), None),
        (0.5, None),
    ]
    for value, meant in cases:
        with subtests.test(value=value):
            found = sheet_values.number(value)
            assert isinstance(found, Refusal) if meant is None else found == meant


def test_zeros_that_a_format_shows_are_kept_or_the_number_is_refused(subtests):
    cases = [
        ("General", 0),
        ("0", 0),
        ("0.00", 0),
        ("0.00E+00", 0),
        ('#,##0 "00"', 0),
        ("00000", 5),
        ("[Red]00000;-00000", 5),
        ("000-00-0000", None),
        ('"K"00000', None),
        ("0000#", None),
        ("0" * 16, None),
    ]
    for number_format, zeros in cases:
        with subtests.test(number_format=number_format):
            found = sheet_values.zeros_of(number_format)
            assert isinstance(found, Refusal) if zeros is None else found == zeros


@pytest.mark.parametrize(
    ("system", "days", "meant"),
    [("", ("33238", "1", "0"), ["1990-12-31", "1900-01-01", None]), ('date1904="1"', ("31776",), ["1990-12-31"])],
)
def test_a_day_is_counted_by_the_system_of_its_workbook(system, days, meant):
    book = (
        f'<workbook xmlns="{MAIN}" xmlns:r="{RELATED}"><workbookPr {system}/>'
        '<sheets><sheet name="List" sheetId="1" r:id="s"/></sheets></workbook>'
    )
    rows = (f'<row><c t="inlineStr"><is><t>A1</t></is></c><c s="2"><v>{day}</v></c></row>' for day in days)
    content = raw_workbook(inline("customer_id", "date_of_birth") + "".join(rows), xl__workbook_xml=book)
    cells = [line.cells["date_of_birth"] for line in open_table(io.BytesIO(content), ListOptions(today=TODAY))[0]]
    assert [None if isinstance(cell, Refusal) else cell for cell in cells] == meant


def test_rows_and_cells_that_stand_twice_are_not_left_out_in_silence(refused_here):
    for xml in (
        '<row r="1">{0}</row><row r="3">{0}</row><row r="2">{0}</row>',
        '<row r="1">{0}</row><row r="2">{0}</row><row r="2">{0}</row>',
        '<row r="1">{0}</row><row r="2"><c r="B2"><v>1</v></c><c r="A2"><v>1</v></c></row>',
        '<row r="1">{0}</row><row r="1048577">{0}</row>',
    ):
        content = raw_workbook(xml.format("<c><v>1</v></c>"))
        assert refused_here(content) == (
            "the workbook is damaged, its rows are not in order: save it again in a spreadsheet"
        )


MANY = 250_000  # more than a workbook may have of rows with values


def numbered(number, *cells):
    at = f' r="{number}"'
    return inline(*cells, row=at) if cells else f'<row{at} s="1"><c r="A{number}" s="1"/><c r="B{number}"></c></row>'


def test_rows_that_are_only_formatted_are_not_read(read):
    filled = numbered(1, *HEADER) + numbered(2, *ANN) + numbered(3) + numbered(4, *BOB)
    behind = "".join(numbered(number) for number in range(5, MANY))
    assert [line.row for line in read(raw_workbook(filled + behind + numbered(1_048_576)))] == [2, 4]


def test_a_value_behind_many_formatted_rows_is_read_or_refused_if_rows_are_out_of_order(read, refusal):
    formatted = "".join(numbered(number) for number in range(4, 20_000))
    above = numbered(1, *HEADER) + numbered(2, *ANN) + formatted
    assert [line.row for line in read(raw_workbook(above + numbered(20_000, *BOB)))] == [2, 20_000]
    for wrong in (numbered(19_999, *BOB), numbered(7) + numbered(20_000, *BOB), numbered(2, *BOB)):
        assert "its rows are not in order" in refusal(raw_workbook(above + wrong))


def test_sheets_without_a_row_leave_the_only_one_as_it_is(read):
    content = raw_workbook(
        numbered(1, *HEADER) + numbered(2, *ANN), xl__worksheets__sheet2_xml=f'<worksheet xmlns="{MAIN}"/>'
    )
    assert [line.row for line in read(content)] == [2]


def test_a_date_with_a_time_is_refused(read):
    lines = read(workbook((*HEADER, "date_of_birth"), (*ANN, datetime(1990, 12, 31, 22, 0))))  # noqa: DTZ001 -- a cell's
    assert problem(lines[0]) == {"date_of_birth": "a date with a time of day"}


def test_a_workbook_that_is_no_list_is_refused_with_what_to_do(refusal):
    cases = [
        (workbook(), {}, "the sheet is empty"),
        (workbook(HEADER), {}, "the list has a header, but no row below it"),
        (workbook(("customer_id", "Mail"), ANN), {}, 'column 2 ("Mail") is unknown; the nearest is email'),
        (workbook(HEADER, ANN), {"delimiter": ";"}, "--delimiter: the list is an XLSX workbook, which has none"),
        (zipped({"[Content_Types].xml": ""}), {}, "cannot be read: it is damaged"),
    ]
    assert [
        (content, options, reason, got)
        for content, options, reason in cases
        if reason not in (got := refusal(content, **options))
    ] == []


def test_a_workbook_whose_parts_are_named_with_backslashes_is_refused_with_what_to_do(refused_here):
    content = zipped({"[Content_Types].xml": "", "xl\\workbook.xml": "", "xl\\worksheets\\sheet1.xml": ""})
    assert "names its parts with backslashes: open it in a spreadsheet and save it again" in refused_here(content)


@pytest.mark.parametrize(
    ("name", "promised"),
    [("list.csv", ".csv"), ("list.jsonl", ".jsonl"), ("list.csv.gz", ".csv"), ("list.xlsx", ""), ("list.xls", "")],
)
def test_a_workbook_with_another_name_is_read_as_what_it_is(tmp_path, name, promised):
    path = tmp_path / name
    path.write_bytes(workbook(HEADER, ANN))
    opened = open_list(path, ListOptions(today=TODAY))
    assert [line.row for line in opened] == [2]
    warning = f"the name ends in {promised}, but the content is an XLSX workbook, and is read as that"
    assert opened.warnings == ((warning,) if promised else ())


def test_a_workbook_is_read_from_a_stream_that_stays_open():
    stream = io.BytesIO(workbook(HEADER, ANN))
    assert len(list(open_list(stream, ListOptions(today=TODAY)))) == 1
    assert not stream.closed
