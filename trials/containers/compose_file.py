"""docker-compose.yml as Compose sees it: its variables filled in, its merges done. Nothing here starts anything."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Service = Mapping[str, Any]
# https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Z_]+):(?P<kind>[-?])(?P<rest>[^${}]*)\})")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


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


def filled_in(value: Any, environ: Mapping[str, str]) -> Any:
    match value:
        case str():
            return fill_in(value, environ)
        case list():
            return [filled_in(item, environ) for item in value]
        case dict():
            return {name: filled_in(item, environ) for name, item in value.items()}
    return value


def environ_of(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a .env with this text, below those of the shell, as Compose reads them."""
    found = dict[str, str]()
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name] = fill_in(value, found | dict(environ))
    return found | dict(environ)


def read(file: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The whole file. Raises ValueError where a variable is missing."""
    found: dict[str, Any] = filled_in(yaml.safe_load(file.read_text(encoding="utf-8")), environ)
    return found


def secrets_of(service: Service) -> dict[str, str]:
    """The path inside the container of each of the service's secrets, by the secret's name."""
    found = {}
    for secret in service.get("secrets", []):
        source, target = (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
        found[source] = target if target.startswith("/") else f"/run/secrets/{target}"
    return found


def chosen(services: Mapping[str, Service], profiles: Iterable[str]) -> list[str]:
    """The services that run with these profiles, each after those that it waits for."""
    active = {*profiles}
    runs = {name for name, one in services.items() if "profiles" not in one or active & {*one["profiles"]}}
    order = list[str]()

    def add(name: str) -> None:
        for needed in waits_for(services[name]):
            if needed in runs:
                add(needed)
        if name not in order:
            order.append(name)

    for name in services:
        if name in runs:
            add(name)
    return order


def waits_for(service: Service) -> dict[str, str]:
    """The condition that each service must meet before this one starts, by its name."""
    found = {name: str(one["condition"]) for name, one in service.get("depends_on", {}).items()}
    shared = service.get("network_mode", "").removeprefix("service:")
    return found | ({shared: "service_started"} if shared and shared not in found else {})


def seconds(text: str) -> float:
    """A duration such as 1m30s."""
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", text))


def words_of(check: list[str]) -> list[str]:
    """The command of a health check."""
    kind, *words = check
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words


def paths(value: Any, *above: str) -> Iterator[tuple[str, ...]]:
    """The path of keys to each value of nested mappings."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from paths(item, *above, str(name))
    else:
        yield above
