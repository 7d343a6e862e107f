import csv
import gzip
import io
import os
import random
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.lists.formats.csv_list import LONGEST_RECORD, MOST_AGAIN, records
from onboarding_worker.lists.formats.kind import refuse_binary
from onboarding_worker.lists.lines import AcceptedLine, ListRefused, OpenQuote, RefusedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.kinds import ACCEPTED, REJECTED, kind_of
from tests.suite.some import some

HEADER = "customer_id,email,first_name,address\n"
RANDOM = random.Random(7).randbytes(5000)  # noqa: S311 -- the same each time


def rows(lines):
    return [(kind_of(line), line.row) for line in lines]


def test_rows_are_numbered_as_a_spreadsheet_shows_them(read):
    lines = read(HEADER + 'A1,a@example.com,Ann,"Street 1\nTown\nLand"\n\n,,,\nA2,b@example.com,Bob,x\n')
    assert rows(lines) == [(ACCEPTED, 2), (ACCEPTED, 5)]
    assert lines[0].customer.person.address == "Street 1, Town, Land"


def test_a_cell_that_a_spreadsheet_lost_rejects_its_row_and_stays_as_it_was_written():
    content = "A1,a@example.com, #NAME?\nA2,b@example.com,#######\nA3,c@example.com,Ann #2\n#7,d@example.com,\n"
    found = open_list(io.BytesIO((HEADER + content).encode()), ListOptions(today=date(2026, 11, 20)))
    assert [line.problems[0].problem if isinstance(line, RefusedLine) else () for line in found] == [
        "the spreadsheet's error #NAME?",
        "nothing but #: in the spreadsheet the column was too narrow for its values",
        (),
        (),
    ]
    titles, originals = found.originals()
    assert [cells[2].strip() for _, cells in originals] == ["#NAME?", "#######", "Ann #2", ""]
    assert titles[2] == "first_name"


def test_a_program_that_adds_a_byte_order_mark_to_one_that_is_there_changes_nothing(read, subtests):
    for above in ["", "sep=,\r\n"]:
        for encoding in ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"]:
            with subtests.test(encoding=encoding, above=above):
                for marks in (2, 3, 50):
                    text = (
                        "\ufeff" * marks
                        + above
                        + HEADER
                        + 'A1,a@example.com,Ann,"Street 1\nTown"\nA2,b@example.com,"x\n'
                    )
                    lines = read(text.encode(encoding))
                    assert rows(lines) == [(ACCEPTED, 2), (REJECTED, 3)]
                    assert f"line {5 if above else 4} of the file" in lines[1].problems[0].problem


def test_blank_lines_above_the_header_count_too(read):
    assert rows(read("\n\n" + HEADER + "A1,a@example.com\n")) == [(ACCEPTED, 4)]


def test_rows_keep_their_numbers_behind_any_number_of_blank_lines(read, subtests):
    for end, number in product(["\n", "\r\n", "\r"], [1, 99, 100, 101, 65_635, 65_636, 200_001]):
        with subtests.test(end=end, number=number):
            lines = ["customer_id,email,first_name", "A1,a@example.com", *[""] * number]
            lines += ['A2,b@example.com,"Ann', '"', "", 'A3,c@example.com,"x', ""]
            found = read(end.join(lines))
            assert rows(found) == [(ACCEPTED, 2), (ACCEPTED, number + 3), (REJECTED, number + 5)]
            assert f"line {number + 6:,} of the file" in found[2].problems[0].problem


@given(st.lists(st.sampled_from(["\n", "\r", "\r\n", " \n", "\t\r", "A1,a@example.com\n", "\xa0\r\n"]), max_size=20))
def test_blank_lines_that_are_passed_over_together_count_as_those_that_are_read(lines):
    """`records` gives each line until a hundred are blank: the same text behind a hundred of them, and alone."""
    text = "".join(lines)
    before = [(row, cells) for row, cells in records(io.StringIO(text, newline=""), ",") if "".join(cells).strip()]
    behind = records(io.StringIO("\n" * 100 + text, newline=""), ",")
    assert [(row - 100, cells) for row, cells in behind if "".join(cells).strip()] == before


