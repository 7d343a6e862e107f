"""Generates the tables of docs/reference/configuration.md, and those of features on their pages, from the model:
`python -m tests.settings.reference`."""

import re
from datetime import timedelta
from inspect import cleandoc
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.notation import show_duration
from onboarding_worker.core.rules.contact import AddressCap
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.settings.model import Settings, whole_model
from onboarding_worker.settings.shape import SECTIONS, Tables, bare, keys_of, tables_of
from onboarding_worker.settings.tls import PresentsCertificate
from onboarding_worker.settings.values import Shown

DOCS = Path("docs")
START, END = "<!-- keys -->", "<!-- end of keys -->"
OF_TLS = PresentsCertificate.model_fields  # the page says once what they mean


def pages() -> dict[Path, dict[str, FieldInfo]]:
    """The sections of each page, by their names."""
    found = {DOCS / "reference/configuration.md": keys_of(Settings)}
    whole = keys_of(whole_model())
    for one in SECTIONS.offered():
        found.setdefault(DOCS / f"features/{shipped.SECTIONS[one.name]}.md", {})[one.name] = whole[one.name]
    return found


def key_tables(sections: dict[str, FieldInfo]) -> str:
    """Every section with its keys, their values, defaults and meanings, as Markdown."""
    parts = []
    for name, field in sections.items():
        tables = tables_of(field.annotation)
        if tables is None:
            continue
        parts += _sections(name, field, tables)
    return "\n\n".join(parts)


def _sections(name: str, field: FieldInfo, tables: Tables, shown: tuple[str, ...] = ()) -> list[str]:
    """The section, and after it the tables in it. Lines that were `shown` for the section above are named alone."""
    heading = {"one": f"[{name}]", "named": f"[{name}.NAME]", "listed": f"[[{name}]]"}[tables.kind]
    optional = "" if field.is_required() else " Optional."
    about = cleandoc(tables.model.__doc__ or "").split(" `name` is its key")[0].strip()
    rows: list[str] = []
    inside: list[str] = []
    same: list[str] = []
    for key, inner in keys_of(tables.model).items():
        if found := tables_of(inner.annotation):
            inside += _sections(f"{name}.{key}", inner, found)
        elif (line := _line(key, inner)) in shown:
            same.append(f"`{key}`")
        elif key not in OF_TLS:
            rows.append(line)
    if tables.kind == "one" and tables.model.named_inside is not None:
        inside += _sections(name, field, Tables("named", tables.model.named_inside), tuple(rows))
    table = ["", "| key | value, **default** | meaning |", "|---|---|---|", *rows] if rows else []
    of_tls = [f"`{key}`" for key in OF_TLS if key in tables.model.model_fields]
    more = ["", f"Also {', '.join(of_tls)}: [TLS](../reference/configuration.md#tls)."] if of_tls else []
    more += ["", f"Also {', '.join(same)}, as in `[{name}]`."] if same else []
    return ["\n".join([f"### `{heading}`", "", about + optional, *table, *more]), *inside]


def page_with_tables(page: str, sections: dict[str, FieldInfo]) -> str:
    """The page with its tables replaced by the current ones."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{key_tables(sections)}\n\n{END}{after}"


def _line(key: str, field: FieldInfo) -> str:
    cells = (f"`{key}`", _taken(_type(field.annotation, field.metadata), field), field.description or "")
    return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in cells) + " |"


def _taken(kind: str, field: FieldInfo) -> str:
    """What the key takes. The model's own default is written as in the file, and so shows its kind by itself."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        words = str(extra["default"])
        return kind.replace(words, f"**{words}**", 1) if words in kind else f"{kind}, **{words}**"
    if field.is_required():
        return f"{kind}, needed"
    default = _value(field.get_default(call_default_factory=True, validated_data={}))
    if default in kind:
        return kind.replace(default, f"**{default}**", 1) if default else kind
    return f"**{default}**"


def _type(annotation: Any, metadata: list[Any]) -> str:
    shown = next((mark.text for mark in metadata if isinstance(mark, Shown)), None)
    if shown:
        return shown
    kind = bare(annotation)
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        if get_origin(bare(inner)) is Literal:
            return "list of " + ", ".join(f'`"{choice}"`' for choice in get_args(bare(inner)))
        one = _type(inner, list(getattr(inner, "__metadata__", ())))
        return f"list of {one}{'es' if one.endswith('s') else 's'}"
    if get_origin(kind) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(kind))
    if get_args(annotation):  # X | None is shown as X
        inner = next(part for part in get_args(annotation) if part is not type(None))
        return _type(inner, list(getattr(inner, "__metadata__", ())))
    return "secret" if getattr(kind, "__name__", "") == "Secret" else "string"


def _value(value: Any) -> str:
    match value:
        case None | {} | ():
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case timedelta():
            return f'`"{show_duration(value)}"`'
        case tuple():
            return "`[" + ", ".join(_value(item).strip("`") for item in value) + "]`"
        case AddressCap():
            return f'`"{value.messages} / {show_duration(value.period)}"`'
        case Limit() | str():
            return f'`"{value}"`'
    return f"`{value}`"


if __name__ == "__main__":
    for page, sections in pages().items():
        page.write_text(page_with_tables(page.read_text(encoding="utf-8"), sections), encoding="utf-8")
