"""Parquet files: typed columns become the text that a CSV file would hold, or are refused."""

import datetime
import decimal
import io
import sys

import pytest

from worker.domain.intake import Accepted, Rejected

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def written(columns, **how):
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **how)
    return out.getvalue()


def test_rows_are_numbered_as_if_they_were_saved_as_csv(read):
    content = written({"customer_id": ["A1", None, "A2"], "email": ["a@example.com", "", "b@example.com"]})
    assert [(type(line), line.row) for line in read(content)] == [(Accepted, 2), (Accepted, 4)]


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
    assert isinstance(one, Accepted), one
    assert isinstance(two, Accepted), two
    assert one.customer.customer_id == str(2**62)
    assert (one.customer.person.phone, one.customer.person.date_of_birth) == ("+447911123456", day)
    assert (one.customer.consent, one.customer.tags, one.customer.external_ref) == (True, ("a", "b"), "12")


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
    assert all(isinstance(line, Rejected) for line in lines)
    found = [{one.column: one.problem for one in line.problems} for line in lines]
    assert set(found[0]) == {"phone", "first_name", "last_name", "date_of_birth"}
    assert found[1] == {"phone": "a number with a fraction's type and too many digits to be exact"}
    assert found[2] == {"address": "a cell has more than 32,767 characters"}


def test_a_damaged_file_is_refused_or_its_last_row_says_so(read, refusal):
    content = written({"customer_id": [f"A{n}" for n in range(5000)], "channel": ["none"] * 5000}, row_group_size=1000)
    assert "damaged or cut off" in refusal(content[:-20])
    assert "damaged or cut off" in refusal(content[:-5] + b"\xff" + content[-4:])
    assert "damaged or cut off" in refusal(b"PAR1" + bytes(40) + b"\xff\xff\xff\x7fPAR1")
    middle = len(content) // 2
    broken = content[: middle - 2000] + b"\xff" * 4000 + content[middle + 2000 :]
    lines = read(broken)
    assert isinstance(lines[-1], Rejected)
    assert lines[-1].problems[0].problem == "the file is damaged here"


def test_without_pyarrow_the_error_says_how_to_install_it(refusal, monkeypatch):
    content = written({"customer_id": ["A1"], "channel": ["none"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(content) == (
        "reading Parquet needs pyarrow: install the extra, pip install 'onboarding-worker[parquet]'"
    )
