import csv
import hashlib
import io
import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.notation import spreadsheet_safe
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.dates import DatesSeen
from onboarding_worker.lists.formats.opening import content_digest
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine, another_address, another_person, same_customer
from onboarding_worker.lists.rules import RULES
from onboarding_worker.lists.same_person import Seen
from onboarding_worker.lists.warned import problems_csv
from onboarding_worker.providers.values import Refusal
from tests.lists.formats.files import workbook
from tests.lists.kinds import ACCEPTED, DUPLICATE, REJECTED, kind_of
from tests.suite.of_features import needs


def test_a_customer_of_the_same_purpose_who_comes_again_is_a_duplicate(read):
    lines = read(
        "customer_id,email,purpose\nA1,a@example.com,\nA1,A@example.com,onboarding\nA1,a@example.com,renewal\n"
    )
    assert [kind_of(line) for line in lines] == [ACCEPTED, DUPLICATE, ACCEPTED]
    assert lines[1] == RefusedLine(3, "A1", duplicate_of=2)


def test_a_good_line_below_a_bad_one_of_the_same_customer_is_no_duplicate(read):
    lines = read("customer_id,email\nA1,nobody\nA1,a@example.com\nA1,a@example.com\n")
    assert isinstance(lines[1], AcceptedLine)
    assert lines[2] == RefusedLine(4, "A1", duplicate_of=3)


ROWS = [
    {"customer_id": "A1", "email": "a@example.com", "phone": ""},
    {"customer_id": "A1", "email": "b@example.com", "phone": "+37060000001", "purpose": "renewal"},
    {"customer_id": "A1", "email": "", "phone": "+37060000002", "purpose": "renewal"},
    {"customer_id": "A1", "email": "A@example.com", "phone": "+37060000002", "purpose": "audit"},
    {"customer_id": "A1", "email": "b@example.com", "phone": "", "purpose": "more"},
    {"customer_id": "A2", "email": "b@example.com", "phone": "", "purpose": "more"},
]
CELLS = [("customer_id", "purpose", "email", "phone")]
CELLS += [(row["customer_id"], row.get("purpose", ""), row["email"], row["phone"]) for row in ROWS]
FORMS = {
    "csv": "\n".join(map(",".join, CELLS)),
    "workbook": workbook(*CELLS),
    "json lines": "\n".join(map(json.dumps, ROWS)),  # the first object names no purpose
}


@pytest.mark.parametrize("form", ["csv", "json lines", pytest.param("workbook", marks=needs("spreadsheets"))])
def test_a_row_that_gives_a_customer_another_address_is_refused_and_gives_none(read, form):
    lines = read(FORMS[form])
    first = lines[0].row
    assert [kind_of(line) for line in lines] == [ACCEPTED, REJECTED, ACCEPTED, ACCEPTED, REJECTED, ACCEPTED]
    for refused in (lines[1], lines[4]):
        (problem,) = refused.problems
        told = f"another address than in row {first}, which has the same customer_id"
        assert (problem.column, problem.problem) == ("email", told)


def test_a_row_with_another_address_for_the_same_purpose_is_refused_whatever_its_name(read):
    for names in ("", "Anna"):
        for column, one, another in (
            ("email", "a@example.com", "b@example.com"),
            ("phone", "+37060000001", "+37060000002"),
        ):
            lines = read(f"customer_id,first_name,{column}\nA1,Anna,{one}\nA1,{names},{another}\nA1,Anna,{one}\n")
            assert [kind_of(line) for line in lines] == [ACCEPTED, REJECTED, DUPLICATE]
            assert {problem.column for problem in lines[1].problems} == {column}


PEOPLE = """customer_id,first_name,last_name,date_of_birth,email,phone
A1,Ona,Petraitė,1990-12-31,ona@example.com,+37060000001
A1,Jonas,Kazys,1985-01-02,jonas@example.com,+37060000002
A1,PETRAITE,Ona,,,+37060000001
A1,Jonas,Kazys,1990-12-31,,+37060000001
A1,,,,,+37060000001
A1,Jonas,,,,+37060000003
"""


def test_a_row_of_another_person_under_the_id_of_a_row_above_is_refused(read):
    lines = read(PEOPLE)
    assert [kind_of(line) for line in lines] == [ACCEPTED, REJECTED, DUPLICATE, DUPLICATE, DUPLICATE, REJECTED]
    for refused in (lines[1], lines[5]):
        (problem,) = refused.problems
        told = "same id, another person? nothing agrees with row 2"
        assert (problem.column, problem.problem) == ("customer_id", told)


