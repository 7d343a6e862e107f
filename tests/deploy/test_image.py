"""The Dockerfile and the files that it may read, checked line by line without a Docker engine."""

import re
import subprocess
import sys

from tests.deploy.compose_file import IMAGES, ROOT, ours

LINES = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
STEPS = [line.split(None, 1) for line in LINES if line and not line.startswith("#")]
IGNORE = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]


def all_of(kind: str) -> list[str]:
    return [rest for word, rest in STEPS if word == kind]


def sources() -> set[str]:
    """The paths that are copied from the checkout."""
    return {word for rest in all_of("COPY") if "--from" not in rest for word in rest.split()[:-1]}


def test_every_base_is_given_with_its_digest():
    """The build has no default for it: without a digest it fails."""
    bases = [rest.split()[0] for rest in all_of("FROM")]

    assert set(bases) == {"${PYTHON_IMAGE}", "build", "base"}
    assert STEPS[0] == ["ARG", "PYTHON_IMAGE"]
    assert re.fullmatch(r"python:3\.1[1-9]\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}", IMAGES["PYTHON_IMAGE"])


def stage(name: str) -> list[list[str]]:
    """The steps of a stage."""
    (start,) = [index for index, (word, rest) in enumerate(STEPS) if word == "FROM" and rest.endswith(f" AS {name}")]
    rest = STEPS[start + 1 :]
    return rest[: next((index for index, (word, _) in enumerate(rest) if word == "FROM"), len(rest))]


def test_the_image_of_production_is_the_default_and_has_no_sandbox():
    assert STEPS[-2:] == [["FROM", "base AS production"], ["COPY", "--from=build /opt/onboarding /opt/onboarding"]]
    steps = [rest for _, rest in stage("wheels")]
    (made,) = [at for at, rest in enumerate(steps) if "--wheel-dir /wheel ." in rest]
    assert made < steps.index("onboarding_sandbox onboarding_sandbox")
    assert "onboarding_testing" not in sources()
    assert [rest for _, rest in stage("build") if rest.startswith("--from")] == ["--from=wheels /wheel /wheel"]
    assert "requirements-sandbox.lock" not in str(stage("build"))
    assert "requirements-sandbox.lock" in str(stage("build-sandbox"))
    assert stage("sandbox") == [["COPY", "--from=build-sandbox /opt/onboarding /opt/onboarding"]]


def test_it_does_not_run_as_root():
    uid, _, gid = all_of("USER")[-1].partition(":")

    assert int(uid) > 0
    assert int(gid) > 0
    assert ["USER", f"{uid}:{gid}"] in stage("base")
    assert "USER" not in {word for word, _ in stage("production") + stage("sandbox")}
    assert {service["user"] for service in ours().values()} == {f"{uid}:{gid}"}


def test_nothing_is_installed_without_its_hash():
    installs = [rest for rest in all_of("RUN") if "pip install" in rest]

    assert len(installs) == 5
    locked = r"--require-hashes -r requirements(-sandbox|-build)?\.lock|--no-deps --no-index"
    assert all(re.search(locked, rest) for rest in installs)


def test_what_is_copied_is_there_and_is_all_that_the_build_may_see():
    assert IGNORE[0] == "*"
    assert {line[1:] for line in IGNORE if line.startswith("!")} == sources()
    assert [name for name in sources() if not (ROOT / name).exists()] == []


def test_the_programs_that_the_services_start_are_on_the_path():
    (path,) = [word for rest in all_of("ENV") for word in rest.split() if word.startswith("PATH=")]
    copied = [rest.split()[-1] for rest in all_of("COPY") if "--from=build" in rest]
    assert len(set(copied)) == 1

    assert path.removeprefix("PATH=").split(":")[0] == f"{copied[0]}/bin"


def test_numbers_are_read_and_have_their_zones_without_the_tables_that_the_image_leaves_out():
    (removed,) = [rest for rest in all_of("RUN") if "phonenumbers" in rest]
    names = re.findall(r"site-packages/phonenumbers/(\w+)", removed)
    program = f"""
import sys
sys.modules.update(dict.fromkeys(["phonenumbers." + name for name in {names}]))
from onboarding_worker.core.rules.quiet_hours import Hours
from onboarding_worker.lists.phone_numbers import readings
print(*readings("491721234567", "DE"))
print(*Hours().zones_of(timezone="", phone="+16042345678", country="CA"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(names) == {"geodata", "carrierdata"}
    assert done.stdout.splitlines() == ["+49491721234567 +491721234567", "America/Vancouver"]