def test_what_spreadsheets_save_is_read(read, subtests):
    for encoding, delimiter, end in product(
        ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"], [",", ";", "\t", "|"], ["\n", "\r\n", "\r"]
    ):
        with subtests.test(encoding=encoding, delimiter=delimiter, end=end):
            text = end.join(["customer_id,email,first_name", 'A1,a@example.com,"Zoë"', "A2,b@example.com,Jürgen", ""])
            lines = read(text.replace(",", delimiter).encode(encoding))
            assert rows(lines) == [(ACCEPTED, 2), (ACCEPTED, 3)]
            assert [line.customer.person.first_name for line in lines] == ["Zoë", "Jürgen"]


def test_reading_as_windows_1252_is_warned_of():
    options = ListOptions(today=date(2026, 11, 20))
    old = open_list(io.BytesIO((HEADER + "A1,a@example.com,Zoë\n").encode("cp1252")), options)
    new = open_list(io.BytesIO((HEADER + "A1,a@example.com,Zoë\n").encode()), options)
    assert "read as cp1252" in old.warnings[0]
    assert new.warnings == ()


def test_a_byte_that_is_not_utf8_is_found_however_late_it_comes():
    far = (b" " * 999 + b"\n") * 3_000
    content = (HEADER + "A1,a@example.com,Ann\n").encode() + far + "A2,b@example.com,Zoë\n".encode("cp1252")
    lines = list(open_list(io.BytesIO(content), ListOptions(today=date(2026, 11, 20))))
    assert lines[-1].customer.person.first_name == "Zoë"


def test_the_encoding_that_is_asked_for_is_used(read):
    (line,) = read((HEADER + "A1,a@example.com,Żaneta\n").encode("iso-8859-2"), encoding="latin2")
    assert line.customer.person.first_name == "Żaneta"


def test_a_file_that_is_no_list_is_refused_with_what_to_do(refusal, subtests):
    for content, options, reason in [
        (b"", {}, "the file is empty"),
        (b"\xef\xbb\xbf \n\n", {}, "the file is empty"),
        (HEADER.encode(), {}, "no row below it"),
        ((HEADER + "\n,,\n").encode(), {}, "no row below it"),
        (b"PK\x03\x04rest", {}, "the ZIP file cannot be opened: it is damaged or cut off"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", {}, "an old workbook (XLS)"),
        (b"\x1f\x8b\x08", {}, "the gzip file is damaged or cut off"),
        (b"\x00\x01\x02\x03" * 50, {}, "the file does not look like a list, it is binary"),
        (RANDOM, {}, "give CSV, JSON lines, a JSON array, an XLSX workbook"),
        (b"{" + RANDOM, {}, "does not look like a list"),
        (gzip.compress(RANDOM), {}, "does not look like a list"),
        (RANDOM, {"form": "csv"}, "does not look like a list"),
        ((HEADER + "A1,a@example.com\n").encode("utf-16-le"), {}, "try --encoding utf-16-le"),
        (b"customer_id,na\x00me\nA1,x\n", {}, "NUL characters"),
        (b"customer_id\n\x81\xff\n", {}, "neither UTF-8 nor Windows-1252 (byte 13 cannot be decoded)"),
        (b"customer_id\nA\xe9\n", {"encoding": "utf-8"}, "the file is not utf-8: byte 14 cannot be decoded"),
        (b"customer_id\nA\n", {"encoding": "klingon"}, "no such encoding"),
        (b"customer_id\nA\n", {"encoding": "base64"}, "no such encoding"),
        (b"customer_id\nA\n", {"delimiter": "::"}, "give one character"),
        (b'customer_id,"email\nA1,a@example.com\n', {}, "the header cannot be read: a quote is not closed (line 1 of"),
        (b"x" * (LONGEST_RECORD + 9), {}, "the header"),
    ]:
        with subtests.test(content=content, options=options, reason=reason):
            assert reason in refusal(content, **options)


def test_text_in_any_encoding_is_not_taken_for_a_binary_file(subtests):
    for encoding in ["utf-16", "utf-32", "shift_jis", "gb18030", "iso2022_jp", "koi8_r", "cp437"]:
        with subtests.test(encoding=encoding):
            name = {"koi8_r": "Мария Александровна", "cp437": "Zoë Ångström"}.get(encoding, "山田花子鈴木一郎")
            rows = "".join(f"A{number},a{number}@example.com,{name}\r\n" for number in range(200))
            refuse_binary((HEADER + rows + "\x1a").encode(encoding))


def test_a_file_that_cannot_be_opened_is_refused_without_its_path(tmp_path):
    with pytest.raises(ListRefused) as refused:
        open_list(tmp_path / "nowhere.csv", ListOptions(today=date(2026, 11, 20)))
    assert refused.value.reasons == ["the file cannot be opened: No such file or directory"]


def test_a_pipe_is_refused_since_a_list_is_read_more_than_once():
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb") as pipe, pytest.raises(ListRefused, match="comes from a pipe"):
        open_list(pipe, ListOptions(today=date(2026, 11, 20)))


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\ncustomer_id;email\nA1;a@example.com\n",
        '"sep=;"\r\ncustomer_id;email\r\nA1;a@example.com\r\n',
        "SEP=^\ncustomer_id^email\nA1^a@example.com\n",
        "customer_id;email;idenfy-kyc.a,b\nA1;a@example.com;x\n",
        '"customer_id";"email"\n"A1";"a@example.com"\n',
    ],
)
def test_the_delimiter_is_found(read, content):
    (line,) = read(content)
    assert isinstance(line, AcceptedLine)
    assert line.row == 2
    assert line.customer.person.email == "a@example.com"


