"""Routes, which choose the accounts for a row, and the columns that a list may have."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

from onboarding_worker.core.model.customers import MOST_OWN
from onboarding_worker.lists.own_columns import PREFIX, is_own, own_name
from onboarding_worker.lists.rules import COLUMNS, RULES, WORDED
from onboarding_worker.providers.facts import PROVIDERS
from onboarding_worker.providers.values import Refusal
from onboarding_worker.settings.problems import suggestion
from onboarding_worker.settings.values import Duration, Section, Shown, Text, setting

KINDS = ("individual", "company")
# The column `account` chooses an account without a route, so a route cannot test it.
ROUTABLE = tuple(column for column in COLUMNS if column != "account")
Condition = str | tuple[str, ...] | bool


def own_columns(given: Any) -> tuple[str, ...]:
    """`[import] message_columns`, each as templates name it. Raises ValueError."""
    if not isinstance(given, list | tuple) or not all(isinstance(title, str) for title in given):
        raise ValueError('expected a list of columns, such as ["branch", "adviser"]')
    names = []
    for number, title in enumerate(given, 1):
        try:
            names.append(own_name(title))
        except ValueError as error:  # without the title: what was put into a wrong place may be a secret
            raise ValueError(f"column {number} of the list: {error}") from None
    if len(set(names)) < len(names):
        raise ValueError("a column is there twice")
    if len(names) > MOST_OWN:
        raise ValueError(f"more than {MOST_OWN} columns")
    return tuple(names)


def check_column(name: Any) -> None:
    """Raise ValueError with the nearest column's name if the column does not exist."""
    if isinstance(name, str) and is_own(name):
        own_name(name.removeprefix(PREFIX))
        return
    provider, dot, parameter = name.partition(".") if isinstance(name, str) else ("", "", "")
    if name not in COLUMNS and not (dot and parameter and provider in PROVIDERS):
        raise ValueError(f"no such column{suggestion(name, COLUMNS)}")


def ours_by_theirs(given: Any) -> dict[str, str]:
    """`[import] columns`: our columns by those of lists. Raises ValueError."""
    if not isinstance(given, dict):
        raise ValueError("expected a table of THEIRS = OURS (the list's column name and ours)")
    for theirs, ours in given.items():
        try:
            check_column(ours)
        except ValueError as error:
            raise ValueError(f"`{theirs}`: {error}") from None
    if len(set(given.values())) < len(given):
        raise ValueError("two columns of the list map to the same column of ours")
    return {str(theirs): str(ours) for theirs, ours in given.items()}


def words_by_column(given: Any) -> dict[str, dict[str, str]]:
    """`[import.values]`: by column, the words of lists in small letters, and ours, "" for none. Raises ValueError."""
    if not isinstance(given, dict) or not all(isinstance(words, dict) for words in given.values()):
        raise ValueError('expected words by column, such as country = { "Allemagne" = "DE" }')
    for column, words in given.items():
        try:
            check_column(column)
        except ValueError as error:
            raise ValueError(f"`{column}`: {error}") from None
        for theirs, ours in words.items():
            if ours == "":
                continue  # the cell counts as empty
            if column not in WORDED:
                raise ValueError(f'`{column}`, `{theirs}`: expected ""; other words are of {", ".join(WORDED)}')
            found = RULES[column](ours) if isinstance(ours, str) else Refusal("not a text in quotes")
            if isinstance(found, Refusal):
                raise ValueError(f"`{column}`, `{theirs}`: {found.problem}")
    return {
        column: {theirs.strip().casefold(): ours for theirs, ours in words.items()} for column, words in given.items()
    }


def _condition(column: str, wanted: Any) -> Condition:
    if isinstance(wanted, bool):
        return wanted
    values = wanted if isinstance(wanted, list) else [wanted]
    if not values or not all(isinstance(value, str) and value for value in values):
        raise ValueError("expected a value, a list of values, or true or false for present or absent")
    if column == "kind" and not set(values) <= set(KINDS):
        raise ValueError('expected "individual" or "company"')
    if column in ("country", "nationality") and not all(re.fullmatch("[A-Za-z]{2,3}", value) for value in values):
        raise ValueError('expected a country\'s two or three letters, such as "AU"')
    return tuple(map(str, values)) if isinstance(wanted, list) else str(values[0])


def _when(given: Any) -> Mapping[str, Condition]:
    if not isinstance(given, dict):
        raise ValueError('expected a table of conditions, such as { country = ["AU", "NZ"], entity_id = true }')
    conditions: dict[str, Condition] = {}
    for column, wanted in given.items():
        try:
            if column not in ROUTABLE:
                raise ValueError(f"no column that a route can test{suggestion(column, ROUTABLE)}")
            conditions[column] = _condition(column, wanted)
        except ValueError as error:
            raise ValueError(f"`{column}`: {error}") from None
    return conditions


class Route(Section):
    """Which accounts serve the rows that match, and under which brand; the first route that matches a row is used."""

    when: Annotated[Mapping[str, Condition], BeforeValidator(_when), Shown("table")] = setting(
        {},
        "Columns, and what each must be: a value, a list of values, true (present) or false (absent). Countries in two"
        " or three letters.",
        "every row",
    )
    accounts: tuple[Text, ...] = setting(
        ..., "In order of preference: the next takes over when one is stopped or its breaker is open.", min_length=1
    )
    freshness: Duration | None = setting(
        None,
        "The least life of a link when its invitation leaves; below the accounts' lifetimes.",
        "half the lifetime, at most 12 hours; 10 minutes where the vendor decides the lifetime",
        ge=timedelta(0),
    )
    brand: Text | None = setting(None, "The brand of its rows that name none: a NAME of [brand.NAME].", "[brand]")
