"""The providers' documented request parameters: what may be given, in which bounds.

They are given as `[accounts.NAME.parameters]` and as `PROVIDER.PARAMETER` columns of a list. An endpoint's
table is a module of this package and one entry in TABLES.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.customers import FieldProblem
from worker.providers.bodies import nested
from worker.providers.parameters import frankieone_v2, idenfy_kyc
from worker.providers.parameters.spec import Parameter, Type

__all__ = [
    "PROVIDERS",
    "Parameter",
    "Type",
    "check_parameter",
    "check_parameters",
    "known_parameter",
    "parameter_warnings",
    "parameters_of",
    "parse_cell",
    "unknown_parameter",
]

Findings = Callable[[Mapping[str, Any]], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class Table:
    """One endpoint's parameters, what they exclude in each other, and what is only worth a warning."""

    parameters: Mapping[str, Parameter]
    contradictions: Findings
    doubts: Findings


def _table(parameters: tuple[Parameter, ...], contradictions: Findings, doubts: Findings) -> Table:
    return Table({parameter.name: parameter for parameter in parameters}, contradictions, doubts)


TABLES = {
    "idenfy-kyc": _table(idenfy_kyc.PARAMETERS, idenfy_kyc.contradictions, idenfy_kyc.doubts),
    "frankieone-v2": _table(frankieone_v2.PARAMETERS, frankieone_v2.contradictions, frankieone_v2.doubts),
}
# Every provider that the configuration knows (DESIGN.md 3.2), with a table yet or not.
PROVIDERS = ("idenfy-kyc", "idenfy-kyb", "frankieone-v1", "frankieone-v2")


def parameters_of(provider: str) -> Mapping[str, Parameter]:
    """The provider's parameters by name; empty where there is no table."""
    table = TABLES.get(provider)
    return table.parameters if table else {}


def unknown_parameter(provider: str, name: str) -> str | None:
    """Why `PROVIDER.NAME` cannot be given, naming what is near it; None when it can. `name` may be "a.b"."""
    if provider not in TABLES:
        if provider in PROVIDERS:
            return f"parameters of {provider} are not supported yet"
        return f"no provider has this name; the providers are {', '.join(PROVIDERS)}"
    parameter, path = _find(provider, name)
    if parameter is None:
        known = [known for known, spec in TABLES[provider].parameters.items() if not spec.instead]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or _ignoring_case(name, known)
        return f"{provider} has no such parameter" + (f"; the nearest is {near[0]}" if near else "")
    if parameter.instead:
        return f"cannot be given: {parameter.instead}"
    if path and not _takes_inner(parameter, path):
        return f"{provider}.{parameter.name} holds no such field"
    return None


def parse_cell(provider: str, name: str, text: Any) -> tuple[Any, str | None]:
    """The value of a list's cell, and what is wrong with it (never both). An empty cell is not to be passed.

    true/false, numbers, `;` between a list's items, objects as JSON, guided by the parameter's type; null
    where the provider gives it a meaning. What is not a text (from JSON) is checked as it is.
    """
    if problem := unknown_parameter(provider, name):
        return None, problem
    parameter, path = _find(provider, name)
    if parameter is None:  # unknown_parameter has said so
        return None, f"{provider} has no such parameter"
    if not path:
        value, problem = parameter.parse(text)
    elif inner := next((field for field in parameter.fields if field.name == path[0]), None):
        value, problem = inner.parse(text)
    else:
        # Inside an object of the provider's customer's own making: a text, and an object where it looks like one.
        value, problem = Parameter(path[-1], Type.OBJECT, also=Type.TEXT).parse(text)
        problem = problem or parameter.problem(nested({".".join(path): value}))
    return (None, problem) if problem else (value, None)


def check_parameters(provider: str, values: Mapping[str, Any]) -> list[FieldProblem]:
    """Everything wrong with values that would be sent together; empty when nothing is.

    Columns are named `PROVIDER.NAME`. Values may be nested or have dotted names.
    """
    together = nested(values)
    problems = []
    for name, value in together.items():
        problem = unknown_parameter(provider, name)
        if problem is None:
            problem = TABLES[provider].parameters[name].problem(value)
        if problem:
            problems.append(FieldProblem(f"{provider}.{name}", problem))
    if problems or not together:
        return problems
    hint = "change or leave out one of the two"
    excluded = TABLES[provider].contradictions(together)
    return [FieldProblem(f"{provider}.{name}", problem, hint) for name, problem in excluded]


def parameter_warnings(provider: str, values: Mapping[str, Any]) -> list[FieldProblem]:
    """What is accepted and perhaps not meant; nothing is refused for it."""
    table = TABLES.get(provider)
    if table is None:
        return []
    together = nested(values)
    known = ((name, table.parameters[name], value) for name, value in together.items() if name in table.parameters)
    found = [(name, doubt) for name, parameter, value in known if (doubt := parameter.doubt_about(value))]
    found += table.doubts(together)
    return [FieldProblem(f"{provider}.{name}", doubt) for name, doubt in found]


# What the intake of lists is handed: one cell's value, and whether a column may be there at all.
check_parameter = parse_cell
known_parameter = unknown_parameter


def _find(provider: str, name: str) -> tuple[Parameter | None, tuple[str, ...]]:
    first, *path = name.split(".")
    return TABLES[provider].parameters.get(first), tuple(path)


def _takes_inner(parameter: Parameter, path: tuple[str, ...]) -> bool:
    if parameter.type is not Type.OBJECT or not all(path):
        return False
    known = {field.name for field in parameter.fields if not field.instead}
    return not parameter.fields or (len(path) == 1 and path[0] in known)


def _ignoring_case(name: str, known: list[str]) -> list[str]:
    return [candidate for candidate in known if candidate.lower() == name.lower()]
