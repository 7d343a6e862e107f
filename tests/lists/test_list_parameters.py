from datetime import date
from typing import Any

from onboarding_worker.lists.options import ListOptions


def test_parameters_nest_by_dots_and_empty_cells_are_not_sent(customer):
    asked = []

    def check(provider: str, name: str, value: Any) -> tuple[Any, str | None]:
        asked.append((provider, name, value))
        return int(value) if value.isdigit() else value, None

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
