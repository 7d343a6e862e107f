"""docker-compose.yml against the rules of the Compose specification, for the keys that it uses.

Rules: https://github.com/compose-spec/compose-spec (05-services.md, 07-volumes.md). An unknown key fails, so that a
key with a typing error fails too.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.compose_file import ROOT, compose, fill_in, ours, services

Check = Callable[[Any], bool]
DURATION = re.compile(r"(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?")
# HOST:CONTAINER with an address of this machine in front; a source, a target and how it is mounted.
PORT = re.compile(r"127\.0\.0\.1:\d{2,5}:\d{2,5}")
MOUNT = re.compile(r"(?P<source>[^:]+):(?P<target>/[^:]+)(?::(?P<mode>ro|rw))?")
IMAGE = re.compile(r"[a-z0-9][a-z0-9./_-]*:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]*)")
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(item, str) for item in value)


def is_duration(value: Any) -> bool:
    return is_text(value) and DURATION.fullmatch(value) is not None


def has_only(checks: dict[str, Check]) -> Check:
    return lambda value: (
        isinstance(value, dict) and all(key in checks and checks[key](item) for key, item in value.items())
    )


def matches(pattern: re.Pattern[str]) -> Check:
    return lambda value: is_texts(value) and all(pattern.fullmatch(item) for item in value)


HEALTHCHECK: dict[str, Check] = {
    "test": lambda value: is_texts(value) and value[0] in ("CMD", "CMD-SHELL") and len(value) > 1,
    "interval": is_duration,
    "timeout": is_duration,
    "start_period": is_duration,
    "retries": lambda value: isinstance(value, int) and value > 0,
}
DEPENDENCY: dict[str, Check] = {
    "condition": lambda value: value in CONDITIONS,
    "restart": lambda value: isinstance(value, bool),
}
SERVICE: dict[str, Check] = {
    "build": is_text,
    "image": lambda value: is_text(value) and IMAGE.fullmatch(value) is not None,
    "command": is_texts,
    # Only strings: without quotes YAML would make a number or a boolean of some of them.
    "environment": lambda value: (
        isinstance(value, dict) and all(is_text(name) and isinstance(item, str) for name, item in value.items())
    ),
    "volumes": matches(MOUNT),
    "ports": matches(PORT),
    "depends_on": lambda value: isinstance(value, dict) and all(map(has_only(DEPENDENCY), value.values())),
    "healthcheck": has_only(HEALTHCHECK),
    "network_mode": is_text,
    "hostname": is_text,
    "profiles": is_texts,
    "restart": lambda value: value in ("no", "always", "unless-stopped"),
    "stop_grace_period": is_duration,
    "read_only": lambda value: value is True,
    "tmpfs": is_texts,
    "cap_drop": is_texts,
    "security_opt": is_texts,
    "init": lambda value: isinstance(value, bool),
}
ALL = sorted(services())


def test_there_is_every_part_of_the_system():
    assert set(ALL) == {"postgres", "rabbitmq", "redis", "migrate", "worker", "beat", "bus", "web", "sandbox"}


def test_at_the_top_there_is_only_what_compose_knows():
    assert {key for key in compose() if not key.startswith("x-")} == {"name", "services", "volumes"}


@pytest.mark.parametrize("name", ALL)
def test_a_service_has_only_keys_and_values_that_compose_accepts(name):
    wrong = {key: value for key, value in services()[name].items() if key not in SERVICE or not SERVICE[key](value)}

    assert wrong == {}


@pytest.mark.parametrize("name", ALL)
def test_an_image_is_pinned_to_a_whole_version(name):
    tag = IMAGE.fullmatch(services()[name]["image"])["tag"]

    assert re.match(r"\d+\.\d+", tag)


@pytest.mark.parametrize("name", ALL)
def test_a_service_has_a_health_check_or_runs_once(name):
    service = services()[name]

    assert ("healthcheck" in service) != (service["restart"] == "no")


@pytest.mark.parametrize("name", ALL)
def test_a_service_waits_for_services_that_can_come_to_what_it_waits_for(name):
    everything = services()
    for other, dependency in everything[name].get("depends_on", {}).items():
        assert other in everything
        # This service would never start if a profile left the other one out.
        assert "profiles" not in everything[other]
        if dependency["condition"] == "service_healthy":
            assert "healthcheck" in everything[other]
        if dependency["condition"] == "service_completed_successfully":
            assert everything[other]["restart"] == "no"


def test_no_service_waits_for_itself_in_the_end():
    everything = services()
    left = dict(everything)
    while left:
        free = [name for name, service in left.items() if not set(service.get("depends_on", {})) & set(left)]
        assert free, f"these wait for each other: {sorted(left)}"
        for name in free:
            del left[name]


@pytest.mark.parametrize("name", ALL)
def test_a_service_in_anothers_network_has_no_ports_or_name_of_its_own(name):
    service = services()[name]
    mode = service.get("network_mode")
    if mode is None:
        return
    kind, _, other = mode.partition(":")
    assert (kind, other in services()) == ("service", True)
    assert not {"ports", "hostname", "networks"} & set(service)
    # The network ends with the service that it belongs to.
    assert service["depends_on"][other] == {"condition": "service_healthy", "restart": True}


@pytest.mark.parametrize("name", ALL)
def test_what_is_mounted_is_there(name):
    declared = compose()["volumes"]
    for mount in services()[name].get("volumes", []):
        source = MOUNT.fullmatch(mount)["source"]
        assert (ROOT / source).exists() if source.startswith(".") else source in declared


def test_no_volume_is_declared_in_vain():
    used = {MOUNT.fullmatch(mount)["source"] for service in services().values() for mount in service.get("volumes", [])}

    assert set(compose()["volumes"]) <= used


@pytest.mark.parametrize("name", sorted(ours()))
def test_our_services_may_do_no_more_than_they_must(name):
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(mount.endswith(":ro") for mount in service.get("volumes", []) if name != "migrate")


def test_every_password_can_be_set_from_outside():
    given = {"POSTGRES_PASSWORD": "one", "RABBITMQ_PASSWORD": "two", "IDENFY_KEY": "three", "IDENFY_SECRET": "four"}
    given |= {"FRANKIE_KEY": "five", "FRANKIE_CUSTOMER": "six", "EVENTS_KEY": "seven"}
    given |= {"IDENFY_WEBHOOK_KEY": "eight", "FRANKIE_WEBHOOK_SECRET": "nine"}
    values = {
        (service, name): value
        for service, parts in services(given).items()
        for name, value in parts.get("environment", {}).items()
        if re.search("PASS|KEY|SECRET|TOKEN|CUSTOMER", name) or "@" in value
    }

    assert len(values) > len(given)
    left = {place for place, value in values.items() if not any(word in value for word in given.values())}
    assert left == set()


def test_an_unknown_form_of_variable_is_no_variable_to_this_test():
    assert fill_in("${A:-${B:-c}} $$d", {"B": "e"}) == "e $d"
    with pytest.raises(ValueError, match="not"):
        fill_in("${A}", {})


def test_compose_itself_accepts_it(tmp_path: Path):
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    command = [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "--profile", "redis", "config", "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)

    assert (ended.returncode, ended.stderr) == (0, "")
