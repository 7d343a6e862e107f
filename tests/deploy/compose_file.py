"""docker-compose.yml as Compose would see it: variables filled in, merges done."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
# https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Z_]+):(?P<kind>[-?])(?P<rest>[^${}]*)\})")
# What `make images` writes into .env, with invented digests.
IMAGES = {
    name: f"{image}@sha256:{index:064x}"
    for index, (name, image) in enumerate(
        line.split("=")
        for line in (ROOT / "deploy/images.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
}


def fill_in(text: str, environ: Mapping[str, str]) -> str:
    """${NAME:-default} and ${NAME:?what to do}, the only forms that the file uses, from the inside out; then $$.

    Raises ValueError.
    """

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return found[0]
        given = environ.get(found["name"])
        if not given and found["kind"] == "?":
            raise ValueError(f"{found['name']} is not set: {found['rest']}")
        return given or found["rest"]

    before = ""
    while before != text:
        before = text
        text = VARIABLE.sub(value, text)
    if "$" in text.replace("$$", ""):
        raise ValueError(f"not ${{NAME:-default}}, not ${{NAME:?what to do}} and not $$: {text}")
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
    """The file with this environment, after `make images secrets`."""
    return _filled_in(_parsed(), IMAGES | {"SECRETS_GROUP": "10001"} | dict(environ or {}))


@cache
def _parsed() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def services(environ: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose(environ)["services"]
    assert found  # tests that look at each of them would pass without one
    return found


def secrets_of(service: Mapping[str, Any]) -> dict[str, str]:
    """The path inside the container of each of the service's secrets, by the secret's name."""
    found = {}
    for secret in service.get("secrets", []):
        source, target = (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
        found[source] = target if target.startswith("/") else f"/run/secrets/{target}"
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    found = {name: service for name, service in services().items() if "build" in service}
    assert found
    return found
