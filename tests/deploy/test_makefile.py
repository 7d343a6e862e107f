"""The Makefile: help for every target, clear messages if something is missing, paths with spaces."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose_file import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = sorted(set(re.search(r"^\.PHONY: (help .*)$", MAKEFILE, re.MULTILINE)[1].split()))
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout without a virtual environment, in a directory with a space in its name."""
    place = tmp_path / "my checkout"
    place.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements-sandbox.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, place)
    return place


def make(place: Path, *words: str, **environ: str) -> subprocess.CompletedProcess:
    # Without the variables of a make that runs these tests.
    of_make = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    ours = ("CI", "REQUIRE_SERVICES", "LIST", "CONFIG", "PYTHON", "FEATURE", "FLOOR", *of_make)
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    command = ["make", *words]
    return subprocess.run(command, cwd=place, env=clean | environ, capture_output=True, text=True, check=False)


def stand_in(place: Path, name: str, script: str) -> Path:
    program = place / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def prepared(place: Path) -> Path:
    """A checkout as after `make test`, with programs that only print their arguments."""
    for name in ("python", "onboard", "ruff", "lint-imports", "shellcheck"):
        stand_in(place, f".venv/bin/{name}", f'echo "{name} $#:" "$@" "services=$REQUIRE_SERVICES"')
    (place / ".venv/.python").write_text(f"{place}\n")
    (place / ".venv/.runtime").touch()
    (place / ".venv/.dev").touch()
    return place


def test_make_alone_is_a_line_of_help_for_every_target(checkout):
    ended = make(checkout)

    assert ended.returncode == 0
    listed = [re.match(r"  make ([a-z]+) +(\S.*)", line) for line in ended.stdout.splitlines()]
    assert all(listed)
    assert sorted(line[1] for line in listed) == TARGETS


def test_the_expected_targets_are_there():
    assert {"help", "install", "demo", "run", "test", "lint", "fmt", "bench", "chaos", "record"} <= set(TARGETS)
    assert {"trial", "lock", "clean"} <= set(TARGETS)


def test_run_without_a_list_prints_an_example(checkout):
    ended = make(prepared(checkout), "run")

    assert ended.returncode != 0
    assert "make run LIST=" in ended.stderr
    assert ended.stdout == ""


def test_run_passes_paths_with_spaces_unchanged(checkout):
    ended = make(prepared(checkout), "run", "LIST=my list.csv", "CONFIG=my config.toml")

    assert ended.stdout.splitlines() == ["onboard 4: run my list.csv --config my config.toml services="]


def test_run_without_a_configuration_leaves_the_choice_to_onboard(checkout):
    ended = make(prepared(checkout), "run", "LIST=list.csv")

    assert ended.stdout.splitlines() == ["onboard 2: run list.csv services="]


def test_tests_run_in_parallel_and_need_services_in_ci_only(checkout):
    place = prepared(checkout)

    at_a_time = (os.cpu_count() or 1) * 2
    run = f"python 6: -m pytest -n {at_a_time} --dist loadscope services="
    assert make(place, "test").stdout == f"{run}\n"
    assert make(place, "test", CI="true").stdout == f"{run}1\n"


def test_quick_runs_a_part_of_each_room_that_is_there_and_needs_no_server(checkout):
    (checkout / "tests").symlink_to(ROOT / "tests")
    words = make(prepared(checkout), "quick").stdout.split()
    slow = re.findall(r"[\w/]+\.py", MAKEFILE.partition("\nSLOW := ")[2].partition("\nQUICK := ")[0])
    paths = [word for word in words if word.startswith("tests/")]

    assert words[words.index("-k") + 1 :][:2] == ["not", "postgresql"]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [path for path in slow if not (ROOT / "tests" / path).exists() or f"tests/{path}" in paths] == []
    rooms = {"core", "events", "http", "lists", "plans", "providers", "reporting", "runtime", "senders"}
    assert {path.split("/")[1] for path in paths} == rooms | {"settings", "templates", "web"}


def test_lint_looks_at_style_form_types_imports_and_shell_scripts(checkout):
    lines = [line.split(" services")[0] for line in make(prepared(checkout), "lint").stdout.splitlines()]

    scripts = "shellcheck 3: deploy/make_secrets deploy/pin_images .ci/run"
    assert lines == ["ruff 1: check", "ruff 2: format --check", "python 2: -m mypy", "lint-imports 0:", scripts]


def test_demo_and_record_start_what_does_it(checkout):
    place = prepared(checkout)

    assert make(place, "demo").stdout.startswith("onboard 1: demo ")
    assert make(place, "demo", "BROKER=amqp").stdout.startswith("onboard 3: demo --broker amqp ")
    assert make(place, "record").stdout.startswith("python 2: -m tests.providers.record ")


