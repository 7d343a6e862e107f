"""What podman is told for a service of docker-compose.yml; and what of the file it is not told."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trials.containers.compose_file import Service, paths, seconds, secrets_of

# Read by the project itself: what is built, in which order services start, when they are ready.
ELSEWHERE = (
    "name",
    "services.*.image",
    "services.*.build.context",
    "services.*.build.target",
    "services.*.build.args",
    "services.*.profiles",
    "services.*.depends_on.*.condition",
    "services.*.depends_on.*.required",
    "services.*.healthcheck.test",
    "services.*.healthcheck.interval",
    "services.*.healthcheck.timeout",
    "services.*.healthcheck.retries",
    "services.*.healthcheck.start_period",
    "secrets.*.file",
    "volumes",
)


@dataclass(frozen=True)
class Place:
    """Where a project runs here. `name` is the head of all its names, `folder` that of the file, `ports` the port of
    this machine by that of the file, `secrets` the file of each secret."""

    name: str
    folder: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    volumes: frozenset[str]

    def path(self, text: str) -> str:
        return str((self.folder / text).absolute())

    def container(self, service: str, number: int = 1) -> str:
        return f"{self.name}-{service}-{number}"

    def published(self, port: str) -> str:
        address, outside, inside = port.split(":")
        return f"{address}:{self.ports[outside]}:{inside}"

    def mounted(self, volume: str) -> str:
        source, _, rest = volume.partition(":")
        return f"{f'{self.name}-{source}' if source in self.volumes else self.path(source)}:{rest}"


Told = Callable[[Any, Place], Iterator[str]]


def _each(option: str) -> Told:
    return lambda values, _place: (word for value in values for word in (option, str(value)))


def _one(option: str) -> Told:
    return lambda value, _place: iter((option, str(value)))


def _flag(option: str) -> Told:
    return lambda value, _place: iter((f"{option}={json.dumps(value)}",))


def _environment(values: Mapping[str, str], _place: Place) -> Iterator[str]:
    for name, value in values.items():
        yield from ("--env", f"{name}={value}")


def _volumes(values: list[str], place: Place) -> Iterator[str]:
    for value in values:
        yield from ("--volume", place.mounted(value))


def _ports(values: list[str], place: Place) -> Iterator[str]:
    for value in values:
        yield from ("--publish", place.published(value))


def _tmpfs(values: list[str], _place: Place) -> Iterator[str]:
    for value in values:
        # podman gives a folder to the container's own user, and to no other.
        yield from ("--tmpfs", re.sub(r"uid=\d+,gid=\d+", "U", value))


def _read_only(value: bool, _place: Place) -> Iterator[str]:
    # Without the second, podman adds writable folders that Compose does not.
    yield from (f"--read-only={json.dumps(value)}", "--read-only-tmpfs=false")


def _grace(value: str, _place: Place) -> Iterator[str]:
    yield from ("--stop-timeout", f"{seconds(value):.0f}")


def _network_mode(value: str, place: Place) -> Iterator[str]:
    yield from ("--network", f"container:{place.container(value.removeprefix('service:'))}")


# Compose's key, with its values' path below it, and what podman is told.
TOLD: dict[str, Told] = {
    "cap_drop": _each("--cap-drop"),
    "environment": _environment,
    "group_add": _each("--group-add"),
    "hostname": _one("--hostname"),
    "init": _flag("--init"),
    "mem_limit": _one("--memory"),
    "network_mode": _network_mode,
    "ports": _ports,
    "read_only": _read_only,
    "restart": _one("--restart"),
    "security_opt": _each("--security-opt"),
    "shm_size": _one("--shm-size"),
    "stop_grace_period": _grace,
    "tmpfs": _tmpfs,
    "user": _one("--user"),
    "volumes": _volumes,
}
WHOLE = {*TOLD, "command", "secrets"}


def arguments(name: str, service: Service, place: Place, *, number: int = 1, once: bool = False) -> list[str]:
    """The options of `podman create`. `once`: for a command that is run once, beside the services."""
    left_out = {"ports", "restart"} if once else set[str]()
    found = [
        word for key, told in TOLD.items() if key in service.keys() - left_out for word in told(service[key], place)
    ]
    for secret, path in secrets_of(service).items():
        found += ["--volume", f"{place.path(place.secrets[secret])}:{path}:ro"]
    if "network_mode" not in service:
        found += ["--network", place.name]
        found += [] if once else ["--network-alias", name]
    # Compose turns off a limit that podman sets for itself: a service may use as much swap as memory.
    return [*found, "--name", f"{place.container(name)}-once" if once else place.container(name, number)]


def unused(everything: Mapping[str, Any]) -> list[str]:
    """The keys of the file that neither podman is told nor the project reads."""
    known = [tuple(one.split(".")) for one in (*ELSEWHERE, *(f"services.*.{key}" for key in WHOLE))]
    found = {path for path in paths(everything) if not path[0].startswith("x-")}
    return sorted(".".join(path) for path in found if not any(_is_of(path, pattern) for pattern in known))


def _is_of(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether the path is the pattern's, or below it. A star stands for one name."""
    return len(path) >= len(pattern) and all(fnmatchcase(one, other) for one, other in zip(path, pattern, strict=False))
