"""A JSON file that is nearly a list is refused as a whole, with what to do; a list with a bad line is not."""

import json

import pytest

from onboarding_worker.lists.formats import json_list
from onboarding_worker.lists.formats.json_list import HEAD
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine

ANN = {"customer_id": "A1", "email": "ann@example.com"}
BOB = {"customer_id": "A2", "email": "bob@example.com"}
WRAPPED = {"exported": "2026-11-20", "id": 7, "meta": {"pages": [1, 2]}, "customers": [ANN, BOB], "next": None}


def test_a_list_inside_an_object_is_refused_with_its_place_and_the_way_out(refusal, subtests):
    for form in [None, "json", "jsonl"]:
        for what, (text, keys, command) in [
            ("one", (json.dumps({"customers": [ANN, BOB]}), "customers", ".customers[]")),
            ("with metadata", (json.dumps(WRAPPED), "customers", ".customers[]")),
            ("over lines", ("\ufeff\n" + json.dumps(WRAPPED, indent=2), "customers", ".customers[]")),
            ("deeper", (json.dumps({"data": WRAPPED}, indent="\t"), "data.customers", ".data.customers[]")),
            (
                "a page a line",
                (
                    json.dumps({"customers": [ANN]}) + "\n" + json.dumps({"customers": [BOB]}),
                    "customers",
                    ".customers[]",
                ),
            ),
            (
                "an array of pages",
                (json.dumps([{"page": 1, "data": [ANN]}, {"page": 2, "data": [BOB]}]), "data", ".[].data[]"),
            ),
            ("large", (json.dumps({"customers": [ANN] * 2 * HEAD}), "customers", ".customers[]")),
            ("bad below", (json.dumps({"customers": [ANN]}) + "\nnot JSON", "customers", ".customers[]")),
        ]:
            with subtests.test(what=what, form=form):
                assert refusal(text, form=form) == (
                    f'the list is inside an object, under "{keys}": write the array of customers alone into a file, '
                    f"such as with: jq -c '{command}' FILE > customers.jsonl"
                )


def test_a_key_that_may_not_be_shown_is_in_no_message(refusal):
    cases = ["it's; rm -rf", "+37060000000", 'a"b', "k" * 61, "é"]
    shown = "the list is inside an object: write the array of customers alone into a file"
    assert {key: refusal(json.dumps({key: [ANN]})) for key in cases} == dict.fromkeys(cases, shown)


@pytest.mark.parametrize(
    "text", [json.dumps(ANN, indent=1), f"{json.dumps(ANN, indent=1)}\n{json.dumps(BOB, indent=1)}"]
)
def test_objects_that_go_over_several_lines_are_refused_as_a_whole(refusal, text):
    assert refusal(text) == (
        "the first object goes over several lines: write each customer as an object on one line, "
        "such as with: jq -c . FILE > customers.jsonl"
    )


def test_a_first_line_that_is_cut_off_is_one_rejected_row(read):
    cases = [
        '{"customer_id": "A9",',
        '{"customer_id": "A9',
        '{"customer_id"',
        '{"tags": ["a",',
        "{",
        "not JSON",
        '{"a":[[[',
    ]
    found = {bad: (*map(type, read(f"{bad}\n\n{json.dumps(BOB)}\n", form="jsonl")),) for bad in cases}
    assert found == dict.fromkeys(cases, (RefusedLine, AcceptedLine))


@pytest.mark.parametrize("first", [ANN, {"mail": "ann@example.com", "Vorname": "Ann"}, {"No.": "A1"}])
def test_an_array_in_a_customers_object_is_a_column_of_the_customer(read, first):
    text = json.dumps(first | {"orders": [{"total": 3}]}) + "\n" + json.dumps(BOB)
    lines = read(text, mapping={"No.": "customer_id"})
    assert [type(line) for line in lines] == [RefusedLine, AcceptedLine]
    assert "orders" in {problem.column for problem in lines[0].problems}


@pytest.mark.parametrize("text", [b'\\"' * 100, b'\\"' * 100 + b"\\", b'\\"{}[]' * 100, b"a" * 100])
def test_a_text_without_an_end_is_looked_at_once(text):
    head = b'[{"note": "' + text
    spans = [part.span() for part in json_list._PART.finditer(head)]
    assert spans == [(0, 1), (1, 2), (2, 8), (10, len(head))]


def test_hostile_heads_are_no_other_shape(read):
    cases = ['{"a":' * HEAD, '{"' + "\\" * HEAD, '{"' + '\\"' * HEAD, '{"a"' + " " * HEAD, '{"a":{},' * HEAD]
    found = {text: (*map(type, read(text, form="jsonl")),) for text in cases}
    assert found == dict.fromkeys(cases, (RefusedLine,))
