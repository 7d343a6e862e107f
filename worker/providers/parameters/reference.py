"""docs/providers/parameters.md, made from the tables; `python -m worker.providers.parameters.reference` writes it."""

from pathlib import Path

from worker.providers.parameters.spec import Parameter, Type
from worker.providers.parameters.tables import TABLES, names_of

PAGE = Path("docs/providers/parameters.md")
HEAD = """# Parameters, endpoint by endpoint

Every field that a request can have. Each can be given for a whole account (`[accounts.NAME.parameters]`) and for
one line (a column `PROVIDER.PARAMETER`, nested ones by dots), unless the last column says **not given**. The line's
value wins over the account's, both over what is filled. What a provider has added since goes to
`[accounts.NAME.unchecked]` and is sent as it is.

In a list's cell: `true` or `false`, numbers, `;` between a list's items, objects and lists of objects as JSON,
`null` where the table says so; an empty cell is not sent. "Filled" is what is sent where nothing is given; a field with
nothing there is sent only when it is given.

Made from the tables in `worker/providers/parameters/`; do not edit by hand.
"""
TITLES = {"narrative": ", narrative form (the default)", "openapi": ', openapi form (`dialect = "openapi"`)'}


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    for provider, tables in TABLES.items():
        for table in tables:
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
    """The type and every bound in words."""
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
        parts.append(f"below {parameter.warn_below} warned of")
    if parameter.usual:
        parts.append("others than documented names warned of")
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
    """The fields of a list's objects, and theirs in brackets."""
    inner = (f" ({_members(field)})" if field.fields else "" for field in parameter.fields)
    return ", ".join(f"`{field.name}`{below}" for field, below in zip(parameter.fields, inner, strict=True))


def _range(parameter: Parameter) -> str:
    least, most = parameter.least, parameter.most
    unit = "" if parameter.type in (Type.INTEGER, Type.NUMBER) else " characters"
    each = "each " if parameter.type is Type.LIST else ""
    if most is None:
        return f"{each}at least {least}{unit}"
    return f"{each}at most {most}{unit}" if least is None else f"{each}{least} to {most}{unit}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
