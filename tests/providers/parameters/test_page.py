"""docs/providers/parameters.md matches the tables."""

import re
from pathlib import Path

from onboarding_worker.providers.facts import PROVIDERS
from onboarding_worker.providers.parameters import names_of, tables_of
from onboarding_worker.providers.values import Parameter, Type
from tests.providers.parameters.reference import LEFT_OUT, bounds, page
from tests.suite.some import some

PAGE = Path(__file__).parents[3] / "docs" / "providers" / "parameters.md"


def test_the_page_is_what_the_tables_make():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.providers.parameters.reference writes it"


def test_each_parameter_of_each_form_is_in_its_table(subtests):
    for provider in some(PROVIDERS.built_in):
        with subtests.test(provider=provider):
            parts = [
                part for part in PAGE.read_text(encoding="utf-8").split("\n## ") if part.startswith(f"`{provider}`")
            ]

            assert len(parts) == len(tables_of(provider))
            for part, table in zip(parts, tables_of(provider), strict=True):
                lines = [line for line in part.partition("needs a right")[0].splitlines() if line.startswith("| `")]
                names = [name for name, _ in names_of(table.parameters) if not name.startswith(LEFT_OUT)]
                shown = [one for line in lines for one in re.findall(r"`([^`]+)`", line.split(" | ")[0])]
                assert sorted(shown) == sorted(names)


def test_bounds_are_shown_as_text():
    cases = [
        (Parameter("x", Type.TEXT, 1, 100, ascii=True), "text, 1 to 100, ASCII"),
        (Parameter("x", Type.TEXT, most=40, nullable=True), "text, at most 40, or null"),
        (Parameter("x", Type.INTEGER, 1), "a whole number, at least 1"),
        (Parameter("x", Type.INTEGER, 0, 9, warn_below=5), "a whole number, 0 to 9, a warning below 5"),
        (Parameter("x", Type.LIST, 1, 32, items=5), "a list, 1 to 32, at most 5 items"),
        (Parameter("x", Type.TEXT, 1), "text, not empty"),
        (Parameter("x", Type.CHOICE, choices=("A", "B")), "`A` or `B`"),
        (Parameter("x", Type.INTEGER, also=Type.TEXT), "a whole number or text"),
        (
            Parameter("x", Type.RECORDS, fields=(Parameter("a", Type.TEXT), Parameter("b", Type.TEXT))),
            "objects with `a`, `b`",
        ),
    ]
    assert [(parameter, got) for parameter, words in cases if (got := bounds(parameter)) != words] == []
