"""What features add to the OpenAPI document."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# What is asked and answered here, for machines; it is in the package.
DESCRIPTION = Path(__file__).with_name("openapi.yaml")
PLACES = {part: f"# {part} of features\n" for part in ("paths", "schemes", "schemas")}


@dataclass(frozen=True, kw_only=True)
class Described:
    """Its lines, as they stand there."""

    paths: str = ""
    schemes: str = ""
    schemas: str = ""


def description(pieces: Iterable[Described]) -> str:
    """The OpenAPI document, with these pieces in it."""
    found, lines = [*pieces], []
    for line in DESCRIPTION.read_text(encoding="utf-8").splitlines(keepends=True):
        part = next((part for part, place in PLACES.items() if line.lstrip() == place), None)
        lines += [line] if part is None else [getattr(one, part) for one in found]
    return "".join(lines)
