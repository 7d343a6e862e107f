"""Numbers of rows as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.database.job_ids import LARGEST
from onboarding_worker.lists.decisions.row_addresses import MOST_PARTS, RowRanges, is_among, read_rows

TOO_LARGE = [str(LARGEST + 1), ",".join(map(str, range(1, 2 * MOST_PARTS + 3, 2))), "1," * 5000]


def test_a_list_of_rows_is_read_in_rising_order(subtests):
    for text, ranges, name in [
        ("7", [(7, 7)], "row 7"),
        (" 3,7, 12-20 ", [(3, 3), (7, 7), (12, 20)], "rows 3, 7, 12-20"),
        ("12 \u2013 20", [(12, 20)], "rows 12-20"),
        ("9;3\n7,", [(3, 3), (7, 7), (9, 9)], "rows 3, 7, 9"),
        ("1-5,4-9,10,10", [(1, 10)], "rows 1-10"),
    ]:
        with subtests.test(text=text, ranges=ranges, name=name):
            rows = read_rows(text)

            assert rows == RowRanges(tuple(ranges))
            assert rows.name == name


def test_what_is_no_list_of_rows_is_refused_in_words_without_it(subtests):
    cases = ["", " , ", "0", "-1", "1-", "x", "1.5", "1e3", "٣", "20-12", "1-2-3", "9" * 40, "1'--", "1 2", *TOO_LARGE]
    for text in cases:
        with (
            subtests.test(text=text),
            pytest.raises(ValueError, match=r"^(expected row numbers|give at most|the range 20-12 ends)"),
        ):
            read_rows(text)


@given(st.sets(st.integers(1, 400), min_size=1, max_size=200), st.integers(12, 80))
def test_a_short_text_leaves_no_row_out(numbers, most):
    rows = read_rows(",".join(map(str, numbers)))

    assert read_rows(str(rows)) == rows
    short = rows.short(most=most)
    assert len(short) <= most
    assert all(is_among(number, short) for number in numbers)
    if "…" not in short:
        assert {number for number in range(1, 402) if is_among(number, short)} == numbers


def test_words_that_name_no_rows_have_none_among_them():
    assert not is_among(3, "")
    assert not is_among(3, "the whole batch")
