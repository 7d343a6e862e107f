"""No text of ours becomes a formula, whichever program opens the file, with whichever separator."""

import csv
import io
import sys
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.notation import STARTS, spreadsheet_safe, unguarded

SIGNS = "=+-@"


def is_formula(cell: str) -> bool:
    """Whether the cell begins with a sign, without what a program may drop before it."""
    seen = unicodedata.normalize("NFKC", cell).lstrip("\"'" if cell[:1] == '"' else "")
    visible = [char for char in seen if char.isprintable() and not char.isspace()]
    return bool(visible) and visible[0] in SIGNS


def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(subtests):
    for start in [*STARTS, "\t", "\r", "\n", " =", "\ufeff=", "\0=", '"=', "\u200b-", "\u00a0@"]:
        with subtests.test(start=start):
            assert spreadsheet_safe(start + "1+1") == "'" + start + "1+1"


def test_the_part_behind_a_separator_gets_one_too(subtests):
    for separator in [",", ";", "|", "\t", "\n"]:
        with subtests.test(separator=separator):
            assert spreadsheet_safe(f"A{separator}=cmd") == f"A{separator}'=cmd"
            assert spreadsheet_safe(f'A{separator}"=cmd') == f"A{separator}'\"=cmd"
            assert spreadsheet_safe(f"A{separator};  ﹦cmd") == f"A{separator};'  ﹦cmd"


def test_what_an_apostrophe_was_put_before_is_read_as_it_was(subtests):
    for text in ["=1+1", "A;=cmd", 'A,"=cmd', "\t", "\r\n", "A\t@x|-1", "O'Neil", "a=1"]:
        with subtests.test(text=text):
            assert unguarded(spreadsheet_safe(text)) == text


def test_other_text_is_left_as_it_is():
    cases = ["", "a=1", "1-2", "O'Neil", "'=1", "2026-11-22T10:00:00Z", "a, b; c", "https://x.example/?a=b&c=-1#t=_-1"]
    assert [(text, got) for text in cases if (got := spreadsheet_safe(text)) != text] == []


def test_every_sign_that_a_program_may_turn_into_a_formulas_is_known():
    narrow = {char for char in map(chr, range(sys.maxunicode)) if unicodedata.normalize("NFKC", char)[:1] in SIGNS}
    assert narrow <= set(STARTS)


TEXTS = st.text(st.sampled_from("=+-@＝;,|\t\r\n\"' \ufeffaA1") | st.characters(exclude_categories=["Cs"]), max_size=12)


@given(rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=3), written=st.sampled_from(",;"))
@example(rows=[("A;=cmd|'/C calc'!A0;", "x", "")], written=",")
@example(rows=[('A;"=cmd', "x", "")], written=",")
@example(rows=[("x\n=1", "x", "")], written=",")
def test_no_cell_is_a_formula_with_any_separator(rows, written):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=written).writerows([[2, *map(spreadsheet_safe, row)] for row in rows])
    for opened in ",;\t|":
        read = list(csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=opened))
        assert read
        for row in read:
            assert not any(map(is_formula, row)), row
