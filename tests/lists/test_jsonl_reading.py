import io
import json
from datetime import date
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.adapters.strict_json import MOST_LEVELS
from onboarding_worker.lists import columns
from onboarding_worker.lists.columns import MOST_KEYS
from onboarding_worker.lists.formats.json_list import LONGEST_LINE, json_lines
from onboarding_worker.lists.lines import AcceptedLine, ListRefused, RefusedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.providers.parameters import parse_cell, unknown_parameter
from tests.lists.kinds import ACCEPTED, DUPLICATE, REJECTED, kind_of
from tests.suite.cases import lacking

ANN = {"customer_id": "A1", "email": "ann@example.com"}
BOB = {"customer_id": "A2", "email": "bob@example.com"}
REAL = {"check_parameter": parse_cell, "known_parameter": unknown_parameter}
DEEP = 100_000


def written(*lines):
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)


def rows(lines):
    return [(kind_of(line), line.row) for line in lines]


def test_lines_keep_their_numbers_behind_any_number_of_blank_lines(read, subtests):
    for end, number in product(["\n", " \r\n"], [1, 999, 1_000, 1_001, 66_000, 200_001]):
        with subtests.test(end=end, number=number):
            found = read(end.join([written(ANN), *[""] * number, f"  {written(BOB)}", "", "{", ""]))
            assert rows(found) == [(ACCEPTED, 1), (ACCEPTED, number + 2), (REJECTED, number + 4)]


def problems_of(line):
    """What is wrong with a line: the problem by column. Each has a hint."""
    assert isinstance(line, RefusedLine), line
    assert all(found.hint for found in line.problems)
    return {found.column: found.problem for found in line.problems}


def test_a_row_is_the_number_of_its_line(read):
    assert rows(read(written(ANN, "", "  \t", BOB))) == [(ACCEPTED, 1), (ACCEPTED, 4)]


def test_lines_end_as_every_system_ends_them_and_marks_may_stand_first(read, subtests):
    for last, mark, end in product(["", "\n"], ["", "\ufeff", "\ufeff\ufeff\ufeff"], ["\n", "\r\n"]):
        with subtests.test(last=last, mark=mark, end=end):
            text = (
                mark
                + end.join([json.dumps(ANN | {"first_name": "Zoë\u2028"}, ensure_ascii=False), json.dumps(BOB)])
                + last
            )
            assert [line.row for line in read(text)] == [1, 2]


def test_values_may_be_what_json_has_for_them(read):
    (line,) = read(
        written(ANN | {"customer_id": 17, "consent": True, "tags": ["a", "b"], "address": None, "phone": ""})
    )
    assert isinstance(line, AcceptedLine)
    assert (line.customer.customer_id, line.customer.consent, line.customer.tags) == ("17", True, ("a", "b"))
    assert line.customer.person.address == ""


def test_a_truth_value_or_a_list_is_refused_where_one_text_is_meant(read, subtests):
    for column, value in product(
        ["customer_id", "email", "first_name", "country"], [True, False, ["x@example.org"], []]
    ):
        with subtests.test(column=column, value=value):
            (line,) = read(written(ANN | {column: value}))
            assert isinstance(line, RefusedLine)
            assert [(one.column, one.hint) for one in line.problems] == [(column, "give text")]


def test_a_line_means_what_the_same_row_of_a_csv_file_means(read):
    cells = ANN | {"kind": "company", "country": "LTU", "consent": "yes", "tags": "a;b", "Date of Birth": "1990-01-02"}
    (of_json,) = read(written(cells))
    (of_csv,) = read(",".join(cells) + "\n" + ",".join(cells.values()) + "\n")
    assert of_json.customer == of_csv.customer


def test_parameters_keep_their_types_and_may_be_nested_or_dotted(read):
    nested = {"idenfy-kyc": {"documents": ["PASSPORT"], "expiryTime": 3600, "showInstructions": False}}
    dotted = {f"idenfy-kyc.{name}": value for name, value in nested["idenfy-kyc"].items()}
    for parameters in (nested, dotted):
        (line,) = read(written(ANN | parameters), **REAL)
        assert line.customer.parameters == nested


def test_an_object_is_a_parameters_value_and_its_inside_can_be_named_too(read):
    whole = {"frankieone-v2.vendorParameters": {"flow": "short", "steps": [1, 2]}}
    parts = {"frankieone-v2": {"vendorParameters.flow": "short"}}
    assert read(written(ANN | whole), **REAL)[0].customer.parameters == {
        "frankieone-v2": {"vendorParameters": {"flow": "short", "steps": [1, 2]}}
    }
    assert read(written(ANN | parts), **REAL)[0].customer.parameters == {
        "frankieone-v2": {"vendorParameters": {"flow": "short"}}
    }


