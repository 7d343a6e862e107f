"""Properties of all readers: no row is lost or invented, and bad bytes raise nothing but the readers' own error."""

import gzip
import io
import json
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from onboarding_worker.core.foundation import shipped
from onboarding_worker.lists.formats import FORMS
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.conftest import TODAY
from tests.lists.formats.files import csv_of, workbook, zipped
from tests.suite.of_features import needs

COLUMNS = ("customer_id", "first_name", "address")
# What XML can hold; a spreadsheet writes other characters as _x0000_, which test_workbooks reads.
_SIGNS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff\u2028\u2029\x85")
TEXTS = st.text(_SIGNS | st.sampled_from("\n,;\"'=_x0041_ "), max_size=12).filter(lambda text: text.strip() == text)
ROWS = st.lists(st.tuples(st.text("ABC123", min_size=1), TEXTS, TEXTS), min_size=1, max_size=20)


def of_json(*rows):
    return json.dumps([dict(zip(rows[0], row, strict=True)) for row in rows[1:]]).encode()


def of_lines(*rows):
    return b"\n".join(json.dumps(dict(zip(rows[0], row, strict=True))).encode() for row in rows[1:])


def of_parquet(*rows):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    columns = zip(*rows[1:], strict=True)
    pq.write_table(pa.table(dict(zip(rows[0], map(list, columns), strict=True))), out, row_group_size=2)
    return out.getvalue()


WRITERS = {"csv": csv_of, "json": of_json, "jsonl": of_lines, "xlsx": workbook, "parquet": of_parquet}
PACKERS = {"as it is": lambda content: content, "gzip": gzip.compress, "zip": lambda content: zipped({"list": content})}
BY_WRITER = pytest.mark.parametrize(
    "form",
    [pytest.param(form, marks=needs(shipped.FORMATS[form]) if form in shipped.FORMATS else ()) for form in FORMS],
)


def tried(form):
    """The writers are slower than what is tested. Of formats that a process of its own reads there are fewer examples,
    and of one that fails no smaller one is looked for, which would take minutes."""
    apart = form in shipped.FORMATS
    most, phases = (6, [Phase.explicit, Phase.reuse, Phase.generate]) if apart else (20, list(Phase))
    slow = [HealthCheck.too_slow]
    return settings(suppress_health_check=slow, deadline=None, max_examples=most, phases=phases)


@BY_WRITER
def test_what_was_written_is_what_is_read(form):
    @tried(form)
    @given(rows=ROWS, packer=st.sampled_from(sorted(PACKERS)))
    def holds(rows, packer):
        content = PACKERS[packer](WRITERS[form](COLUMNS, *rows))
        opened = open_list(io.BytesIO(content), ListOptions(today=TODAY))
        first = 1 if form in ("json", "jsonl") else 2
        for _ in range(2):
            lines = list(opened._source)
            assert [line.row for line in lines] == list(range(first, first + len(rows)))
            found = [tuple(line.cells.get(column, "") for column in COLUMNS) for line in lines]
            assert [tuple(map(str, cells)) for cells in found] == rows

    holds()


@cache
def packed(form, packer):
    """Made once: ZIP files have the time in them."""
    return PACKERS[packer](WRITERS[form](COLUMNS, *((f"A{number}", "Ann", "x" * number) for number in range(30))))


@BY_WRITER
def test_bytes_that_were_changed_raise_nothing_but_the_readers_own_error(form):
    @tried(form)
    @given(
        packer=st.sampled_from(sorted(PACKERS)),
        changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
        cut=st.none() | st.integers(0, 10**6),
        asked=st.none() | st.sampled_from(FORMS),
    )
    def holds(packer, changes, cut, asked):
        content = bytearray(packed(form, packer))
        for place, value in changes:
            content[place % len(content)] = value
        if cut is not None:
            del content[cut % len(content) :]
        with suppress(ListRefused):
            rows = [line.row for line in open_list(io.BytesIO(bytes(content)), ListOptions(today=TODAY, form=asked))]
            assert rows == sorted(set(rows))

    holds()
