"""The problems of a configuration: one line for each, with its key and never with a value."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

Path = tuple[str | int, ...]


class SettingsError(Exception):
    """The configuration cannot be used. `problems` are lines for people, without values."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass
class Findings:
    """Collects problems and warnings, so that a person sees all of them at once."""

    directory: FilePath  # the configuration's: relative paths start from it
    origins: Mapping[Path, str]  # the keys that the environment has set, each with its variable
    references: dict[Path, str] = field(default_factory=dict)  # the keys that were resolved, each with where from
    problems: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    explained: set[Path] = field(default_factory=set)

    def problem(self, path: Path, message: str) -> None:
        self.problems.append((path, message))
        self.explained.add(path)

    def consequence(self, path: Path, message: str) -> None:
        """Add a problem, unless there is one at or below this key already: one mistake gives one line."""
        if not any(known[: len(path)] == path for known in self.explained):
            self.problem(path, message)

    def warn(self, path: Path, message: str) -> None:
        self.warnings.append(self.line_of(path, message))

    @property
    def lines(self) -> list[str]:
        return [self.line_of(path, message) for path, message in self.problems]

    @property
    def sources(self) -> dict[str, str]:
        """Where the values of keys came from, by the keys' names: a reference, or a variable of the environment."""
        return {".".join(map(str, path)): source for path, source in (*self.references.items(), *self.origins.items())}

    def line_of(self, path: Path, message: str) -> str:
        variable = next((name for set_path, name in self.origins.items() if path[: len(set_path)] == set_path), None)
        line = f"{show_path(path)}: {message}" + (f" (set by {variable})" if variable else "")
        # Keys are foreign text: a line break or an escape code in a key must not reach a terminal.
        return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)


def show_path(path: Path) -> str:
    """The path as text, such as accounts.kyc-eu.limits[1]. Lists count from 1; unusual keys are quoted as in TOML."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part + 1}]"
        else:
            plain = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            shown += ("." if shown else "") + (part if plain else json.dumps(part, ensure_ascii=False))
    return shown


def nearest(given: Any, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; None if no name is similar."""
    if not isinstance(given, str):
        return None
    names = {name.lower(): name for name in known}
    if swapped := [name for name in names if sorted(name) == sorted(given.lower())]:
        return names[swapped[0]]
    close = difflib.get_close_matches(given.lower().replace("-", "_"), names, n=1, cutoff=0.6)
    close = close or difflib.get_close_matches(given.lower(), names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def suggestion(given: Any, known: Iterable[str]) -> str:
    names = sorted(known)
    meant = nearest(given, names)
    if meant:
        return f"; did you mean `{meant}`?"
    return f"; expected one of {', '.join(names)}" if names else ""