def test_the_lines_that_the_documentation_shows_are_accepted(read):
    page = (Path(__file__).parents[2] / "docs/reference/list-format.md").read_text(encoding="utf-8")
    shown = [line.strip() for line in page.splitlines() if line.startswith('    {"customer_id"')]
    assert rows(read(written(*shown), **REAL)) == [(ACCEPTED, 1), (ACCEPTED, 2)]


def test_a_parameter_of_the_wrong_type_is_refused_and_not_bent(read):
    (line,) = read(written(ANN | {"idenfy-kyc.expiryTime": {"s": 1}, "idenfy-kyc.showInstructions": 7}), **REAL)
    assert set(problems_of(line)) == {"idenfy-kyc.expiryTime", "idenfy-kyc.showInstructions"}


def test_a_parameter_that_the_provider_does_not_have_refuses_its_row_by_name(read):
    lines = read(written(ANN | {"idenfy-kyc": {"documentz": ["PASSPORT"]}}, BOB), **REAL)
    assert rows(lines) == [(REJECTED, 1), (ACCEPTED, 2)]
    assert "the nearest is documents" in problems_of(lines[0])["idenfy-kyc.documentz"]


def test_an_unknown_key_refuses_its_row_with_the_nearest_and_both_ways_out(read):
    lines = read(written(ANN, BOB | {"emial": "x"}, {"customer_id": "A3", "email": "c@example.com"}))
    assert rows(lines) == [(ACCEPTED, 1), (REJECTED, 2), (ACCEPTED, 3)]
    (found,) = lines[1].problems
    assert (found.column, found.problem) == ("emial", "is unknown; the nearest is email")
    assert found.hint == "rename it with --map emial=email, or leave it out with --ignore-column emial"
    assert lines[1].customer_id == "A2"


def test_an_unknown_key_is_no_less_unknown_for_being_empty(read):
    (line,) = read(written(ANN | {"emial": None}))
    assert set(problems_of(line)) == {"emial"}


def test_every_problem_of_a_row_is_named_at_once(read):
    wrong = {"customer_id": "", "email": "nobody", "colour": 1, "date_of_birth": 1.5, "sex": {"a": 1}, "tags": [1]}
    (line,) = read(written(wrong))
    assert set(problems_of(line)) == {"customer_id", "email", "colour", "date_of_birth", "sex", "tags"}


@pytest.mark.parametrize("key", ["colour{}", "idenfy-kyc.colour{}"])
def test_of_many_unknown_keys_only_the_first_are_looked_up(read, key):
    """Each takes a millisecond: some events with 490 of them kept all other senders waiting."""
    asked = []

    def known_parameter(provider, parameter, *, near):
        asked.append(parameter)
        return "is unknown"

    wrong = {key.format(number): "x" for number in range(490)} | {"customer_id": "A1", "email": "nobody"}
    (line,) = read(written(wrong), known_parameter=known_parameter)
    assert len(line.problems) == 22
    assert {"customer_id", "email"} & set(problems_of(line)) == {"email"}
    assert "more than 20 unknown keys" in problems_of(line).values()
    assert len(asked) in (0, 20)


@pytest.mark.parametrize(("key", "meant"), [("customer_i{}", "customer_id"), ("idenfy-kyc.documentz{}", "documents")])
def test_of_many_unknown_keys_of_a_list_only_the_first_are_told_the_nearest(read, monkeypatch, key, meant):
    """A list with others in each line took a hundred times as long as a good one."""
    monkeypatch.setattr(columns, "MOST_NEAREST", 2)
    wrong = [ANN | {"customer_id": f"B{row}", key.format(row): "x"} for row in range(4)]
    lines = read(written(*wrong, ANN | {"idenfy-kyc": {"documents": ["PASSPORT"]}}), **REAL)
    assert rows(lines) == [*((REJECTED, row) for row in range(1, 5)), (ACCEPTED, 5)]
    told = [f"the nearest is {meant}" in problems_of(line)[key.format(row)] for row, line in enumerate(lines[:4])]
    assert told == [True, True, False, False]


def test_keys_are_mapped_and_ignored_as_columns_are(read):
    options = {"mapping": {"Mail": "email"}, "ignore": frozenset({"notes", "idenfy-kyc"})}
    (line,) = read(
        written({"Customer ID": "A1", "MAIL": "a@example.com", "Notes": [{}], "idenfy-kyc": {"x": 1}}), **options
    )
    assert isinstance(line, AcceptedLine)
    assert line.customer.person.email == "a@example.com"
    assert line.customer.parameters == {}


