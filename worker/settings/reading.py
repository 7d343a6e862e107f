"""First pass over the parsed file: what the environment sets, unknown keys, and references to the environment and to
files.

ONBOARDING__SECTION__KEY in the environment overrides the file: ONBOARDING__ACCOUNTS__KYC-EU__CONCURRENCY=20. Names
match in any case, and `_` also matches `-`, which a shell does not allow in names. A key that holds text uses the value
unchanged; other keys read it as TOML or JSON: 20, true, ["20/second"]. A key that accepts one secret or several accepts
both: the value unchanged, or a list.
"""

import json
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, get_origin

from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import NOT_INSTALLED, hint
from onboarding_worker.settings.model import whole_model
from onboarding_worker.settings.needs import Needs, is_needed
from onboarding_worker.settings.problems import Findings, Path, nearest
from onboarding_worker.settings.secrets import Missing, Referenced
from onboarding_worker.settings.shape import Tables, bare, is_lazy, is_too_deep, keys_of, tables_of
from onboarding_worker.settings.values import Section

PREFIX = "ONBOARDING__"
MOST_HOMES = 3  # of an unknown key's name; a name that more tables have says little
SOURCES = frozenset({"command", "vault"})  # of keys that are wrapped: `key_sources`


def apply_overrides(tree: dict[str, Any], environ: Mapping[str, str]) -> dict[Path, str]:
    """Put the environment's values into the tree. Returns the variable of each key that was set."""
    origins: dict[Path, str] = {}
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX):
            continue
        path, annotation = _find(variable[len(PREFIX) :].split("__"), tree)
        at = tree
        for name in path[:-1]:
            if not isinstance(at.get(name), dict):
                at[name] = {}
            at = at[name]
        at[path[-1]] = _interpret(environ[variable], annotation)
        origins[path] = variable
    return origins


def _find(parts: list[str], tree: Any) -> tuple[tuple[str, ...], Any]:
    """The key that a variable's parts name, and its type. A part that matches no key stays unchanged."""
    path: list[str] = []
    annotation: Any = whole_model()
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
            tables, annotation = Tables("one", tables.model), tables.model
        else:  # a plain table, whose keys (parameters) keep their case
            name = _match(part, table) or part
            tables, annotation = None, Any
        path.append(name)
        tree = table.get(name)
    return tuple(path), annotation


def _match(part: str, names: Iterable[str]) -> str | None:
    known = {name.lower(): name for name in names}
    spelled = {name.replace("-", "_"): original for name, original in known.items()}
    return known.get(part.lower()) or spelled.get(part.lower().replace("-", "_"))


def _interpret(text: str, annotation: Any) -> Any:
    kind = bare(annotation)
    # One secret without a list: a secret of digits must not be read as a number.
    form = {dict: dict, Mapping: dict, tuple: list}.get(get_origin(kind))
    if form is None and kind not in (bool, int, Any) and tables_of(annotation) is None:
        return Referenced(text)
    literal = _literal(text)
    return _from_environment(literal if form is None or isinstance(literal, form) else text)


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


class Unresolved:
    """Replaces a reference that could not be resolved and was reported. No type accepts this value."""


