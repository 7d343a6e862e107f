"""docker-compose.yml as Compose would see it: variables filled in, merges done."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
# https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Z_]+):-(?P<default>[^${}]*)\})")


def fill_in(text: str, environ: Mapping[str, str]) -> str:
    """${NAME:-default}, the only form that the file uses, from the inside out; then $$. Raises ValueError."""
    before = ""
    while before != text:
        before = text
        text = VARIABLE.sub(lambda it: it[0] if it["escaped"] else environ.get(it["name"]) or it["default"], text)
    if "$" in text.replace("$$", ""):
        raise ValueError(f"not ${{NAME:-default}} and not $$: {text}")
    return text.replace("$$", "$")


def _filled_in(value: Any, environ: Mapping[str, str]) -> Any:
    match value:
        case str():
            return fill_in(value, environ)
        case list():
            return [_filled_in(item, environ) for item in value]
        case dict():
            return {name: _filled_in(item, environ) for name, item in value.items()}
    return value


def compose(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file with this environment."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    return _filled_in(yaml.safe_load(text), environ or {})


def services(environ: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    return compose(environ)["services"]


def ours() -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: service for name, service in services().items() if "build" in service}
