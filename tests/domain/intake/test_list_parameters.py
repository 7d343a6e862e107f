from datetime import date
from typing import Any

import pytest

from worker.domain.intake import ListOptions, parse_cell


@pytest.mark.parametrize(
    ("text", "wanted", "items", "value"),
    [
        ("007", "string", None, "007"),
        ("Yes", "boolean", None, True),
        ("0", "boolean", None, False),
        ("42", "integer", None, 42),
        ("-1.5", "number", None, -1.5),
        ("3", "number", None, 3),
        ("PASSPORT; ID_CARD;", "array", None, ["PASSPORT", "ID_CARD"]),
        ("1;2", "array", "integer", [1, 2]),
        ('["a;b"]', "array", None, ["a;b"]),
        ('{"a": [1]}', "object", None, {"a": [1]}),
        ("TRUE", None, None, True),
        ("12", None, None, 12),
        ("012", None, None, "012"),
        ("1e5", None, None, "1e5"),
        ("a;b", None, None, ["a", "b"]),
        ("plain", None, None, "plain"),
    ],
)
def test_text_becomes_what_the_schema_wants(text, wanted, items, value):
    parsed, problem = parse_cell(text, wanted, items)
    assert problem is None
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "wanted", "problem"),
    [
        ("perhaps", "boolean", "neither true nor false"),
        ("1.5", "integer", "not a whole number"),
        ("٣", "integer", "not a whole number"),
        ("NaN", "number", "not a number"),
        ("9" * 5000, "integer", "not a whole number"),
        ("[1", "array", "not a JSON array"),
        ("[" * 100_000, "array", "not a JSON array"),
        ('{"a": NaN}', "object", "not a JSON object"),
        ("[]", "object", "not a JSON object"),
        ('{"a"}', None, "not a JSON object"),
    ],
)
def test_text_that_is_something_else_is_a_problem(text, wanted, problem):
    assert parse_cell(text, wanted) == (None, problem)


def test_values_of_events_are_left_for_the_schema_to_check():
    assert parse_cell(["1", 2], "integer") == (["1", 2], None)


def test_parameters_nest_by_dots_and_empty_cells_are_not_sent(customer):
    asked = []

    def check(provider: str, name: str, value: Any) -> tuple[Any, str | None]:
        asked.append((provider, name, value))
        return parse_cell(value)

    made = customer(
        ListOptions(today=date(2026, 11, 20), check_parameter=check),
        **{
            "idenfy-kyb.a.b": " 1 ",
            "idenfy-kyb.a.c": "x",
            "idenfy-kyc.documents": "  ",
            "frankieone-v2.country": "AUS",
        },
    )
    assert made.parameters == {"idenfy-kyb": {"a": {"b": 1, "c": "x"}}, "frankieone-v2": {"country": "AUS"}}
    assert asked == [("idenfy-kyb", "a.b", "1"), ("idenfy-kyb", "a.c", "x"), ("frankieone-v2", "country", "AUS")]


def test_a_parameter_that_the_schema_refuses_rejects_the_line(problems):
    options = ListOptions(today=date(2026, 11, 20), check_parameter=lambda provider, name, value: (None, "too short"))
    assert problems(options, **{"idenfy-kyc.documents": "X"}) == {"idenfy-kyc.documents": "too short"}
