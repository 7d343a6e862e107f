"""Option types that a function reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

SHOWN = 60  # characters of a value in an error: a list of rows may be long


class Read(click.ParamType[Any]):
    """An option's type, read by a function; the text of its ValueError says what is expected."""

    def __init__(self, name: str, parse: Callable[[str], Any], *, secret: bool = False) -> None:
        self.name = name
        self._parse = parse
        self._secret = secret

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            shown = repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}…"
            self.fail(str(error) if self._secret else f"{shown}: {error}", param, ctx)


class Named(click.Path):
    """A file to write, beside what the command prints. A dash is refused: it is standard output
    elsewhere, and a file of this name would surprise its owner."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value) == "-":
            self.fail("- is standard output, which has what the command prints: give a name", param, ctx)
        return super().convert(value, param, ctx)
