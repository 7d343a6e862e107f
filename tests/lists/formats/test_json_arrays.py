"""One JSON array of customers: split as it is read, each object judged alone."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.lists.formats import json_list
from onboarding_worker.lists.formats.json_list import LONGEST_LINE
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from tests.suite.cases import lacking

ANN = '{"customer_id": "A1", "email": "ann@example.com", "tags": ["a", "b"]}'
BOB = '{"customer_id": "A2", "email": "bob@example.com"}'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(st.sampled_from('a"\\,{}[]: é\n'), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def problem(line):
    assert isinstance(line, RefusedLine), line
    (found,) = line.problems
    assert found.hint
    return found.problem


@pytest.mark.parametrize(
    "text", [f"[{ANN},{BOB}]", f"\ufeff [\n {ANN} ,\r\n {BOB},\n]\n\n", f"\ufeff\ufeff[{ANN},{BOB}]"]
)
def test_each_object_is_a_row(read, text):
    lines = read(text)
    assert [(type(line), line.row) for line in lines] == [(AcceptedLine, 1), (AcceptedLine, 2)]
    assert lines[0].customer.tags == ("a", "b")


def test_an_element_that_is_no_customer_is_rejected_and_the_others_go_on(read, subtests):
    cases = [
        ("17", "the object is not a JSON object"),
        ("", "the object is not JSON"),
        ('{"customer_id": "A9"] ', "the object is not JSON at character"),
        ('{"customer_id": NaN}', "the object is not JSON"),
        ('{"customer_id": "A9", "first_name": "' + "x" * LONGEST_LINE + '"}', "more than 1,048,576 bytes"),
        ('{"customer_id": "A9", "customer_id": "A8"}', "the key appears twice in one object"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "levels deep"),
    ]
    for bad, reason in cases:
        with subtests.test(case=bad[:20]):
            lines = read(f"[{ANN},{bad},{BOB}]")
            assert [(type(line), line.row) for line in lines] == [
                (AcceptedLine, 1),
                (RefusedLine, 2),
                (AcceptedLine, 3),
            ]
            assert reason in problem(lines[1])


def test_what_is_missing_or_too_much_is_a_row_of_its_own(read, subtests):
    for text, reason in [
        (f"[{ANN},{BOB}", "the array has no end: the file is cut off"),
        (f"[{ANN},{BOB},", "the array has no end: the file is cut off"),
        (f'[{ANN},{BOB},{{"customer_id": "A', "the array has no end: the file is cut off"),
        (f"[{ANN},{BOB}]{ANN}", "there is something behind the array's end"),
        (f"[{ANN},{BOB}] x", "there is something behind the array's end"),
        (f"[{ANN},{BOB},{'[' * 1_048_577}", "the array is nested more than 1,048,576 levels deep"),
    ]:
        with subtests.test(text=text, reason=reason):
            lines = read(text)
            assert [type(line) for line in lines[:2]] == [AcceptedLine, AcceptedLine]
            assert problem(lines[-1]) == reason


def test_a_file_that_is_no_array_is_refused_with_what_to_do(refusal):
    cases = [
        ("[]", {}, "the JSON array is empty"),
        ("[", {"form": "csv"}, "the first row is not a known header"),
        (ANN, {"form": "json"}, "the file is not a JSON array: it does not begin with ["),
        (f"[{ANN}]", {"delimiter": ";"}, "--delimiter: a JSON array has no delimiter"),
    ]
    assert lacking(cases, lambda text, options: refusal(text + "\n", **options)) == []


def test_a_bracket_in_a_csv_header_begins_no_array(read):
    (line,) = read("[customer_id],email\nA1,a@example.com\n", mapping={"[customer_id]": "customer_id"})
    assert isinstance(line, AcceptedLine)


@given(
    objects=st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), min_size=1, max_size=4),
    chunk=st.integers(1, 40),
    ascii_only=st.booleans(),
    cut=st.integers(1, 200),
)
def test_an_array_is_what_was_written_however_its_bytes_come(objects, chunk, ascii_only, cut):
    raw = json.dumps(objects, ensure_ascii=ascii_only).encode()

    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, chunk))

    assert list(json_list.json_array(Slow(raw))) == list(enumerate(objects, start=1))
    shorter = list(json_list.json_array(Slow(raw[: len(raw) - 1 - cut % len(raw)])))
    found = [one for _, one in shorter]
    assert found[: len(objects)][: len(found) - 2] == objects[: max(0, len(found) - 2)]
    assert raw[: len(raw) - 1 - cut % len(raw)] == b"" or isinstance(found[-1], FieldProblem)


@pytest.mark.parametrize("chunk", [1 << 16, 1000, 999])
def test_escapes_are_passed_over_together(monkeypatch, chunk):
    searched = []

    class Pattern:
        def __init__(self, of):
            self._of = of

        def match(self, *arguments):
            searched.append(self)
            return self._of.match(*arguments)

    for name in ("_TO_SIGN", "_TO_SIGN_INSIDE", "_TO_SIGN_IN_TEXT"):
        monkeypatch.setattr(json_list, name, Pattern(getattr(json_list, name)))
    monkeypatch.setattr(json_list, "_CHUNK", chunk)
    objects = [{"note": '\\"é' * 2000}] * 2
    raw = json.dumps(objects).encode()

    assert [one for _, one in json_list.json_array(io.BytesIO(raw))] == objects
    assert len(searched) < 20 + 4 * len(raw) / chunk