@pytest.mark.parametrize(
    "header", ["Nr.;E-Mail;Weg", "Nr.;Post;Weg", "Nr.\tMail\tWeg", "Nr.|Name, first|Post", "Nr.,Mail,Weg;Ort"]
)
def test_the_delimiter_of_a_header_is_found_that_has_one_title_like_ours_or_none(refusal, header):
    assert "none of its 3 columns is known" in refusal(f"{header}\n1\n".encode())


def test_a_list_of_one_column_is_read(read):
    lines = read("Customer ID\nA1\nA,2;3\n")
    assert [line.problems[0].problem for line in lines] == [
        "neither an email address nor a phone number",
        "2 cells, but the header has 1",
    ]


def test_a_delimiter_that_is_asked_for_wins(read):
    (line,) = read("customer_id:email\nA1:a@example.com\n", delimiter=":")
    assert isinstance(line, AcceptedLine)
    (line,) = read("customer_id\temail\nA1\ta@example.com\n", delimiter="tab")
    assert isinstance(line, AcceptedLine)


def test_missing_cells_are_empty_and_cells_too_many_are_a_problem(read):
    lines = read(
        "customer_id,email,first_name,\nA1,a@example.com\nA2,b@example.com,x,,,\nA3,c@example.com,x,,y\nA4,d@example.com,x,y\n"
    )
    assert rows(lines) == [(ACCEPTED, 2), (ACCEPTED, 3), (REJECTED, 4), (REJECTED, 5)]
    assert lines[2].problems[0].problem == "5 cells, but the header has 4"
    assert lines[3].problems[0].problem == "a value in column 4, which has no name"


def test_a_quote_that_is_never_closed_takes_no_other_row_with_it(read):
    lines = read(HEADER + 'A1,a@example.com,"Ann,x\n' + "A2,b@example.com,Bob,x\nA3,c@example.com,Cy,x\n")
    assert rows(lines) == [(REJECTED, 2), (ACCEPTED, 3), (ACCEPTED, 4)]
    assert lines[0].problems[0].problem == "a quote is not closed (line 2 of the file)"


def test_an_open_quote_is_named_by_its_line_as_an_editor_counts(read):
    lines = read("sep=,\n" + HEADER + 'A1,a@example.com,Ann,"a\nb"\n\nA2,b@example.com,"Bob\nA3,c@example.com,Cy,x\n')
    assert rows(lines) == [(ACCEPTED, 2), (REJECTED, 4), (ACCEPTED, 5)]
    assert lines[1].problems[0].problem == "a quote is not closed (line 6 of the file)"