def test_chaos_passes_its_variables_as_options(checkout):
    place = prepared(checkout)

    assert make(place, "chaos").stdout.startswith("python 2: -m trials.chaos services=")
    output = make(place, "chaos", "RUNS=10", "SEED=1", "BROKER=redis").stdout
    assert output.startswith("python 8: -m trials.chaos --seed 1 --runs 10 --broker redis services=")


def test_bench_reports_a_checkout_without_benchmarks(checkout):
    place = prepared(checkout)
    assert "benchmarks" in make(place, "bench").stderr
    (place / "benchmarks").mkdir()

    assert make(place, "bench").stdout.startswith("python 2: -m benchmarks ")


def test_an_old_python_is_named_with_what_is_needed(checkout):
    old = stand_in(checkout, "bin/old", 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    place = checkout.rename(checkout.with_name("plain"))
    ended = make(place, "install", f"PYTHON={place / 'bin' / old.name}")

    assert ended.returncode != 0
    assert "Python 3.11 or newer is needed" in ended.stderr
    assert "Python 3.9.2" in ended.stderr
    assert "make PYTHON=" in ended.stderr
    assert not (place / ".venv").exists()


def test_a_virtual_environment_that_is_up_to_date_is_left_alone(checkout):
    assert make(prepared(checkout), "install").stdout in ("", "make: Nothing to be done for 'install'.\n")


@pytest.mark.parametrize(
    ("changed", "target", "installs"),
    [
        ("requirements-sandbox.lock", "install", 2),
        ("pyproject.toml", "install", 2),
        ("requirements-dev.lock", "install", 0),
        ("requirements-dev.lock", "test", 1),
        ("requirements-sandbox.lock", "test", 3),
    ],
)
def test_what_is_installed_follows_the_locks(changed, target, installs, checkout):
    place = prepared(checkout)
    newer = (place / ".venv/.dev").stat().st_mtime_ns + 10**9
    os.utime(place / changed, ns=(newer, newer))
    lines = make(place, target).stdout.splitlines()

    assert sum("-m pip" in line for line in lines) == installs


def test_a_checkout_that_was_moved_gets_a_new_virtual_environment(checkout):
    moved = prepared(checkout).rename(checkout.with_name("moved here"))
    asked = stand_in(moved, "bin/python3.11", 'case "$1" in -c) exit 0;; esac; echo "made with $@"; exit 3')
    ended = make(moved, "install", PATH=f"{asked.parent}:{os.environ['PATH']}")

    assert "made with -m venv --clear .venv" in ended.stdout
    assert ended.returncode != 0


def test_nothing_is_installed_without_its_hash():
    # `make newest` tries what no lock has, in a folder of its own.
    installs = [line for line in MAKEFILE.splitlines() if "$(PIP) " in line and ".venv-newest" not in line]

    assert len(installs) == 3
    assert all("--require-hashes -r" in line or "--no-deps --no-build-isolation" in line for line in installs)


@pytest.mark.parametrize("name", [f"requirements{which}.lock" for which in ("", "-build", "-sandbox", "-dev")])
def test_a_lock_has_a_hash_for_everything_and_names_no_address(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    pinned = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]

    assert pinned
    assert [line for line in pinned if not re.search(r"==\S+.* \\$", line)] == []
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash)", text, re.MULTILINE)


def test_the_lock_of_production_has_no_sandbox_and_else_the_same():
    production, sandbox, everything = (
        pinned(ROOT / name) for name in ("requirements.lock", "requirements-sandbox.lock", "requirements-dev.lock")
    )

    assert "aiosmtpd" in sandbox.keys() - production.keys()
    assert production.items() <= sandbox.items() <= everything.items()
    build = pinned(ROOT / "requirements-build.lock")
    assert "hatchling" in build.keys() - production.keys()
    assert build.items() <= sandbox.items()


def pinned(lock: Path) -> dict[str, str]:
    """The version of each package."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return dict(line.partition(" ")[0].split("==") for line in lines if re.match(r"[a-z0-9]", line))


def test_clean_removes_no_data(checkout):
    place = prepared(checkout)
    kept = ["onboarding.db", "onboarding.key", "onboarding.toml", "customers.csv"]
    for name in kept:
        (place / name).touch()
    (place / "worker/__pycache__").mkdir(parents=True)
    make(place, "clean")

    assert all((place / name).exists() for name in kept)
    assert not (place / ".venv").exists()
    assert not (place / "worker/__pycache__").exists()
