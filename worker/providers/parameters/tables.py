"""The table of parameters of each endpoint, and the search for a name in the tables.

Only iDenfy KYC has two tables: its two documented forms have different names for the same values. A list's columns do
not name the account's form, so without a form it is enough that one of the two has the name.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from worker.providers.entry_points import AdapterBroken
from worker.providers.facts import PROVIDERS
from worker.providers.parameters.spec import Parameter, Type

Findings = Callable[[Mapping[str, Any]], Iterator[tuple[str, str]]]


def nothing(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """No finding: no field of the request depends on another one."""
    yield from ()


@dataclass(frozen=True)
class Table:
    """One endpoint's parameters, the combinations that are refused, and those that give a warning.

    `dialect` is the form's name if a provider has several. `renamed` maps another form's names to this form's names.
    """

    parameters: Mapping[str, Parameter]
    contradictions: Findings = nothing
    warnings: Findings = nothing
    dialect: str = ""
    renamed: Mapping[str, str] | None = None


def by_name(*parameters: Parameter) -> dict[str, Parameter]:
    """The parameters of a table."""
    return {parameter.name: parameter for parameter in parameters}


def tables_of(provider: str, dialect: str = "") -> tuple[Table, ...]:
    """The table of the given form; all of the provider's tables if no form is given or there is only one table.

    Empty for an unknown provider, and for one whose adapter is broken.
    """
    try:
        endpoint = PROVIDERS.load(provider)
    except AdapterBroken:  # the start names it if an account needs it
        return ()
    tables: tuple[Table, ...] = endpoint.parameters if endpoint else ()
    return tuple(table for table in tables if table.dialect == dialect) or tables


@lru_cache(maxsize=8)
def documented(provider: str) -> frozenset[str]:
    """The names of the provider's parameters and of their members, each without what it is a member of."""
    found = (name for table in tables_of(provider) for name, _ in names_of(table.parameters))
    return frozenset(name.rpartition(".")[2] for name in found)


def find(table: Table, name: str) -> tuple[Parameter | None, tuple[str, ...]]:
    """The parameter with the dotted name, and the rest of the name inside an object without documented members."""
    first, *path = name.split(".")
    parameter = table.parameters.get(first)
    while parameter is not None and path and parameter.type is Type.OBJECT and parameter.fields:
        parameter = next((field for field in parameter.fields if field.name == path[0]), None)
        path = path[1:]
    return parameter, tuple(path)


def names_of(
    parameters: Mapping[str, Parameter] | tuple[Parameter, ...], at: str = ""
) -> Iterator[tuple[str, Parameter]]:
    """Every dotted name, objects before their members, in the provider's order."""
    for parameter in parameters.values() if isinstance(parameters, Mapping) else parameters:
        yield at + parameter.name, parameter
        if parameter.type is Type.OBJECT:
            yield from names_of(parameter.fields, f"{at}{parameter.name}.")


def nearest(tables: tuple[Table, ...], name: str) -> str | None:
    """The known name that an unknown name most likely means: another form's name for it, or a similar spelling."""
    for table in tables:
        if table.renamed and name in table.renamed:
            return table.renamed[name]
    known = [path for table in tables for path, parameter in names_of(table.parameters) if not parameter.instead]
    last = name.rpartition(".")[2].lower()
    same = [path for path in known if path.lower() == name.lower()] or [
        path for path in known if path.rpartition(".")[2].lower() == last
    ]
    alike = same or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not alike:
        by_last = {path.rpartition(".")[2]: path for path in reversed(known)}
        alike = [by_last[found] for found in difflib.get_close_matches(name.rpartition(".")[2], by_last, n=1)]
    return alike[0] if alike else None
