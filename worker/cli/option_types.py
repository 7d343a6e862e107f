"""Options whose text is read by a function of ours."""

from collections.abc import Callable
from typing import Any

import click


class Read(click.ParamType[Any]):
    """An option's text, read by a function that says in its ValueError what it expects."""

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
            self.fail(str(error) if self._secret else f"{value!r}: {error}", param, ctx)
