"""The providers' documented request parameters: what may be given, in which bounds.

They are given as `[accounts.NAME.parameters]` and as `PROVIDER.PARAMETER` columns of a list. An endpoint's
table is a module of this package and one entry in `tables.TABLES`; docs/providers/parameters.md is made from them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.domain.model.customers import FieldProblem
from worker.providers.bodies import nested
from worker.providers.parameters.spec import Parameter, Type
from worker.providers.parameters.tables import PROVIDERS, Table, find, nearest, tables_of

__all__ = [
    "PROVIDERS",
    "Parameter",
    "Type",
    "check_parameter",
    "check_parameters",
    "known_parameter",
    "parameter_problem",
    "parameter_warnings",
    "parameters_of",
    "parse_cell",
    "unknown_parameter",
]


def parameters_of(provider: str, dialect: str = "") -> Mapping[str, Parameter]:
    """The parameters by name, of the form or else of the provider's default one; empty for no such provider."""
    tables = tables_of(provider, dialect)
    return tables[0].parameters if tables else {}


def unknown_parameter(provider: str, name: str, dialect: str = "") -> str | None:
    """Why `PROVIDER.NAME` cannot be given, naming what is near it; None when it can. `name` may be "a.b".

    Without a `dialect` (a list's column belongs to no account) it can when any of the provider's forms knows it.
    """
    tables = tables_of(provider, dialect)
    if not tables:
        return f"no provider has this name; the providers are {', '.join(PROVIDERS)}"
    reasons = [_unknown_to(table, provider, name) for table in tables]
    if None in reasons:
        return None
    reason = next((reason for reason in reasons if reason), "")
    if reason:
        return reason
    near = nearest(tables, name)
    suggested = f"; the nearest is {near}" if near else ""
    if dialect and unknown_parameter(provider, name) is None:
        return f"is not known to the {dialect} form of {provider}{suggested}"
    return f"{provider} has no such parameter{suggested}"


def _unknown_to(table: Table, provider: str, name: str) -> str | None:
    """None: the table knows it. "": it does not. Otherwise why a name that it does know cannot be given."""
    parameter, path = find(table, name)
    if parameter is None:
        return ""
    if parameter.instead:
        return f"cannot be given: {parameter.instead}"
    if path and (parameter.type is not Type.OBJECT or not all(path)):
        whole = name.removesuffix("." + ".".join(path))
        return f"{provider}.{whole} holds no such field"
    return None


def parse_cell(provider: str, name: str, text: Any) -> tuple[Any, str | None]:
    """The value of a list's cell, and what is wrong with it (never both). An empty cell is not to be passed.

    true/false, numbers, `;` between a list's items, objects as JSON, guided by the parameter's type; null
    where the provider gives it a meaning. What is not a text (from JSON) is checked as it is. A name that
    several forms know is read as the first that takes the value: the account's own form judges it later.
    """
    if problem := unknown_parameter(provider, name):
        return None, problem
    found: str | None = None
    for table in tables_of(provider):
        if _unknown_to(table, provider, name) is None:
            value, problem = _parse(table, name, text)
            if problem is None:
                return value, None
            found = found or problem
    return None, found


def _parse(table: Table, name: str, text: Any) -> tuple[Any, str | None]:
    parameter, path = find(table, name)
    if parameter is None:  # only tables that know the name are asked
        return None, "is not known"
    if not path:
        return parameter.parse(text)
    # Inside an object of the provider's customer's own making: a text, and an object where it looks like one.
    value, problem = Parameter(path[-1], Type.OBJECT, also=Type.TEXT).parse(text)
    return value, problem or parameter.problem(nested({".".join(path): value}))


def check_parameters(provider: str, values: Mapping[str, Any], dialect: str = "") -> list[FieldProblem]:
    """Everything wrong with values that would be sent together; empty when nothing is.

    Columns are named `PROVIDER.NAME`. Values may be nested or have dotted names. Without a `dialect` they must
    fit one of the provider's forms as a whole.
    """
    together = nested(values)
    if not together:
        return []
    tables = tables_of(provider, dialect)
    if not tables:
        return [FieldProblem(f"{provider}.{name}", unknown_parameter(provider, name) or "") for name in together]
    found = [_check(provider, table, together) for table in tables]
    return min(found, key=len)


def parameter_problem(provider: str, name: str, value: Any, dialect: str = "") -> str | None:
    """What is wrong with a value of ours for a documented name, also for one that no parameter may fill."""
    for table in tables_of(provider, dialect)[:1]:
        parameter, _ = find(table, name)
        return parameter.problem(value) if parameter else None
    return None


def _check(provider: str, table: Table, together: Mapping[str, Any]) -> list[FieldProblem]:
    problems = [
        FieldProblem(
            f"{provider}.{name}", problem or unknown_parameter(provider, name, table.dialect) or "is not known"
        )
        for name, problem in _problems(table, provider, together, "")
    ]
    if problems:
        return problems
    hint = "change or leave out one of the two"
    return [FieldProblem(f"{provider}.{name}", problem, hint) for name, problem in table.contradictions(together)]


def _problems(table: Table, provider: str, values: Mapping[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """Dotted name and problem of each value; "" where the table does not know the name."""
    for name, value in values.items():
        path = at + name
        reason = _unknown_to(table, provider, path)
        parameter, _ = find(table, path)
        if reason == "" and isinstance(value, Mapping) and value:
            yield from _problems(table, provider, value, f"{path}.")
        elif reason is not None or parameter is None:
            yield path, reason or ""
        elif parameter.type is Type.OBJECT and parameter.fields and isinstance(value, Mapping):
            yield from _problems(table, provider, value, f"{path}.")
        elif problem := parameter.problem(value):
            yield path, problem


def parameter_warnings(provider: str, values: Mapping[str, Any], dialect: str = "") -> list[FieldProblem]:
    """What is accepted and perhaps not meant; nothing is refused for it."""
    together = nested(values)
    found: list[tuple[str, str]] = []
    for table in tables_of(provider, dialect):
        known = ((name, table.parameters[name], value) for name, value in together.items() if name in table.parameters)
        found += [(name, warning) for name, parameter, value in known if (warning := parameter.warning_about(value))]
        found += table.warnings(together)
    return [FieldProblem(f"{provider}.{name}", warning) for name, warning in dict.fromkeys(found)]


# What the intake of lists is handed: one cell's value, and whether a column may be there at all.
check_parameter = parse_cell
known_parameter = unknown_parameter
