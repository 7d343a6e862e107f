"""The Dockerfile and the files that it may read, checked line by line without a Docker engine."""

import re

import pytest

from tests.deploy.compose_file import ROOT, services

LINES = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
STEPS = [line.split(None, 1) for line in LINES if line and not line.startswith("#")]
IGNORE = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]


def all_of(kind: str) -> list[str]:
    return [rest for word, rest in STEPS if word == kind]


def sources() -> set[str]:
    """The paths that are copied from the checkout."""
    return {word for rest in all_of("COPY") if "--from" not in rest for word in rest.split()[:-1]}


def test_every_base_is_pinned():
    bases = [rest.split()[0] for rest in all_of("FROM")]

    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.1[1-9]\.\d+-slim-[a-z]+", bases[0])


def test_it_does_not_run_as_root():
    uid, _, gid = all_of("USER")[-1].partition(":")

    assert int(uid) > 0
    assert int(gid) > 0
    assert STEPS.index(["USER", f"{uid}:{gid}"]) > STEPS.index(["FROM", all_of("FROM")[-1]])


def test_nothing_is_installed_without_its_hash():
    installs = [rest for rest in all_of("RUN") if "pip install" in rest]

    assert len(installs) == 2
    assert all("--require-hashes -r requirements.lock" in rest or "--no-deps" in rest for rest in installs)


def test_what_is_copied_is_there_and_is_all_that_the_build_may_see():
    assert IGNORE[0] == "*"
    assert {line[1:] for line in IGNORE if line.startswith("!")} == sources()
    assert [name for name in sources() if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["worker", "beat", "migrate"])
def test_the_key_lies_in_a_directory_that_belongs_to_that_user(name):
    (mount,) = [mount.split(":") for mount in services()[name]["volumes"] if mount.startswith("key:")]
    uid, _, gid = all_of("USER")[-1].partition(":")

    assert f"install -d -o {uid} -g {gid} -m 0700 {mount[1]}" in " ".join(all_of("RUN"))
    # The first start's script names the key without a path.
    assert all_of("WORKDIR")[-1] == mount[1]


def test_the_programs_that_the_services_start_are_on_the_path():
    (path,) = [word for rest in all_of("ENV") for word in rest.split() if word.startswith("PATH=")]
    copied = [rest.split()[1] for rest in all_of("COPY") if "--from=build" in rest]

    assert path.removeprefix("PATH=").split(":")[0] == f"{copied[0]}/bin"
