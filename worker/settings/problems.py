"""The problems of a configuration: one line for each, with its key and never with a value."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path as FilePath
from typing import Any

from pydantic_core import ErrorDetails

from worker.core.foundation.notation import counted, show_duration

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


def explain(error: ErrorDetails, shown: str) -> str:
    """The text for pydantic's error. `shown` is the type's name, for a missing key."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(limits["error"])
        case "missing":
            return f"missing, and needed: {shown}"
        case "literal_error":
            choices = re.findall(r"'([^']*)'", limits["expected"])
            meant = nearest(error["input"], choices)
            return f"expected one of {', '.join(choices)}" + (f"; did you mean `{meant}`?" if meant else "")
        case "greater_than_equal":
            return f"expected at least {_bound(limits['ge'])}"
        case "less_than_equal":
            return f"expected at most {_bound(limits['le'])}"
        case "too_short" | "string_too_short" as kind:
            return f"expected at least {counted(limits['min_length'], _COUNTED[kind])}"
        case "too_long" | "string_too_long" as kind:
            return f"expected at most {counted(limits['max_length'], _COUNTED[kind])}"
        case "string_pattern_mismatch":
            return f"expected text of the form {limits['pattern']}"
        case kind:
            return _EXPECTED.get(kind, f"not accepted ({kind})")


_COUNTED = {"too_short": "item", "too_long": "item", "string_too_short": "character", "string_too_long": "character"}
_EXPECTED = {
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), "expected a whole number"),
    **dict.fromkeys(("tuple_type", "list_type"), "expected a list: [ … ]"),
    **dict.fromkeys(("dict_type", "model_type", "mapping_type"), "expected a table"),
    **{"bool_type": "expected true or false", "string_type": "expected a string"},
}


def _bound(value: Any) -> str:
    """A bound as the file would have it. Pydantic gives that of a duration as such, or in one of two forms of text."""
    if isinstance(value, timedelta):
        return f'"{show_duration(value)}"'
    parts = {found["unit"] or found["units"]: found for found in _DURATION.finditer(str(value))}
    span = timedelta(**{f"{unit}s": int(one["number"] or one["count"]) for unit, one in parts.items()})
    return f'"{show_duration(span)}"' if span else str(value)


_UNIT = "day|hour|minute|second|millisecond|microsecond"
# "datetime.timedelta(days=90)", or "500000 microseconds"
_DURATION = re.compile(rf"(?P<units>{_UNIT})s=(?P<count>\d+)|(?P<number>\d+) (?P<unit>{_UNIT})s?")
