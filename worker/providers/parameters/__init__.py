"""The providers' documented request parameters and their bounds.

They are given in `[accounts.NAME.parameters]` and in `PROVIDER.PARAMETER` columns of a list. An endpoint's table is in
a module of this package or in its adapter, whose `ENDPOINT` names it. The tables generate docs/providers/parameters.md.

Only iDenfy KYC has two tables: its two documented forms have different names for the same values. A list's columns do
not name the account's form, so without a form it is enough that one of the two has the name.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from onboarding_worker.adapters.bodies import nested
from onboarding_worker.adapters.catalogue import AdapterBroken
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.providers.facts import PROVIDERS
from onboarding_worker.providers.parameters.effects import UNKNOWN, Effects, Said, said_of
from onboarding_worker.providers.values import Parameter, Type

# For so many names the nearest known one is looked for, which takes milliseconds each: a cell may have thousands.
MOST_NEAREST = 20
Findings = Callable[[Mapping[str, Any]], Iterator[tuple[str, str]]]


def nothing(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """No finding: no field of the request depends on another one."""
    yield from ()


@dataclass(frozen=True)
class Table:
    """One endpoint's parameters, what each can do to the check, the combinations that are refused, and those that give
    a warning. `dialect` is the form's name if a provider has several. `renamed` maps another form's names to this
    form's names."""

    parameters: Mapping[str, Parameter]
    effects: Effects = field(default_factory=dict)
    contradictions: Findings = nothing
    warnings: Findings = nothing
    dialect: str = ""
    renamed: Mapping[str, str] | None = None


def by_name(*parameters: Parameter) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters}


def tables_of(provider: str, dialect: str = "") -> tuple[Table, ...]:
    """The table of the given form; all of the provider's tables if no form is given or there is only one table. Empty
    for an unknown provider, and for one whose adapter is broken."""
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


def unknown_parameter(provider: str, name: str, dialect: str = "", *, near: bool = True) -> str | None:
    """Why `PROVIDER.NAME` cannot be given, with the nearest known name if `near`; None if it can. `name` may be "a.b".
    Without a `dialect` (a list's column belongs to no account), it is enough that one of the provider's forms has
    it."""
    tables = tables_of(provider, dialect)
    if not tables:
        return f"no provider has this name; the providers are {', '.join(PROVIDERS)}"
    reasons = [_unknown_to(table, provider, name) for table in tables]
    if None in reasons:
        return None
    reason = next((reason for reason in reasons if reason), "")
    if reason:
        return reason
    meant = nearest(tables, name) if near else None
    suggested = f"; the nearest is {meant}" if meant else ""
    if dialect and unknown_parameter(provider, name, near=False) is None:
        return f"is not known to the {dialect} form of {provider}{suggested}"
    return f"{provider} has no such parameter{suggested}"


def _unknown_to(table: Table, provider: str, name: str) -> str | None:
    """None: the table has the name. "": it does not have it. Any other text: why the name cannot be given."""
    parameter, path = find(table, name)
    if parameter is None:
        return ""
    if parameter.instead:
        return f"cannot be given: {parameter.instead}"
    if path and (parameter.type is not Type.OBJECT or not all(path)):
        whole = name.removesuffix("." + ".".join(path))
        return f"{provider}.{whole} has no such field"
    return None


def parse_cell(provider: str, name: str, text: Any) -> tuple[Any, str | None]:
    """The value of a list's cell, and its problem (never both). An empty cell has a problem; so has null, unless it
    means something at the provider. The parameter's type decides how a text is read: true/false, numbers, `;` between a
    list's items, objects as JSON; null where the provider takes it. A value that is not a text (from JSON) is checked
    unchanged. If several forms have the name, the first form that accepts the value reads it; the account's own form
    checks it later."""
    if problem := unknown_parameter(provider, name):
        return None, problem
    found: str | None = None
    for table in tables_of(provider):
        parameter, path = find(table, name)
        if parameter is not None and _unknown_to(table, provider, name) is None:
            value, problem = _parse(parameter, path, text)
            if problem is None:
                return value, None
            found = found or problem
    return None, found


