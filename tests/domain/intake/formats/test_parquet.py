"""Parquet files: typed columns become the text that a CSV file would hold, or are refused."""

import datetime
import decimal
import io
import sys
import time

import pytest

from tests.domain.intake.formats import parquet_files as made
from tests.domain.intake.formats.parquet_files import whole
from worker.domain.intake import Accepted, Rejected
from worker.domain.intake.formats import parquet, parquet_lists, parquet_pages

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


def test_a_narrow_float_is_its_digits_only_where_it_has_them_all(read):
    columns = {"customer_id": pa.array([1001.0, 2.0**24, 4915112345678.0, 1.5], pa.float32()), "channel": ["none"] * 4}
    found = [line.customer.customer_id if isinstance(line, Accepted) else "" for line in read(written(columns))]
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


def peak_of(work):
    """The most bytes of Arrow's memory that the work needed."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        work()
        return pool.max_memory()
    finally:
        pa.set_memory_pool(before)


def test_a_page_that_grows_a_thousandfold_is_refused_before_it_is_read(refusal, monkeypatch):
    bomb = written(
        {"customer_id": ["x" * 60_000] * 400}, compression="zstd", use_dictionary=False, data_page_size=1 << 30
    )
    assert len(bomb) < 200_000
    monkeypatch.setattr(parquet_pages, "MOST_PAGES", 20 << 20)
    assert peak_of(lambda: refusal(bomb)) < 5 << 20
    assert refusal(bomb) == "the Parquet file is refused: its pages are too large; write smaller pages"


@pytest.mark.parametrize("how", [{}, {"use_dictionary": False, "column_encoding": {"address": "DELTA_BYTE_ARRAY"}}])
def test_a_long_text_that_is_stored_once_is_not_made_for_a_thousand_rows_at_a_time(read, how, monkeypatch):
    columns = {"customer_id": [f"C-{n}" for n in range(300)], "address": ["x" * 50_000] * 300}
    bomb = written(columns, compression="zstd", **how)
    assert len(bomb) < 100_000
    monkeypatch.setattr(parquet_pages, "MOST_TEXTS", 1 << 20)
    lines = []
    assert peak_of(lambda: lines.extend(read(bomb))) < 6 << 20  # all of it is 15 MB
    assert len(lines) == 300


def test_more_rows_than_a_file_of_its_size_can_have_are_refused(refusal, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS_OF_A_BYTE", 0)
    nulls = written({"customer_id": pa.nulls(1_000_001, pa.string())})
    assert refusal(nulls) == "the Parquet file is refused: it says it has more rows than a file of its size can have"


def test_a_row_with_a_list_of_millions_is_refused(refusal):
    bomb = written({"customer_id": ["A1"], "tags": [["x"] * 2_000_000]})
    assert len(bomb) < 20_000
    assert refusal(bomb) == "the Parquet file is refused: its pages are too large; write smaller pages"


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_pages_of_both_versions_are_measured(version):
    content = io.BytesIO(
        written({"customer_id": ["x" * 1000] * 5_000}, data_page_version=version, use_dictionary=False)
    )
    column = pq.ParquetFile(content).metadata.row_group(0).column(0)
    chunk = parquet_pages.Chunk(column.data_page_offset, column.total_compressed_size, 5_000)
    page, repeated = parquet_pages._of_chunk(content, chunk)
    assert (1 << 20) < page < 3 << 20
    assert repeated == 0


def test_statistics_that_do_not_fit_do_not_end_the_process(read):
    # pyarrow's answer for such a column is to abort.
    good = written({"customer_id": [f"A{number}" for number in range(50)], "tags": [["x", "y"]] * 50})
    of_lists, as_levels = b"\x19\x26\x64\x64", b"\x29\x26\x64\x64"  # the number of a field is another one
    assert good.count(of_lists) == 1
    (line,) = read(good.replace(of_lists, as_levels))
    assert isinstance(line, Rejected)
    assert [problem.problem for problem in line.problems] == ["the file is damaged here"]


def footer_of(column: bytes) -> bytes:
    """A footer with one group of 5 rows and one column, of these fields."""
    chunk = b"\x3c" + column + b"\x00" + b"\x00"
    group = b"\x19\x1c" + chunk + b"\x16" + whole(10) + b"\x16" + whole(5) + b"\x00"
    return b"\x49\x1c" + group + b"\x00"


SIZE, PLACE = b"\x76" + whole(10), b"\x26" + whole(4)
AGAIN = whole(9) + whole(99)


@pytest.mark.parametrize(
    ("column", "start"),
    [
        (SIZE + PLACE, 4),
        (SIZE + PLACE + b"\x05" + AGAIN, 4),  # of another kind: pyarrow passes over it
        (SIZE + PLACE + b"\x06" + AGAIN, 99),
        (SIZE + PLACE + b"\x06" + whole(9 + 65536) + whole(99), 99),  # a number of 16 bits
        (SIZE + PLACE + b"\x26" + whole(2), 2),  # its dictionary comes first
    ],
)
def test_where_a_column_begins_is_read_as_pyarrow_reads_it(column: bytes, start: int):
    (group,) = parquet_pages.groups_in(footer_of(column))
    assert (group.size, list(group.chunks)) == (10, [parquet_pages.Chunk(start, 10, 5)])


def test_a_footer_that_is_none_is_refused():
    good = footer_of(SIZE + PLACE)
    deep = b"\x1c" * 10_000
    negative = footer_of(SIZE + b"\x26" + whole(-4)), footer_of(b"\x76" + whole(-1) + PLACE)
    for footer in (*(good[:end] for end in range(len(good))), deep, *negative):
        with pytest.raises(parquet_pages.BadFooter):
            parquet_pages.groups_in(footer)


@pytest.mark.parametrize("sizes", [(40, 2**31 - 1), (2**31 - 1, 40)])
def test_a_page_that_only_says_that_it_is_large_is_refused(sizes: tuple[int, int]):
    header = b"\x15" + whole(0) + b"".join(b"\x15" + whole(size) for size in sizes) + b"\x00"
    group = parquet_pages.Group(10, [parquet_pages.Chunk(0, 100, 5)])
    with pytest.raises(parquet_pages.BadPage):
        parquet_pages.rows_at_once(io.BytesIO(header), [group], [0])


def test_columns_and_groups_that_a_footer_only_names_are_refused_before_room_is_made_for_them(refusal):
    # pyarrow makes a thousand bytes of each at once.
    too_many = "the Parquet file is refused: it has too many columns, or groups of rows, for a list"
    group = made.fields({1: made.listed([], says=999_999)})[:-1]
    assert refusal(made.a_file(b"", [made.IDS], b"\x1c" + group, rows=1)) == too_many
    chunks = made.listed([{2: (0,)}], says=150_000) + made.fields({2: (0,)}) * 149_999
    assert refusal(made.a_file(b"", [made.IDS], [{1: chunks, 2: (0,), 3: (0,)}] * 2, rows=1)) == too_many
    assert refusal(made.a_file(b"", [made.IDS] * 250_000, [], rows=0)) == too_many


def test_a_group_with_another_number_of_columns_than_the_file_is_refused(refusal):
    group = {1: [], 2: (0,), 3: (1,)}
    assert "damaged" in refusal(made.a_file(b"", [made.IDS], [group], rows=1))


def test_the_rows_are_counted_in_the_groups_which_are_read(refusal):
    ids = made.page(1, made.levels((1, 0)))
    group = {1: [made.chunk(["customer_id"], at=4, size=len(ids), values=1)], 2: (len(ids),), 3: (1 << 40,)}
    reason = "the Parquet file is refused: it says it has more rows than a file of its size can have"
    assert refusal(made.a_file(ids, [made.IDS], [group], rows=1)) == reason


def test_bytes_that_are_several_groups_are_refused(refusal):
    ids = made.page(1_000, made.levels((1_000, 0)))
    group = {1: [made.chunk(["customer_id"], at=4, size=len(ids), values=1_000)], 2: (len(ids),), 3: (1_000,)}
    reason = "the Parquet file is refused: the same bytes are several of its columns, or groups of rows"
    assert refusal(made.a_file(ids, [made.IDS], [group] * 100, rows=100_000)) == reason


def test_one_row_of_millions_is_refused_whatever_the_footer_says_of_the_rows(refusal):
    # A run of levels is three bytes, however long it is.
    ids, values = made.page(1, made.levels((1, 1)) + b"\x01\0\0\0A"), 40_000_000
    tags = made.page(values, made.levels((1, 0), (values - 1, 1)) + made.levels((values, 2)))
    chunks = [
        made.chunk(["customer_id"], at=4, size=len(ids), values=1),
        made.chunk(["tags", "list", "element"], at=4 + len(ids), size=len(tags), values=values),
    ]
    group = {1: chunks, 2: (len(ids + tags),), 3: (900_000,)}
    reason = "the Parquet file is refused: its pages are too large; write smaller pages"
    assert refusal(made.a_file(ids + tags, [made.IDS, *made.TAGS], [group], rows=900_000)) == reason


HOW = [{"data_page_version": version, "compression": codec} for version in ("1.0", "2.0") for codec in ("zstd", "lz4")]


SHARED = {"use_dictionary": False, "column_encoding": {"tags.list.element": "DELTA_BYTE_ARRAY"}}


@pytest.mark.parametrize("how", [*HOW, SHARED])
def test_a_long_text_that_a_list_repeats_is_refused_before_it_is_made(refusal, how, monkeypatch):
    bomb = written({"customer_id": ["A1"], "tags": [["x" * 30_000] * 2_000]}, **{"compression": "zstd"} | how)
    assert len(bomb) < 100_000
    monkeypatch.setattr(parquet_pages, "MOST_TEXTS", 8 << 20)
    assert peak_of(lambda: refusal(bomb)) < 2 << 20  # all of it is 60 MB
    assert refusal(bomb) == "the Parquet file is refused: its pages are too large; write smaller pages"


@pytest.mark.parametrize("how", HOW)
def test_short_lists_of_many_rows_are_read(read, how, monkeypatch):
    tags = [[f"tag-{number}-{part}" for part in range(number % 4)] for number in range(5_000)]
    content = written({"customer_id": [f"A{number}" for number in range(5_000)], "tags": tags}, **how)
    monkeypatch.setattr(parquet_pages, "MOST_TEXTS", 1 << 20)
    assert len(list(read(content))) == 5_000


@pytest.mark.parametrize("deepest", [1, 2, 3])
def test_the_longest_list_is_found_over_pages_runs_and_packed_levels(deepest):
    lists = parquet_lists.Lists(deepest)
    bits = deepest.bit_length()

    def packed(*values: int) -> bytes:
        number = sum(value << (place * bits) for place, value in enumerate(values))
        return made.length((len(values) // 8) << 1 | 1) + number.to_bytes(len(values) // 8 * bits, "little")

    last = deepest
    lists.add(packed(0, last, 0, 0, last, last, 0, 0), 8)
    assert lists.longest == 3
    lists.add(made.length(4 << 1) + bytes([last]) + packed(last, last, 0, 0, 0, 0, 0, 0), 12)  # goes on with the row
    assert lists.longest == 7
    lists.add(made.length(3 << 1) + b"\0", 3)
    assert lists.longest == 7


@pytest.mark.parametrize("levels", [b"", b"\x10", b"\x03", b"\xff" * 6, bytes(2 << 20)])
def test_levels_that_are_none_are_refused(levels):
    with pytest.raises(parquet_lists.BadLevels):
        parquet_lists.Lists(1).add(levels, 1)


def test_a_structure_that_comes_again_and_again_does_not_cost_its_size_each_time():
    again = b"".join(b"\x0c" + whole(15) + b"\x05" + whole(number) + b"\x00\x00" for number in range(-30_000, 30_000))
    began = time.process_time()
    assert parquet_pages.groups_in(again + b"\0") == []
    assert time.process_time() - began < 5, "a stranger's footer of 480 kB must not cost a minute"


@pytest.mark.parametrize("is_second", [False, True])
def test_a_page_is_measured_by_the_header_of_its_type(is_second):
    count = 2_000
    run, lie = made.levels((1, 0), (count - 1, 1)), made.levels((1, 0))
    body = run[4:] if is_second else run
    first = {1: 1 if is_second else count, 2: 0 if is_second else 7, 3: 3, 4: 3}
    second = {
        1: count if is_second else 1,
        2: 0,
        3: 1,
        4: 7 if is_second else 0,
        5: 0,
        6: len(run if is_second else lie) - 4,
    }
    page = made.fields({1: 3 if is_second else 0, 2: len(body), 3: len(body), 5: first, 8: second}) + body
    found = parquet_pages._of_chunk(
        io.BytesIO(page), parquet_pages.Chunk(0, len(page), 1), 1, lambda codec, content, *, size: content
    )
    assert found == (len(body), len(body) * count)  # a list of so many texts, each of which shares the one before it


def test_a_page_that_is_passed_over_does_not_end_a_row():
    def of_kind(kind: int, levels: bytes, values: int) -> bytes:
        return made.fields({1: kind, 2: len(levels), 3: len(levels), 5: {1: values, 2: 7, 3: 3, 4: 3}}) + levels

    goes_on = of_kind(0, made.levels((900, 1)), 900)
    pages = of_kind(0, made.levels((1, 0)), 1) + goes_on + of_kind(1, made.levels((1, 0)), 1) + goes_on
    found = parquet_pages._of_chunk(
        io.BytesIO(pages), parquet_pages.Chunk(0, len(pages), 1), 1, lambda codec, content, *, size: content
    )
    assert found[1] == len(made.levels((900, 1))) * 1801
