"""docker-compose.yml against the rules of the Compose specification, for the keys that it uses.

Rules: https://github.com/compose-spec/compose-spec (05-services.md, 07-volumes.md). An unknown key fails, so that a
key with a typing error fails too.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.compose_file import IMAGES, ROOT, compose, fill_in, ours, secrets_of, services
from tests.suite.some import some

Check = Callable[[Any], bool]
DURATION = re.compile(r"(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?")
# HOST:CONTAINER with an address of this machine in front; a source, a target and how it is mounted.
PORT = re.compile(r"127\.0\.0\.1:\d{2,5}:\d{2,5}")
MOUNT = re.compile(r"(?P<source>[^:]+):(?P<target>/[^:]+)(?::(?P<mode>ro|rw))?")
IMAGE = re.compile(r"[a-z0-9][a-z0-9./_-]*:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?P<digest>@sha256:[0-9a-f]{64})?")
# A directory in memory: its owner, or its mode, and its size where all may write.
TMPFS = re.compile(r"/[a-z/]+:(uid=\d+,gid=\d+,mode=\d{4}|mode=1777,size=\d+m)")
SECRET = re.compile(r"[a-z_.-]+")
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
    "required": lambda value: value is False,
}
BUILD: dict[str, Check] = {
    "context": lambda value: value == ".",
    "target": lambda value: value in ("production", "sandbox"),
    "args": lambda value: isinstance(value, dict) and set(value) == {"PYTHON_IMAGE"},
}
MOUNTED_SECRET: dict[str, Check] = {"source": is_text, "target": is_text}
SERVICE: dict[str, Check] = {
    "build": has_only(BUILD),
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
    "tmpfs": matches(TMPFS),
    "group_add": lambda value: is_texts(value) and all(re.fullmatch(r"[1-9]\d*", item) for item in value),
    "user": lambda value: isinstance(value, str) and re.fullmatch(r"[1-9]\d*:[1-9]\d*", value) is not None,
    "mem_limit": lambda value: isinstance(value, str) and re.fullmatch(r"\d+[mg]", value) is not None,
    "shm_size": lambda value: isinstance(value, str) and re.fullmatch(r"\d+m", value) is not None,
    "secrets": lambda value: (
        isinstance(value, list) and all(is_text(item) or has_only(MOUNTED_SECRET)(item) for item in value)
    ),
    "cap_drop": is_texts,
    "security_opt": is_texts,
    "init": lambda value: isinstance(value, bool),
}
ALL = sorted(services())


def test_there_is_every_part_of_the_system():
    assert set(ALL) == {"postgres", "rabbitmq", "redis", "migrate", "worker", "beat", "bus", "web", "report", "sandbox"}


def test_at_the_top_there_is_only_what_compose_knows():
    assert {key for key in compose() if not key.startswith("x-")} == {"name", "services", "secrets", "volumes"}


def test_a_service_has_only_keys_and_values_that_compose_accepts(subtests):
    for name, service in some(services().items()):
        with subtests.test(name=name):
            assert {key: one for key, one in service.items() if key not in SERVICE or not SERVICE[key](one)} == {}


def test_an_image_is_pinned_by_its_version_and_by_its_digest(subtests):
    """Our own image has no digest before it is built: its base has one."""
    for name, service in some(services().items()):
        with subtests.test(name=name):
            image = service["build"]["args"]["PYTHON_IMAGE"] if "build" in service else service["image"]
            found = IMAGE.fullmatch(image)

            assert re.match(r"\d+\.\d+", found["tag"])
            assert found["digest"]


@pytest.mark.parametrize(
    ("name", "command"), [*((name, "make images") for name in sorted(IMAGES)), ("SECRETS_GROUP", "make secrets")]
)
def test_without_digests_or_secrets_nothing_starts(name, command):
    with pytest.raises(ValueError, match=f"{name} is not set: run {command}"):
        services({name: ""})


def test_a_service_may_do_no_more_than_it_must(subtests):
    for name, service in some(services().items()):
        with subtests.test(name=name):
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert service["user"]
            assert service["mem_limit"]


def test_no_secret_is_in_the_environment_or_in_the_command(subtests):
    for name, service in some(services().items()):
        with subtests.test(name=name):
            environment = service.get("environment", {})
            known = {
                "ONBOARDING_CONFIG",
                "ONBOARDING_ALIVE_FILE",
                "ONBOARDING_LOG_LEVEL",
                "POSTGRES_PASSWORD_FILE",
                "POSTGRES_DB",
            }

            assert set(environment) <= known
            assert environment.get("POSTGRES_PASSWORD_FILE", "/run/secrets/").startswith("/run/secrets/")
            assert not re.search("://[^/]*:[^/]*@", " ".join([*service.get("command", []), *environment.values()]))


def test_no_variable_of_the_file_is_a_secret():
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    names = set(re.findall(r"\$\{([A-Z_]+)", text))

    known = {"ONBOARDING_LOG_LEVEL", "ONBOARDING_TOML", "LISTS", "SECRETS", "SECRETS_GROUP", "BROKER"}

    assert names - set(IMAGES) == known


def test_every_secret_is_a_file_and_is_mounted_somewhere():
    declared = compose()["secrets"]
    used = {name for service in services().values() for name in secrets_of(service)}

    assert all(SECRET.fullmatch(name) and list(secret) == ["file"] for name, secret in some(declared.items()))
    assert used == set(declared)


def test_a_service_has_a_health_check_or_runs_once(subtests):
    for name, service in some(services().items()):
        with subtests.test(name=name):
            assert ("healthcheck" in service) != (service["restart"] == "no")


def test_a_service_waits_for_services_that_can_come_to_what_it_waits_for(subtests):
    everything = services()
    for name, service in some(everything.items()):
        with subtests.test(name=name):
            for other, dependency in service.get("depends_on", {}).items():
                assert other in everything
                # This service would never start if a profile left the other one out.
                assert "profiles" not in everything[other] or dependency.get("required") is False
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


def test_what_is_mounted_is_there(subtests):
    declared = compose()["volumes"]
    for name, service in some(services().items()):
        with subtests.test(name=name):
            for mount in service.get("volumes", []):
                source = MOUNT.fullmatch(mount)["source"]
                assert (ROOT / source).exists() if source.startswith(".") else source in declared
                assert not source.startswith("./secrets")


def test_no_volume_is_declared_in_vain():
    used = {MOUNT.fullmatch(mount)["source"] for service in services().values() for mount in service.get("volumes", [])}

    assert set(compose()["volumes"]) <= used


def test_our_services_write_to_memory_alone(subtests):
    for name, service in some(ours().items()):
        with subtests.test(name=name):
            assert [place.partition(":")[0] for place in service["tmpfs"]] == ["/tmp"]  # noqa: S108 -- the container's
            assert all(mount.endswith(":ro") for mount in service.get("volumes", []))


def test_an_unknown_form_of_variable_is_no_variable_to_this_test():
    assert fill_in("${A:-${B:-c}} $$d", {"B": "e"}) == "e $d"
    with pytest.raises(ValueError, match="not"):
        fill_in("${A}", {})
    assert fill_in("${A:?b}", {"A": "c"}) == "c"


def test_compose_itself_accepts_it(tmp_path: Path):
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    command = [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "--profile", "redis", "config", "--quiet"]
    environ = dict(os.environ) | IMAGES | {"SECRETS_GROUP": "10001"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environ, timeout=60)

    assert (ended.returncode, ended.stderr) == (0, "")
