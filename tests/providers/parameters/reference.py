"""Generates docs/providers/parameters.md from the tables: `python -m tests.providers.parameters.reference`."""

from pathlib import Path

from worker.providers.facts import PROVIDERS
from worker.providers.parameters import names_of, tables_of
from worker.providers.parameters.spec import Parameter, Type

PAGE = Path("docs/providers/parameters.md")
HEAD = """# Parameters, endpoint by endpoint

This page lists every field that a request can have. A field can be given for a whole account
(`[accounts.NAME.parameters]`) and for one line (a column `PROVIDER.PARAMETER`, with dots for nested fields), unless the
last column says **not given**. The line's value wins over the account's value. Both win over the filled value. Fields
that a provider has added since go to `[accounts.NAME.unchecked]` and are sent unchanged.

In a list's cell, write `true` or `false`; numbers; items of a list with `;` between them; objects and lists of objects
as JSON; and `null` if the table allows it. An empty cell is not sent. The column "filled from" says what is sent if no
value is given. If it is empty, the field is sent only when a value is given.

The tables in `worker/providers/parameters/` generate this page; do not edit it by hand.
"""
TITLES = {"narrative": ", narrative form (the default)", "openapi": ', openapi form (`dialect = "openapi"`)'}


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    for provider in PROVIDERS.built_in:
        for table in tables_of(provider):
            lines = [
                f"## `{provider}`{TITLES.get(table.dialect, '')}",
                "",
                "| parameter | type and bounds | the provider's default | filled from |",
                "|---|---|---|---|",
            ]
            lines += [_line(name, parameter) for name, parameter in names_of(table.parameters)]
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(name: str, parameter: Parameter) -> str:
    filled = f"**not given**: {parameter.instead}" if parameter.instead else parameter.filled
    cells = (f"`{name}`", bounds(parameter), parameter.default, filled)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


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
        parts.append("or null")
    if parameter.warn_below is not None:
        parts.append(f"a warning below {parameter.warn_below}")
    if parameter.usual:
        parts.append("a warning for names that are not documented")
    return ", ".join(parts) + (f" ({parameter.source})" if parameter.source else "")


def _types(parameter: Parameter) -> str:
    match parameter.type:
        case Type.CHOICE:
            return " or ".join(f"`{choice}`" for choice in parameter.choices)
        case Type.RECORDS:
            return f"a list of JSON objects with {_members(parameter)}"
        case Type.DATE:
            return "a date, YYYY-MM-DD"
        case Type.OBJECT if parameter.fields:
            return "a JSON object of the fields below"
    return " or ".join(parameter.types)


def _members(parameter: Parameter) -> str:
    """The fields of a list's objects, each with its own fields in brackets."""
    inner = (f" ({_members(field)})" if field.fields else "" for field in parameter.fields)
    return ", ".join(f"`{field.name}`{below}" for field, below in zip(parameter.fields, inner, strict=True))


def _range(parameter: Parameter) -> str:
    least, most = parameter.least, parameter.most
    unit = "" if parameter.type in (Type.INTEGER, Type.NUMBER) else " characters"
    unit = unit.removesuffix("s") if most is None and least == 1 else unit
    each = "each " if parameter.type is Type.LIST else ""
    if most is None:
        return f"{each}at least {least}{unit}"
    return f"{each}at most {most}{unit}" if least is None else f"{each}{least} to {most}{unit}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
