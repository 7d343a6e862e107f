"""ONBOARDING__SECTION__KEY in the environment overrides the file: ONBOARDING__ACCOUNTS__KYC-EU__CONCURRENCY=20.

Names match in any case, and `_` also matches `-`, which a shell does not allow in names. A key that holds text uses
the value unchanged; other keys read it as TOML or JSON: 20, true, ["20/second"]. A key that accepts one secret or
several accepts both: the value unchanged, or a list.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from worker.settings.problems import Path
from worker.settings.secrets import Referenced
from worker.settings.shape import Tables, is_list, is_mapping, is_text, is_too_deep, keys_of, tables_of
from worker.settings.values import Section

PREFIX = "ONBOARDING__"


def apply_overrides(tree: dict[str, Any], model: type[Section], environ: Mapping[str, str]) -> dict[Path, str]:
    """Put the environment's values into the tree. Returns the variable of each key that was set."""
    origins: dict[Path, str] = {}
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX):
            continue
        path, annotation = _find(variable[len(PREFIX) :].split("__"), tree, model)
        if path:
            _put(tree, path, _interpret(environ[variable], annotation))
            origins[path] = variable
    return origins


def _find(parts: list[str], tree: Any, annotation: Any) -> tuple[Path, Any]:
    """The key that a variable's parts name, and its type. A part that matches no key stays unchanged."""
    path: list[str] = []
    tables: Tables | None = Tables("one", annotation)
    for part in parts:
        table = tree if isinstance(tree, dict) else {}
        if tables is not None and tables.kind == "one":
            keys = keys_of(tables.model)
            name = _match(part, keys) or part.lower()
            inside = tables.model.named_inside
            if name not in keys and inside is not None:
                name = _match(part, table) or name
                tables, annotation = Tables("one", inside), inside
            else:
                annotation = keys[name].annotation if name in keys else Any
                tables = tables_of(annotation)
        elif tables is not None and tables.kind == "named":
            name = _match(part, table) or part.lower()
            tables = Tables("one", tables.model)
            annotation = tables.model
        else:  # a plain table, whose keys (parameters) keep their case
            name = _match(part, table) or part
            annotation = Any
            tables = None
        path.append(name)
        tree = table.get(name)
    return tuple(path), annotation


def _match(part: str, names: Iterable[str]) -> str | None:
    known = {name.lower(): name for name in names}
    spelled = {name.replace("-", "_"): original for name, original in known.items()}
    return known.get(part.lower()) or spelled.get(part.lower().replace("-", "_"))


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        inner = tree.get(str(name))
        if not isinstance(inner, dict):
            inner = tree[str(name)] = {}
        tree = inner
    tree[str(path[-1])] = value


def _interpret(text: str, annotation: Any) -> Any:
    if is_text(annotation) and tables_of(annotation) is None:
        return Referenced(text)
    literal = _literal(text)
    if is_mapping(annotation) and not isinstance(literal, dict):
        literal = text
    if is_list(annotation) and not isinstance(literal, list):
        literal = text  # one secret without a list: a secret of digits must not be read as a number
    return _from_environment(literal)


def _literal(text: str) -> Any:
    for read in (_toml, json.loads):
        try:
            found = read(text)
        except (ValueError, RecursionError):
            continue
        if not is_too_deep(found):
            return found
    return text


def _toml(text: str) -> Any:
    parsed = tomllib.loads(f"value = {text}")
    if parsed.keys() != {"value"}:  # a line break in the text could have added keys
        raise ValueError
    return parsed["value"]


def _from_environment(value: Any) -> Any:
    """The value with its strings marked as Referenced: they were not written in the configuration itself."""
    match value:
        case str():
            return Referenced(value)
        case list():
            return [_from_environment(item) for item in value]
        case {"env": str()} | {"file": str()} | {"vault": dict()} if len(value) == 1:
            return value
        case dict():
            return {name: _from_environment(item) for name, item in value.items()}
    return value