@dataclass(eq=False)
class Reader:
    """Resolves references. `owner`: the configuration's. `needs`, `own_keys`: what must have a value, as `is_needed`
    says."""

    environ: Mapping[str, str]
    owner: int
    findings: Findings
    needs: Needs
    _: KW_ONLY
    own_keys: Collection[str]

    def table(self, given: Any, model: type[Section], path: Path = ()) -> Any:
        """The table with its references resolved. Unknown keys are reported and left out."""
        if not isinstance(given, dict):
            return given
        keys = keys_of(model)
        table: dict[str, Any] = {}
        for name, value in given.items():
            here = (*path, name)
            if name not in keys:
                is_reference = isinstance(value, dict) and len(value) == 1 and value.keys() <= {"env", "file"}
                if model.named_inside is not None and isinstance(value, dict) and not is_reference:
                    table[name] = self.table(value, model.named_inside, here)
                else:  # a reference is the value of a misspelt key
                    self._unknown(name, keys, given, path)
            elif tables := tables_of(keys[name].annotation):
                table[name] = self._tables(value, tables, here)
            elif get_origin(bare(keys[name].annotation)) in (dict, Mapping) and isinstance(value, dict):
                # A parameter may have the name `file`: only its values are references, not the table itself.
                table[name] = {key: self._read(item, (*here, key)) for key, item in value.items()}
            else:
                table[name] = self._read(value, here, may_be_missing=is_lazy(keys[name]))
        return table

    def _tables(self, value: Any, tables: Tables, path: Path) -> Any:
        match tables.kind, value:
            case "one", _:
                return self.table(value, tables.model, path)
            case "named", dict():
                return {name: self.table(item, tables.model, (*path, name)) for name, item in value.items()}
            case "listed", list():
                return [self.table(item, tables.model, (*path, index)) for index, item in enumerate(value)]
        return value

    def _unknown(self, name: str, keys: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> None:
        if not path and name in shipped.SECTIONS:
            self.findings.problem((name,), NOT_INSTALLED)
            return
        meant = nearest(name, keys)
        if meant is None:
            form = {"one": "[{}]", "named": "[{}.NAME]", "listed": "[[{}]]"}
            tables = [(heading, tables_of(key.annotation)) for heading, key in keys_of(whole_model()).items()]
            homes = [form[one.kind].format(heading) for heading, one in tables if one and name in keys_of(one.model)]
            expected = f"expected one of {', '.join(keys)}" if keys else "the table has no keys"
            elsewhere = f"it is a key of {', '.join(homes)}" if 0 < len(homes) <= MOST_HOMES else expected
            self.findings.problem((*path, name), f"unknown key; {elsewhere}")
            return
        self.findings.problem((*path, name), f"unknown key; did you mean `{meant}`?")
        if meant not in given:  # the missing key and the unknown key are one mistake
            self.findings.explained.add((*path, meant))

    def _read(self, value: Any, path: Path, *, may_be_missing: bool = False, private: bool = False) -> Any:
        """The value with every reference in it resolved. `may_be_missing`: its type takes `Missing`, because it is a
        secret or may hold one. `private`: it is one."""
        read = partial(self._read, may_be_missing=may_be_missing, private=private)
        match value:
            case {"env": str(name)} | {"file": str(name)} if len(value) == 1:
                of_file = "file" in value
                self.findings.references[path] = f"the {'file' if of_file else 'environment variable'} {_name(name)}"
                found = self._from_file(name, private or may_be_missing) if of_file else self._from_variable(name, path)
                if isinstance(found, Referenced):
                    return found
                if may_be_missing and not is_needed(path, self.needs, self.own_keys):
                    return Missing(repr(value), self.findings.line_of(path, found))
                self.findings.problem(path, found)
                return Unresolved()
            case dict() if len(value) == 1 and path[0] == "encryption" and not value.keys().isdisjoint(SOURCES):
                return self._wrapped(value, path)
            case dict():
                return {key: read(item, (*path, key)) for key, item in value.items()}
            case list():
                return [read(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def _wrapped(self, value: dict[str, Any], path: Path) -> Referenced | Missing | Unresolved:
        """The key that a command or another service hands out. It is asked only where the key is needed."""
        ((kind, given),) = value.items()
        self.findings.references[path] = f"the {kind} of its reference"
        if not is_needed(path, self.needs, self.own_keys):
            return Missing(repr(value), self.findings.line_of(path, f"this command asks no {kind} for the key"))
        given = self._read(given, (*path, kind), private=True)
        if isinstance(given, dict) and any(isinstance(item, Unresolved) for item in given.values()):
            return Unresolved()
        from onboarding_worker.settings.key_sources import from_command, from_vault  # here: HTTP, which few need

        try:
            if kind == "vault":
                return Referenced(from_vault(given))
            return Referenced(from_command(given, self.findings.directory, self.owner, self.environ))
        except ValueError as error:
            self.findings.problem(path, str(error))
            return Unresolved()

    def _from_variable(self, name: str, path: Path) -> Referenced | str:
        """The value, or the problem as a plain text."""
        text = self.environ.get(name)
        if text:
            return Referenced(text)
        state = "is empty" if text is not None else "is not set"
        prints = hint("keys", "; `onboard keys new` prints a new key") if path[0] == "encryption" else ""
        return f"the environment variable {_name(name)} {state}{prints}"

    def _from_file(self, name: str, private: bool) -> Referenced | str:
        shown = _name(name)
        try:
            value = Referenced.from_file(self.findings.directory / name, owner=self.owner)
        except FileNotFoundError:
            return f"no file {shown} (a relative path starts from the configuration's directory)"
        except OSError as error:
            return f"the file {shown} cannot be read: {error.strerror or 'unknown reason'}"
        except ValueError as error:
            return f"the file {shown} {error}" if "\0" not in name else f"no file {shown}"
        if why := value.exposed if private else value.changed:
            return f"the file {shown} {why}"
        return value or f"the file {shown} is empty"


def _name(text: str) -> str:
    """A variable's or file's name on one line."""
    return text if text.isprintable() else ascii(text)