def test_a_column_that_is_given_twice_refuses_its_row(read):
    lines = read(
        written(
            ANN | {"E_mail": "x@example.com"},
            ANN | {"idenfy-kyc": {"a": 1}, "idenfy-kyc.a": 2},
            ANN | {"idenfy-kyc": {"a": {"b": 1}, "a.b": 2}},
            '{"customer_id": "A1", "email": "a@example.com", "email": "b@example.com"}',
            '{"customer_id": "A1", "idenfy-kyc": {"a": {"b": 1, "b": 2}}}',
        ),
        mapping={"e mail": "email"},
    )
    assert [problems_of(line) for line in lines] == [
        {"email": "it is given twice, under two names"},
        {"idenfy-kyc.a": "it is given twice, under two names"},
        {"idenfy-kyc.a": "it is given both as a whole and in parts"},
        {"email": "the key appears twice in one object"},
        {"b": "the key appears twice in one object"},
    ]


def test_a_line_that_is_no_object_is_rejected_and_the_others_go_on(read, subtests):
    cases = [
        ("[1, 2]", "the line is not a JSON object"),
        ('"text"', "the line is not a JSON object"),
        ("null", "the line is not a JSON object"),
        ('{"customer_id": "A9"', "the line is not JSON at character"),
        ('{"customer_id": "A9"} {}', "the line is not JSON at character"),
        ("{'customer_id': 'A9'}", "the line is not JSON at character 2"),
        ("customer_id,email", "the line is not JSON at character 1"),
        ('{"customer_id": NaN}', "the line is not JSON"),
        ('{"customer_id": -Infinity}', "the line is not JSON"),
        ('{"customer_id": 1e999}', "the line has a number that is too large"),
        ('{"customer_id": ' + "9" * 5000 + "}", "the line has a number that is too large"),
        ('{"customer_id": "A\x009"}', "the line is not JSON at character 19"),
        (
            '{"customer_id": "A9", "idenfy-kyc.a": ' + "[" * DEEP + "]" * DEEP + "}",
            f"more than {MOST_LEVELS} levels deep",
        ),
        ('{"customer_id": "A9", "idenfy-kyc.a": ' + '{"a":' * DEEP + "1" + "}" * DEEP + "}", "deep"),
        ('{"customer_id": "A9", "idenfy-kyc.a": ' + "[" * 40 + "]" * 40 + "}", f"more than {MOST_LEVELS} levels deep"),
        ('{"customer_id": "A9", "first_name": "' + "x" * LONGEST_LINE + '"}', "more than 1,048,576 bytes"),
        (json.dumps({f"k{n}": 1 for n in range(MOST_KEYS + 1)}), f"more than {MOST_KEYS} keys"),
    ]
    for bad, problem in cases:
        with subtests.test(case=bad[:24]):
            lines = read(written(ANN, bad, BOB))
            assert rows(lines) == [(ACCEPTED, 1), (REJECTED, 2), (ACCEPTED, 3)]
            (found,) = problems_of(lines[1]).values()
            assert problem in found


def test_bytes_that_are_not_utf8_reject_their_line_alone(read):
    lines = read(written(ANN).encode() + b'\n{"customer_id": "Zo\xeb"}\n' + written(BOB).encode())
    assert rows(lines) == [(ACCEPTED, 1), (REJECTED, 2), (ACCEPTED, 3)]
    assert problems_of(lines[1]) == {"": "the line is not UTF-8"}


def test_what_no_database_or_encoding_holds_is_refused(read, subtests):
    for column, bad in product(
        ["customer_id", "email", "first_name", "address", "idenfy-kyc.a", "tags", "sex"],
        ["\\u0000", "\\ud800", "\\udfff!"],
    ):
        with subtests.test(column=column, bad=bad):
            (line,) = read(json.dumps(ANN | {column: "?"}).replace("?", bad))
            assert column in problems_of(line)


@pytest.mark.parametrize("value", ['["\\ud800"]', '{"b": {"c": "\\u0000"}}', '{"\\udc00": 1}'])
def test_nor_is_it_accepted_inside_a_parameter(read, value):
    (of_json,) = read('{"customer_id": "A1", "channel": "none", "idenfy-kyc.a": ' + value + "}")
    quoted = value.replace('"', '""')
    (of_csv,) = read(
        f'customer_id,channel,idenfy-kyc.a\nA1,none,"{quoted}"\n',
        check_parameter=lambda _p, _n, cell: (json.loads(cell), None),
    )
    assert (
        problems_of(of_json)
        == problems_of(of_csv)
        == {"idenfy-kyc.a": "it contains a NUL character or half of a surrogate pair"}
    )


