"""First pass over the parsed file: unknown keys, and references to the environment and to files."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path as FilePath
from typing import Any

from worker.core import shipped
from worker.core.features import NOT_INSTALLED, hint
from worker.settings.needs import Needs, is_needed
from worker.settings.problems import Findings, Path, nearest
from worker.settings.secrets import Missing, Referenced
from worker.settings.shape import Tables, homes_of, is_lazy, is_mapping, keys_of, tables_of
from worker.settings.values import Section

MOST_HOMES = 3  # of an unknown key's name; a name that more tables have says little

SOURCES = frozenset({"command", "vault"})  # of keys that are wrapped: `key_sources`


class Unresolved:
    """Replaces a reference that could not be resolved and was reported. No type accepts this value."""


def read_table(given: Any, model: type[Section], path: Path, *, reader: "Reader") -> Any:
    """The table with its references resolved. Unknown keys are reported and left out."""
    if not isinstance(given, dict):
        return given
    keys = keys_of(model)
    table: dict[str, Any] = {}
    for name, value in given.items():
        here = (*path, name)
        if name not in keys and model.named_inside is not None and _is_table(value):
            table[name] = read_table(value, model.named_inside, here, reader=reader)
            continue
        if name not in keys:
            reader.unknown(name, keys, given, path)
            continue
        tables = tables_of(keys[name].annotation)
        if tables:
            table[name] = _read_tables(value, tables, here, reader)
        elif is_mapping(keys[name].annotation) and isinstance(value, dict):
            # A parameter may have the name `file`: only its values are references, not the table itself.
            table[name] = {key: reader.read(item, (*here, key)) for key, item in value.items()}
        else:
            table[name] = reader.read(value, here, may_be_missing=is_lazy(keys[name]))
    return table


def _is_table(value: Any) -> bool:
    """Whether it is a table, and no reference: that is the value of a misspelt key."""
    return isinstance(value, dict) and not (len(value) == 1 and value.keys() <= {"env", "file"})


def _read_tables(value: Any, tables: Tables, path: Path, reader: "Reader") -> Any:
    if tables.kind == "one":
        return read_table(value, tables.model, path, reader=reader)
    if tables.kind == "named" and isinstance(value, dict):
        return {name: read_table(item, tables.model, (*path, name), reader=reader) for name, item in value.items()}
    if tables.kind == "listed" and isinstance(value, list):
        return [read_table(item, tables.model, (*path, index), reader=reader) for index, item in enumerate(value)]
    return value


@dataclass(eq=False)
class Reader:
    """Resolves references. Relative file paths start from `directory`; `owner`: the configuration's. `needs`,
    `own_keys`: what must have a value, as `is_needed` says. `root`: the model of the whole configuration."""

    environ: Mapping[str, str]
    directory: FilePath
    owner: int
    findings: Findings
    needs: Needs
    _: KW_ONLY
    own_keys: Collection[str]
    root: type[Section]

    def unknown(self, name: str, keys: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> None:
        if not path and name in shipped.SECTIONS:
            self.findings.problem((name,), NOT_INSTALLED)
            return
        meant = nearest(name, keys)
        if meant is None:
            homes = homes_of(name, self.root)
            elsewhere = f"it is a key of {', '.join(homes)}" if 0 < len(homes) <= MOST_HOMES else _expected(keys)
            self.findings.problem((*path, name), f"unknown key; {elsewhere}")
            return
        self.findings.problem((*path, name), f"unknown key; did you mean `{meant}`?")
        if meant not in given:  # the missing key and the unknown key are one mistake
            self.findings.explained.add((*path, meant))

    def read(self, value: Any, path: Path, *, may_be_missing: bool = False, private: bool = False) -> Any:
        """The value with every reference in it resolved. `may_be_missing`: its type takes `Missing`, because it is a
        secret or may hold one. `private`: it is one."""
        match value:
            case {"env": str(name)} if len(value) == 1:
                return self._resolved(self._from_environment(name, path), value, path, may_be_missing)
            case {"file": str(name)} if len(value) == 1:
                return self._resolved(self._from_file(name, private or may_be_missing), value, path, may_be_missing)
            case dict() if len(value) == 1 and path[0] == "encryption" and not value.keys().isdisjoint(SOURCES):
                return self._wrapped(value, path)
            case dict():
                return {
                    key: self.read(item, (*path, key), may_be_missing=may_be_missing, private=private)
                    for key, item in value.items()
                }
            case list():
                return [
                    self.read(item, (*path, index), may_be_missing=may_be_missing, private=private)
                    for index, item in enumerate(value)
                ]
        return value

    def _wrapped(self, value: dict[str, Any], path: Path) -> Referenced | Missing | Unresolved:
        """The key that a command or another service hands out. It is asked only where the key is needed."""
        ((kind, given),) = value.items()
        self.findings.references[path] = f"the {kind} of its reference"
        if not is_needed(path, self.needs, self.own_keys):
            return Missing(repr(value), self.findings.line_of(path, f"this command asks no {kind} for the key"))
        given = self.read(given, (*path, kind), private=True)
        if isinstance(given, dict) and any(isinstance(item, Unresolved) for item in given.values()):
            return Unresolved()
        from worker.settings.key_sources import from_command, from_vault  # imported here: HTTP, which few need

        try:
            if kind == "vault":
                return Referenced(from_vault(given))
            return Referenced(from_command(given, self.directory, self.owner, self.environ))
        except ValueError as error:
            self.findings.problem(path, str(error))
            return Unresolved()

    def _resolved(
        self, found: Referenced | str, value: dict[str, str], path: Path, may_be_missing: bool
    ) -> Referenced | Missing | Unresolved:
        """The value, or what replaces it. `found`: the value, or the problem as a plain text."""
        for kind, name in value.items():
            self.findings.references[path] = f"the {'environment variable' if kind == 'env' else kind} {_name(name)}"
        if isinstance(found, Referenced):
            return found
        if may_be_missing and not is_needed(path, self.needs, self.own_keys):
            return Missing(repr(value), self.findings.line_of(path, found))
        self.findings.problem(path, found)
        return Unresolved()

    def _from_environment(self, name: str, path: Path) -> Referenced | str:
        text = self.environ.get(name)
        if text:
            return Referenced(text)
        state = "is empty" if text is not None else "is not set"
        prints = hint("keys", "; `onboard keys new` prints a new key") if path[0] == "encryption" else ""
        return f"the environment variable {_name(name)} {state}{prints}"

    def _from_file(self, name: str, private: bool) -> Referenced | str:
        shown = _name(name)
        try:
            value = Referenced.from_file(self.directory / name, owner=self.owner)
        except FileNotFoundError:
            return f"no file {shown} (a relative path starts from the configuration's directory)"
        except OSError as error:
            return f"the file {shown} cannot be read: {error.strerror or 'unknown reason'}"
        except ValueError as error:
            return f"the file {shown} {error}" if "\0" not in name else f"no file {shown}"
        if why := value.exposed if private else value.changed:
            return f"the file {shown} {why}"
        return value or f"the file {shown} is empty"


def _expected(keys: Iterable[str]) -> str:
    listed = ", ".join(keys)
    return f"expected one of {listed}" if listed else "the table has no keys"


def _name(text: str) -> str:
    """A variable's or file's name on one line."""
    return text if text.isprintable() else ascii(text)