def test_lines_that_each_seem_to_go_on_are_not_read_again_without_end(monkeypatch):
    given = []

    def counting(lines, **how):
        return reader(map(lambda line: given.append(len(line)) or line, lines), **how)

    reader, times = csv.reader, 5_000  # each seems to go on to the end: 60 MB to read again
    monkeypatch.setattr(csv, "reader", counting)
    text = "a,b\n" + 'x","\n' * times + "c,d\n"

    found = [cells for _, cells in records(io.StringIO(text, newline=""), ",")]

    assert sum(given) < 2 * len(text) + MOST_AGAIN + LONGEST_RECORD
    assert len(found) == times + 2  # no row is lost
    assert all(isinstance(cells, OpenQuote) for cells in some(found[1:-1]))
    assert found[-1] == ["c", "d"]


def test_a_quote_that_is_closed_rows_later_is_found(read):
    lines = read(HEADER + 'A1,a@example.com,"Ann,x\nA2,b@example.com,"Bob",x\nA3,c@example.com,Cy,x\n')
    assert rows(lines) == [(REJECTED, 2), (ACCEPTED, 3), (ACCEPTED, 4)]


def test_a_cell_over_the_limit_rejects_its_row_alone(read):
    lines = read(HEADER + f"A1,a@example.com,{'x' * 200_000}\nA2,b@example.com\n")
    assert rows(lines) == [(REJECTED, 2), (ACCEPTED, 3)]
    assert lines[0].problems[0].problem == "a cell has more than 131,072 characters"


def test_a_line_without_end_is_never_held_whole(read):
    class Counting(io.StringIO):
        longest = 0

        def readline(self, size: int = -1) -> str:
            line = super().readline(size)
            self.longest = max(self.longest, len(line))
            return line

    text = Counting("a,b\n" + "x" * (5 * LONGEST_RECORD) + "\nc,d\n", newline="")
    found = list(records(text, ","))
    assert [row for row, _ in found] == [1, 2, 3]
    assert found[1][1].problem == "the row has more than 1,048,576 characters"
    assert found[2][1] == ["c", "d"]
    assert text.longest <= LONGEST_RECORD + 1


def test_a_record_of_too_many_lines_is_cut_and_the_rows_below_are_read(read):
    cell = ('"' + "a line in a cell, yes\n" * 1_000 + '",') * 60
    lines = read(HEADER + f"A1,a@example.com,{cell}x\nA2,b@example.com\n")
    assert rows(lines)[0] == (REJECTED, 2)
    assert isinstance(lines[-1], AcceptedLine)
    assert lines[-1].customer.customer_id == "A2"


def test_a_stray_nul_rejects_its_row_alone(read):
    lines = read(HEADER + "A1,a@example.com,A\x00nn\nA2,b@example.com,Bob\n")
    assert rows(lines) == [(REJECTED, 2), (ACCEPTED, 3)]


def test_a_list_can_be_read_again_and_a_stream_stays_open(tmp_path):
    stream = io.BytesIO(b"before" + (HEADER + "A1,a@example.com\n").encode())
    stream.seek(6)
    opened = open_list(stream, ListOptions(today=date(2026, 11, 20)))
    assert list(opened) == list(opened)
    assert not stream.closed


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=8))
def test_whatever_was_written_as_csv_is_read_back(table):
    text = "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n" for row in table)
    assert [cells for _, cells in records(io.StringIO(text, newline=""), ",")] == table


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(content):
    try:
        lines = list(open_list(io.BytesIO(b"customer_id,email\n" + content), ListOptions(today=date(2026, 11, 20))))
    except ListRefused:
        return
    assert [line.row for line in lines] == sorted({line.row for line in lines})


@given(st.text('a",\n', max_size=60))
def test_every_line_is_read_or_named_whatever_its_quotes(text):
    total = text.count("\n") + (not text.endswith("\n") and bool(text))
    found = list(records(io.StringIO(text, newline=""), ","))
    lines_read = sum(1 + "".join(cells).count("\n") if isinstance(cells, list) else 1 for _, cells in found)
    assert lines_read == total