def test_problems_repeat_no_value_and_no_key_that_may_be_one(read):
    lines = read(
        written(
            {"customer_id": "A1", "email": "hemlig"},
            {"hemlig@example.com": 1},
            {"+37060000000": "hemlig"},
            {"idenfy-kyc.hemlig@example.com": 1},
            {"x" * 300 + "hemlig": 1},
            '{"hemlig": "hemlig',
            '{"hemlig@example.com": 1, "hemlig@example.com": 2}',
        ),
        **REAL,
    )
    assert len(lines) == 7
    assert "hemlig" not in str(lines)
    assert "370" not in str(lines)


def test_a_file_that_is_no_list_is_refused_with_what_to_do(refusal):
    cases = [
        (b"", {}, "the file is empty"),
        (b"\xef\xbb\xbf \n\n", {}, "no line of the list is a JSON object"),
        (b'["a",\n"b"]\n', {}, "no line of the list is a JSON object"),
        (b"customer_id,email\nA1,a@example.com\n", {}, "use --format csv"),
        (written(ANN).encode("utf-16"), {}, "the file is UTF-16, and JSON lines must be UTF-8"),
        (written(ANN).encode("utf-16-le"), {}, "binary, or UTF-16"),
        (b"\x00\x01\x02\x03" * 50, {}, "binary"),
        (b"\x1f\x8b\x08\x00", {}, "the gzip file is damaged or cut off"),
        (b"PK\x03\x04", {}, "the ZIP file cannot be opened: it is damaged or cut off"),
        (written(ANN).encode(), {"encoding": "cp1252"}, "--encoding: JSON lines are UTF-8"),
        (written(ANN).encode(), {"delimiter": ";"}, "--delimiter: JSON lines have no delimiter"),
    ]
    assert lacking(cases, lambda content, options: refusal(content, form="jsonl", **options)) == []


def test_the_right_encoding_may_be_given(read):
    assert rows(read(written(ANN), encoding="UTF_8")) == [(ACCEPTED, 1)]


@pytest.mark.parametrize("name", ["list.jsonl", "list.NDJSON", "list.txt", "list"])
def test_json_lines_are_known_by_their_ending_or_their_first_byte(tmp_path, name):
    path = tmp_path / name
    path.write_text("\ufeff\n" + written(ANN), encoding="utf-8")
    opened = open_list(path, ListOptions(today=date(2026, 11, 20)))
    assert rows(opened) == rows(opened) == [(ACCEPTED, 2)]
    assert opened.columns == ("customer_id", "email")


def test_the_format_that_is_asked_for_wins(tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_text("customer_id,email\nA1,a@example.com\n")
    assert rows(open_list(path, ListOptions(today=date(2026, 11, 20), form="csv"))) == [(ACCEPTED, 2)]
    with pytest.raises(ListRefused, match="the header cannot be read"):
        open_list(io.BytesIO(written(ANN).encode()), ListOptions(today=date(2026, 11, 20), form="csv"))


def test_a_customer_on_the_first_line_who_comes_again_is_a_duplicate(read):
    assert rows(read(written(ANN, BOB, ANN))) == [(ACCEPTED, 1), (ACCEPTED, 2), (DUPLICATE, 3)]


def test_a_line_without_end_is_never_held_whole():
    class Counting(io.BytesIO):
        longest = 0

        def readline(self, size: int | None = -1) -> bytes:
            line = super().readline(size)
            self.longest = max(self.longest, len(line))
            return line

    raw = Counting(b"{}\n" + b"x" * (5 * LONGEST_LINE) + b"\n{}\n" + b" " * LONGEST_LINE + b"\n{}")
    assert [(row, found == {}) for row, found in json_lines(raw)] == [(1, True), (2, False), (3, True), (5, True)]
    assert raw.longest == LONGEST_LINE + 1


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(TEXT, VALUE, max_size=4), min_size=1, max_size=5))
def test_whatever_was_written_as_json_lines_is_read_back(objects):
    raw = io.BytesIO("\n".join(json.dumps(one, ensure_ascii=False) for one in objects).encode())
    assert list(json_lines(raw)) == list(enumerate(objects, start=1))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(content):
    try:
        lines = list(open_list(io.BytesIO(b"{}\n" + content), ListOptions(today=date(2026, 11, 20), form="jsonl")))
    except ListRefused:
        return
    assert [line.row for line in lines] == sorted({line.row for line in lines})


KEYS = st.sampled_from(
    ["customer_id", "email", "phone", "kind", "tags", "idenfy-kyc", "idenfy-kyc.a", "idenfy-kyc.a.b", "x"]
)


@given(st.dictionaries(KEYS | TEXT, VALUE | st.just("A1"), max_size=6))
def test_no_object_crashes_the_check(found):
    content = b"{}\n" + json.dumps(found).encode()  # the first object alone may be around the list
    _, line = open_list(io.BytesIO(content), ListOptions(today=date(2026, 11, 20), form="jsonl"))
    assert line.row == 2