def _parse(parameter: Parameter, path: tuple[str, ...], text: Any) -> tuple[Any, str | None]:
    if not path:
        return parameter.parse(text)
    # Inside an object whose fields the provider does not define: a JSON object if it looks like one, else a text.
    value, problem = Parameter(path[-1], Type.OBJECT, also=Type.TEXT).parse(text)
    return value, problem or parameter.problem(nested({".".join(path): value}))


def check_parameters(provider: str, values: Mapping[str, Any], dialect: str = "") -> list[FieldProblem]:
    """Every problem of values that would be sent together; empty if there is none. Columns are named `PROVIDER.NAME`.
    Values may be nested or have dotted names. Without a `dialect`, all values must fit the same form of the
    provider."""
    together = nested(values)
    if not together:
        return []
    tables = tables_of(provider, dialect)
    if not tables:
        return [FieldProblem(f"{provider}.{name}", unknown_parameter(provider, name) or "") for name in together]
    found = [(table, _wrong(table, provider, together)) for table in tables]
    table, wrong = min(found, key=lambda one: len(one[1]))
    problems = []
    for place, (name, problem, hint) in enumerate(wrong):
        near = place < MOST_NEAREST
        why = problem or unknown_parameter(provider, name, table.dialect, near=near) or "is not known"
        problems.append(FieldProblem(f"{provider}.{name}", why, hint))
    return problems


def documented_parameters(provider: str, names: Iterable[str], dialect: str = "") -> Mapping[str, Parameter]:
    """The parameters with these documented names, for values of ours. A name may be one that no parameter may fill."""
    found = {name: find(table, name)[0] for table in tables_of(provider, dialect)[:1] for name in names}
    return {name: parameter for name, parameter in found.items() if parameter is not None}


def _wrong(table: Table, provider: str, together: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Dotted name, problem and hint of what does not fit this form; the problem is as of `_problems`."""
    hint = "change or leave out one of the two"
    return [(name, problem, "") for name, problem in _problems(table, provider, together, "")] or [
        (name, problem, hint) for name, problem in table.contradictions(together)
    ]


def _problems(table: Table, provider: str, values: Mapping[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """Dotted name and problem of each value; the problem is "" if the table does not have the name."""
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
    """Warnings about values that are accepted and may be a mistake."""
    together = nested(values)
    found: list[tuple[str, str]] = []
    for table in tables_of(provider, dialect):
        known = ((name, table.parameters[name], value) for name, value in together.items() if name in table.parameters)
        found += [(name, warning) for name, parameter, value in known if (warning := parameter.warning_about(value))]
        found += table.warnings(together)
    return [FieldProblem(f"{provider}.{name}", warning) for name, warning in dict.fromkeys(found)]


def set_by(provider: str, values: Mapping[str, Any], dialect: str = "") -> dict[str, Said]:
    """Each parameter that values would set, by its dotted name, with what it can do to the check. An object with
    documented members is its members, and so is each of a list."""
    tables = tables_of(provider, dialect)[:1]
    table = tables[0] if tables else Table({})

    def each(known: Mapping[str, Parameter], given: Mapping[str, Any], at: str) -> Iterator[tuple[str, Said]]:
        for name, value in given.items():
            members = by_name(*known[name].fields) if name in known else {}
            for one in value if value and isinstance(value, list | tuple) else [value]:
                if members and one and isinstance(one, Mapping):
                    yield from each(members, one, f"{at}{name}.")
                else:
                    yield at + name, said_of(table.effects, at + name) if name in known else UNKNOWN

    return dict(each(table.parameters, nested(values), ""))


def find(table: Table, name: str) -> tuple[Parameter | None, tuple[str, ...]]:
    """The parameter with the dotted name, and the rest of the name inside an object without documented members."""
    first, *path = name.split(".")
    parameter = table.parameters.get(first)
    while parameter is not None and path and parameter.type is Type.OBJECT and parameter.fields:
        parameter = next((field for field in parameter.fields if field.name == path[0]), None)
        path = path[1:]
    return parameter, tuple(path)


def list_around(provider: str, name: str) -> str:
    """The list whose objects have this documented member: only the whole is named in a configuration; "": no list."""
    for table in tables_of(provider):
        parameter, path = find(table, name)
        if path and parameter is not None and parameter.fields:
            return name.removesuffix("." + ".".join(path))
    return ""


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
