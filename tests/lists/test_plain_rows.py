"""Rows of a CSV list that are read by columns become what they become one by one."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.lists.lines import ListRefused, PlainRows
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.conftest import TODAY

# Of each column: what most rows have, and what makes a row differ from a plain one, or be refused.
CELLS = {
    "customer_id": (["A1", "A2", "B-3", "0004", "C_5", "d.6"], ["", " A1", "'00123", "-", "A1\u200b", "a" * 101]),
    "email": (["a@example.com", "b@example.com", "c+x@example.org"], ["", "A@Example.com", "nobody", " a@b.example"]),
    "first_name": (["Ona", "Jonas", "Žydrė", ""], ["O'Neil", "=1+1", "[First Name]", "NULL", "x" * 200, "Ona\n"]),
    "last_name": (["Smith", "Petraitis", ""], ["SMITH", "Иванов", "http://x.example"]),
    "country": (["LT", "AU", "DE", ""], ["lt", "Lithuania", "#N/A", "XX", "NA"]),
    "kind": (["", "individual"], ["company", "Firma", "none"]),
    "channel": (["", "email"], ["sms", "both", "NONE", "fax"]),
    "phone": ([""], ["+37060000001", "860000001", "-"]),
    "tags": ([""], ["vip"]),
}  # fmt: skip


@st.composite
def lists(draw: st.DrawFn) -> str:
    columns = ["customer_id", *draw(st.lists(st.sampled_from([*CELLS][1:]), unique=True))]
    usual = {column: st.sampled_from(CELLS[column][0]) for column in columns}
    odd = {column: st.sampled_from(CELLS[column][1]) for column in columns}
    rows = []
    for number in range(draw(st.integers(1, 25))):
        row = {column: draw(usual[column]) for column in columns}
        if draw(st.booleans()):
            row["customer_id"] = f"N{number}"
        for column in draw(st.lists(st.sampled_from(columns), max_size=2)):
            row[column] = draw(odd[column])
        cells = [row[column] for column in columns]
        rows.append(cells[: draw(st.sampled_from([len(cells)] * 9 + [1]))] if number else cells)
    out = io.StringIO()
    csv.writer(out, lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"]))).writerows([columns, *rows])
    return out.getvalue() + draw(st.sampled_from(["", "\n\n", 'A9,"open']))


@given(lists(), st.sampled_from([{}, {"hash_ids": True}, {"defaults": {"country": "LT"}}]))
def test_a_list_read_by_columns_has_the_lines_of_one_read_row_by_row(content, how):
    def read(**more):
        try:
            return list(open_list(io.BytesIO(content.encode()), ListOptions(today=TODAY, **how, **more)))
        except ListRefused as refused:
            return refused.reasons

    assert read() == read(most=1000)


def test_plain_rows_stay_together_from_one_that_is_not_plain_to_the_next():
    rows = [f"C{number},c{number}@example.com" for number in range(9)]
    rows[3] = "C3,nobody"
    rows[6] = "C1,c1@example.com"
    content = "\n".join(["customer_id,email", *rows]).encode()
    found = open_list(io.BytesIO(content), ListOptions(today=TODAY)).together()
    assert [one.rows if isinstance(one, PlainRows) else one.row for one in found] == [
        *(range(2, 5), 5, range(6, 8), 8, range(9, 11))
    ]
