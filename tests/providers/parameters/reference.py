"""Generates docs/providers/parameters.md from the tables: `python -m tests.providers.parameters.reference`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from onboarding_worker.providers.facts import PROVIDERS
from onboarding_worker.providers.parameters import Table, find, names_of, tables_of
from onboarding_worker.providers.parameters.effects import Effect
from onboarding_worker.providers.values import Parameter, Type

PAGE = Path("docs/providers/parameters.md")
HEAD = """# Parameters, endpoint by endpoint

Every field that a request can have, unless it is **not given**: for an account (`[accounts.NAME.parameters]`), or for
one row in a column `PROVIDER.PARAMETER`, with dots for nested fields, whose value takes the place of the account's
[where the row may set it](#what-a-row-may-set). Fields that a provider has added since go to
`[accounts.NAME.unchecked]`, which no row can set, and are sent unchanged.

In a list's cell, write `true` or `false`; numbers; items of a list with `;` between them; objects and lists of objects
as JSON; and `null` where the table allows it. An empty cell is not sent, nor is the null of a JSON list or an event,
unless the table says what null means.

A text's bounds are in characters, a list's are those of each item. An "object" has the fields whose names begin with
its own; "objects" are a list of them. "Setting": the default is the account's setting at iDenfy. "sent": what is sent
if no value is given, mostly a column of the list; else nothing. The fields of `entity.organisationData` are left out:
`frankieone-v1` refuses companies. This page is generated.

## What a row may set

A row sets the customer's own data, names, languages and lifetimes. The parameters of the tables "needs a right" below
name an address (where the customer or the result goes) or can weaken the check; a parameter that no table has counts as
such. They come from `[accounts.NAME.parameters]` alone, unless both list them:

    [accounts.kyc]
    per_row = ["documents", "account"]        # as in [accounts.kyc.parameters]; `account`: rows may name this account
    [rights]                                  # as columns; of each origin, nothing by default
    lists = ["idenfy-kyc.documents", "account"]
    senders = { signup = ["idenfy-kyc.documents"] }

- [`[rights]`](../reference/configuration.md#rights) has each origin of rows: events by their sender (over HTTP, the bus
  and Celery), your own Python code, folders, uploads, reports that come back, and lists that are given to a command.
  The service desk sets no column. What a row of ours makes of another, such as a new session, has the origin of that
  one.
- A row that may not is rejected, with the column; a value is never left out. An object that is listed gives its
  members. A fallback account that may not get the row's values does not take it over.
- A row that is here already is judged again before each call. One that may not waits as `right_missing`, and `status`
  names its account. It goes on when the configuration gives the right and a process starts, or 15 minutes later at the
  latest. Rows from before this table: `earlier`.
- `check`, `run`'s question, the page of an uploaded list, `status BATCH` and the report count the rows that set each.
"""
SHORT = {"the iDenfy account's setting": "Setting", "required": "required", "required by the document": "required"}
# FrankieOne v1 serves persons alone: the fields of a company are checked if they are given, but no list needs them.
LEFT_OUT = "entity.organisationData."
TITLES = {"narrative": ", narrative form (the default)", "openapi": ', openapi form (`dialect = "openapi"`)'}


def parameters_of(provider: str, dialect: str = "") -> Mapping[str, Parameter]:
    """The parameters by name, of the given form or of the provider's default form; empty for an unknown provider."""
    tables = tables_of(provider, dialect)
    return tables[0].parameters if tables else {}


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    for provider in PROVIDERS.built_in:
        for table in tables_of(provider):
            lines = [
                f"## `{provider}`{TITLES.get(table.dialect, '')}",
                "",
                "| parameters | type and bounds; the default there; what is sent |",
                "|---|---|",
            ]
            shared: dict[str, list[str]] = {}
            for name, parameter in names_of(table.parameters):
                if not name.startswith(LEFT_OUT):
                    shared.setdefault(_facts(parameter), []).append(name)
            lines += [_line(names, facts) for facts, names in shared.items()]
            lines += ["", "| needs a right | what it can do, by the provider's page |", "|---|---|"]
            lines += [_line(names, facts) for facts, names in _guarded(table).items()]
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _guarded(table: Table) -> dict[str, list[str]]:
    """The parameters that need a right, by what they can do; those that cannot be given are left out."""
    found: dict[str, list[str]] = {}
    for name, (effect, source) in table.effects.items():
        parameter = find(table, name)[0]
        if effect is not Effect.PLAIN and parameter is not None and not parameter.instead:
            found.setdefault(f"{effect}: {source}", []).append(name)
    return found


def _line(names: Iterable[str], facts: str) -> str:
    cells = (", ".join(f"`{name}`" for name in names), facts)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _facts(parameter: Parameter) -> str:
    """The cell that parameters may share."""
    default = SHORT.get(parameter.default) or (parameter.default and f"default: {parameter.default}")
    if instead := parameter.instead.removeprefix("it is filled from the "):
        return f"**not given**: {instead}"
    filled = f"sent: {parameter.filled}" if parameter.filled else ""
    return "; ".join((bounds(parameter), *filter(None, (default, filled))))


def bounds(parameter: Parameter) -> str:
    """The type and every bound, as text."""
    parts = [_types(parameter)]
    parts += [_range(parameter)] if parameter.least is not None or parameter.most is not None else []
    if parameter.ascii:
        parts.append("ASCII")
    if parameter.shape:
        parts.append(("each " if parameter.type is Type.LIST else "") + parameter.shape)
    if parameter.items is not None:
        parts.append(f"at most {parameter.items} items")
    if parameter.texts_only:
        parts.append("`{step: {field: value}}` with texts as values")
    if parameter.nullable:
        parts.append(f"or null{parameter.null and f': {parameter.null}'}")
    if parameter.warn_below is not None:
        parts.append(f"a warning below {parameter.warn_below}")
    if parameter.usual:
        parts.append("a warning for undocumented names")
    return ", ".join(parts) + (f" ({parameter.source})" if parameter.source else "")


def _types(parameter: Parameter) -> str:
    match parameter.type:
        case Type.CHOICE:
            return " or ".join(f"`{choice}`" for choice in parameter.choices)
        case Type.RECORDS:
            return f"objects with {_members(parameter)}"
        case Type.DATE:
            return "a date, YYYY-MM-DD"
        case Type.OBJECT if parameter.fields:
            return "object"
    return " or ".join(parameter.types)


def _members(parameter: Parameter) -> str:
    """The fields of a list's objects, each with its own fields in brackets."""
    inner = (f" ({_members(field)})" if field.fields else "" for field in parameter.fields)
    return ", ".join(f"`{field.name}`{below}" for field, below in zip(parameter.fields, inner, strict=True))


def _range(parameter: Parameter) -> str:
    least, most = parameter.least, parameter.most
    if most is None and least == 1 and parameter.type not in (Type.INTEGER, Type.NUMBER):
        return "not empty"
    if most is None:
        return f"at least {least}"
    return f"at most {most}" if least is None else f"{least} to {most}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
