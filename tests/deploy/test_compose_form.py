"""docker-compose.yml: what runs is pinned, may do no more than it must, and has its secrets as files.

Whether Compose knows each key says Compose itself, where it is installed.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose_file import IMAGES, ROOT, compose, fill_in, ours, secrets_of, services
from tests.suite.some import some

# A source, a target and how it is mounted.
MOUNT = re.compile(r"(?P<source>[^:]+):(?P<target>/[^:]+)(?::(?P<mode>ro|rw))?")
IMAGE = re.compile(r"[a-z0-9][a-z0-9./_-]*:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?P<digest>@sha256:[0-9a-f]{64})?")
SECRET = re.compile(r"[a-z_.-]+")
ALL = sorted(services())
# They read lists and write reports, which may be larger than memory.
LARGE = {"worker", "web", "report"}


def test_there_is_every_part_of_the_system():
    assert set(ALL) == {"postgres", "rabbitmq", "redis", "migrate", "worker", "beat", "bus", "web", "report", "sandbox"}


def test_ports_are_published_for_this_machine_alone(subtests):
    for name, service in some({name: one for name, one in services().items() if "ports" in one}.items()):
        with subtests.test(name=name):
            assert [port for port in service["ports"] if not port.startswith("127.0.0.1:")] == []


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


def test_our_services_write_to_memory_and_to_a_disk_of_their_own_for_large_files(subtests):
    disks = set[str]()
    for name, service in some(ours().items()):
        with subtests.test(name=name):
            assert [place.partition(":")[0] for place in service["tmpfs"]] == ["/tmp"]  # noqa: S108 -- the container's
            written = [mount for mount in service.get("volumes", []) if not mount.endswith(":ro")]
            assert written == ([f"{name}-scratch:/var/tmp"] if name in LARGE else [])
            disks |= {mount.partition(":")[0] for mount in written}
    assert disks == {name for name in compose()["volumes"] if name.endswith("-scratch")}
    # Python looks there first; the image makes the folder, which is writable for all.
    assert " TMPDIR=/var/tmp\n" in (ROOT / "Dockerfile").read_text("utf-8")


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