def test_another_person_is_refused_whatever_the_purpose_and_rows_of_one_person_for_others_go_on(read):
    cells = "customer_id,purpose,first_name,email\nA1,,Ona,ona@example.com\nA1,renewal,Jonas,jonas@example.com\n"
    lines = read(
        f"{cells}A1,renewal,Ona,ona@example.com\nA1,audit,Jonas,ona@example.com\nA1,audit,Ona,ona@example.com\n"
    )
    assert [kind_of(line) for line in lines] == [ACCEPTED, REJECTED, ACCEPTED, ACCEPTED, DUPLICATE]


def test_two_companies_of_one_id_are_refused_whoever_speaks_for_them(read):
    head = "customer_id,kind,company_name,first_name,email,channel\n"
    rows = ["Acme UAB,Ona,a@example.com,", "UAB ACME,Jonas,,none", "Kita UAB,Petras,c@example.com,"]
    lines = read(head + "".join(f"A1,company,{row}\n" for row in rows))
    assert [kind_of(line) for line in lines] == [ACCEPTED, DUPLICATE, REJECTED]


@given(st.lists(st.integers(0, 30), max_size=60))
def test_the_first_row_of_each_customer_is_remembered(numbers):
    seen, first = Seen(), {}
    for row, number in enumerate(numbers, start=2):
        assert seen.row_or_remember(str(number), "onboarding", row) == first.get(number)
        first.setdefault(number, row)


def test_what_is_remembered_survives_growing():
    seen = Seen()
    for row in range(1, 100_002):
        assert seen.row_or_remember(f"C-{row}", "onboarding", row) is None
    assert all(seen.row_or_remember(f"C-{row}", "onboarding", 99_999) == row for row in range(1, 100_002))


def test_the_digest_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b"customer_id\r\nA1\r\n")
    assert content_digest(path) == hashlib.sha256(b"customer_id\r\nA1\r\n").hexdigest()


def test_a_spreadsheet_reads_no_cell_as_a_formula():
    cases = ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"]
    assert [(start, got) for start in cases if (got := spreadsheet_safe(start + "1+1")) != "'" + start + "1+1"] == []


def test_other_text_is_left_as_it_is():
    cases = ["", "a=1", "1-2", "O'Neil", "'=1"]
    assert [(text, got) for text in cases if (got := spreadsheet_safe(text)) != text] == []


def test_the_hints_of_every_column_are_no_formulas():
    refused = [rule(bad) for rule in RULES.values() for bad in ("\x07", "?" * 600, "a,b", "1E+15")]
    dates = DatesSeen(date(2026, 1, 1))
    dates.add("31/12/1990")
    texts = [text for one in refused if isinstance(one, Refusal) for text in (one.problem, one.hint)]
    texts += dates.hint() or ("no hint",)
    assert len(texts) > 40
    assert [text for text in texts if spreadsheet_safe(text) != text] == []


def test_problems_are_written_for_a_spreadsheet():
    out = io.StringIO(newline="")
    count = problems_csv(
        out,
        [
            (3, FieldProblem("email", "11 characters without an @", "check, please"), "error"),
            (5, FieldProblem("", "=1", ""), "warning"),
        ],
    )
    assert count == 2
    assert list(csv.reader(io.StringIO(out.getvalue(), newline=""))) == [
        ["row", "column", "problem", "hint", "severity"],
        ["3", "email", "11 characters without an @", "check, please", "error"],
        ["5", "", "'=1", "", "warning"],
    ]


def test_a_row_that_is_bad_beside_a_row_above_has_no_cells_on_any_of_its_lines():
    out = io.StringIO(newline="")
    mendable = FieldProblem("country", "8 characters that are not a country", "use DE")
    above = [another_address("email", 2), another_person(2), same_customer(2)]
    found = [(row, one, "error") for row, first in enumerate(above, 3) for one in (first, mendable)]
    originals = (["customer_id", "email"], iter([(row, ["A1", "b@example.com"]) for row in range(2, 7)]))
    problems_csv(out, [*found, (6, mendable, "error")], originals=originals)
    lines = list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1:]
    assert [row for row, *_, email in lines if email] == ["6"]


def test_what_no_file_or_terminal_takes_becomes_a_nul_and_is_refused_again(read, subtests):
    for unfit in ["\ud800", "a\udfffb", "\x1b[2J", "\x9b2J", "\x07", "\x08", "\x7f"]:
        with subtests.test(unfit=unfit):
            out = io.StringIO(newline="")
            problem = FieldProblem("first_name", "unfit", unfit)
            row = ["A1", "a@example.com", f"A{unfit}"]
            problems_csv(
                out,
                [(2, problem, "error")],
                originals=(["customer_id", "email", "first_name", unfit], iter([(2, row)])),
            )
            assert unfit not in out.getvalue()
            written = out.getvalue().encode().decode()
            assert written.count("\0") == 3
            header, *_ = written.splitlines()
            (line,) = read(
                written.replace(header, "row,column,problem,hint,severity,customer_id,email,first_name,last_name")
            )
            assert [problem.column for problem in line.problems] == ["first_name"]
