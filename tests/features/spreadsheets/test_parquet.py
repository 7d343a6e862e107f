"""Parquet files: typed columns become the text that a CSV file would hold, or are refused."""

import datetime
import decimal
import io

import pytest

from onboarding_worker.features.spreadsheets import read_apart
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from tests.lists.formats.files import ANN, HEADER, workbook
from tests.suite.some import some

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def written(columns, **how):
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **how)
    return out.getvalue()


def test_rows_are_numbered_as_if_they_were_saved_as_csv(read):
    content = written({"customer_id": ["A1", None, "A2"], "email": ["a@example.com", "", "b@example.com"]})
    assert [(type(line), line.row) for line in read(content)] == [(AcceptedLine, 2), (AcceptedLine, 4)]


def test_typed_columns_keep_their_values(read):
    day = datetime.date(1990, 12, 31)
    columns = {
        "customer_id": pa.array([2**62, 1], pa.int64()),
        "Email": pa.array(["a@example.com", "b@example.com"]).dictionary_encode(),
        "phone": pa.array([447911123456.0, float("nan")]),
        "date_of_birth": pa.array([datetime.datetime(1990, 12, 31), None], pa.timestamp("ns")),  # noqa: DTZ001
        "consent": [True, None],
        "tags": [["a", "b"], []],
        "country": ["GB", "GB"],
        "external_ref": pa.array([decimal.Decimal("12.00"), None], pa.decimal128(9, 2)),
    }
    one, two = read(written(columns))
    assert isinstance(one, AcceptedLine), one
    assert isinstance(two, AcceptedLine), two
    assert one.customer.customer_id == str(2**62)
    assert (one.customer.person.phone, one.customer.person.date_of_birth) == ("+447911123456", day)
    assert (one.customer.consent, one.customer.tags, one.customer.external_ref) == (True, ("a", "b"), "12")


def test_a_narrow_float_is_its_digits_only_where_it_has_them_all(read):
    columns = {"customer_id": pa.array([1001.0, 2.0**24, 4915112345678.0, 1.5], pa.float32()), "channel": ["none"] * 4}
    found = [line.customer.customer_id if isinstance(line, AcceptedLine) else "" for line in read(written(columns))]
    assert found == ["1001", "", "", ""]


def test_what_no_cell_can_hold_is_refused_by_name(read):
    columns = {
        "customer_id": ["A1", "A2", "A3"],
        "channel": ["none", "none", "none"],
        "phone": [1.5, 1e20, None],
        "first_name": [b"\xff", None, None],
        "last_name": [{"a": 1}, None, None],
        "date_of_birth": pa.array([1, None, None], pa.timestamp("us", tz="UTC")),
        "address": [None, None, "x" * 40_000],
    }
    lines = read(written(columns))
    assert all(isinstance(line, RefusedLine) for line in some(lines))
    found = [{one.column: one.problem for one in line.problems} for line in lines]
    assert set(found[0]) == {"phone", "first_name", "last_name", "date_of_birth"}
    assert found[1] == {"phone": "a number with a fraction's type and too many digits to be exact"}
    assert found[2] == {"address": "a cell has more than 32,767 characters"}


def test_a_damaged_file_is_refused_as_a_whole(refusal):
    content = written({"customer_id": [f"A{n}" for n in range(5000)], "channel": ["none"] * 5000}, row_group_size=1000)
    assert "damaged or cut off" in refusal(content[:-20])
    assert "damaged or cut off" in refusal(content[:-5] + b"\xff" + content[-4:])
    assert "damaged or cut off" in refusal(b"PAR1" + bytes(40) + b"\xff\xff\xff\x7fPAR1")
    middle = len(content) // 2
    assert "damaged or cut off" in refusal(content[: middle - 2000] + b"\xff" * 4000 + content[middle + 2000 :])


def test_without_the_package_that_reads_a_file_the_error_names_it_and_how_to_install_it(refusal, monkeypatch):
    of_parquet = written({"customer_id": ["A1"], "channel": ["none"]})
    for content, package, ours in (
        (of_parquet, "pyarrow", "onboarding-worker[parquet]"),
        (workbook(HEADER, ANN), "openpyxl", "onboarding-worker"),
    ):
        with monkeypatch.context() as without:
            without.setattr(read_apart, "_MAIN", f"import sys; sys.modules['{package}'] = None; {read_apart._MAIN}")
            reason = refusal(content)
        assert f"{package} is not installed here" in reason
        assert f"pip install '{ours}'" in reason


def a_long_text():
    """Stored once, and made anew for each row."""
    return {"customer_id": pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), ["x" * 5_000_000])}


def a_list():
    """One row of twenty million values."""
    values = pa.DictionaryArray.from_arrays(pa.nulls(20_000_000, pa.int32()).fill_null(0), ["x" * 30])
    return {"customer_id": ["A1"], "tags": pa.ListArray.from_arrays(pa.array([0, 20_000_000], pa.int32()), values)}


@pytest.mark.parametrize("make", [a_long_text, a_list])
def test_what_needs_too_much_memory_is_refused(refusal, make):
    bomb = written(make(), compression="zstd")
    assert len(bomb) < 10_000
    assert refusal(bomb) == "the Parquet file is refused: it needs more than 512 MiB of memory; save it as CSV"


def test_more_rows_than_a_file_of_its_size_can_have_are_refused(refusal):
    nulls = written({"customer_id": pa.nulls(3_000_000, pa.string())})
    assert refusal(nulls) == "the Parquet file is refused: it has more rows than a file of its size can have"


def test_statistics_that_do_not_fit_end_no_process_but_the_readers(refusal):
    # pyarrow's answer for such a column is to abort.
    good = written({"customer_id": [f"A{number}" for number in range(50)], "tags": [["x", "y"]] * 50})
    of_lists, as_levels = b"\x19\x26\x64\x64", b"\x29\x26\x64\x64"  # the number of a field is another one
    assert good.count(of_lists) == 1
    assert "damaged" in refusal(good.replace(of_lists, as_levels))
