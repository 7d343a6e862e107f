"""docker-compose.yml as Compose would see it, after `make images secrets`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from trials.containers.compose_file import fill_in, filled_in, secrets_of

ROOT = Path(__file__).parents[2]
# What `make images` writes into .env, with invented digests.
IMAGES = {
    name: f"{image}@sha256:{index:064x}"
    for index, (name, image) in enumerate(
        line.split("=")
        for line in (ROOT / "deploy/images.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
}
__all__ = ["IMAGES", "ROOT", "compose", "fill_in", "ours", "secrets_of", "services"]


def compose(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file with this environment."""
    found: dict[str, Any] = filled_in(_parsed(), IMAGES | {"SECRETS_GROUP": "10001"} | dict(environ or {}))
    return found


@cache
def _parsed() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def services(environ: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose(environ)["services"]
    assert found  # tests that look at each of them would pass without one
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    found = {name: service for name, service in services().items() if "build" in service}
    assert found
    return found
