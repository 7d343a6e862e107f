"""`.ci/run`: its commands, their order and their environment."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose_file import ROOT

SCRIPT = ROOT / ".ci/run"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose `make` only prints its arguments, in a directory with a space in its name."""
    place = tmp_path / "a place" / "checkout"
    (place / ".ci").mkdir(parents=True)
    shutil.copy(SCRIPT, place / ".ci/run")
    make = place / "bin/make"
    make.parent.mkdir()
    make.write_text(
        '#!/bin/sh\necho "$PWD|$*|$CI|$REQUIRE_SERVICES|$PROVIDER_SPECS|$BAD_INPUT"\n'
        'case " $* " in *" ${BREAKS:-none} "*) exit 2;; esac\n'
    )
    make.chmod(0o755)
    return place


def run(place: Path, **environ: str) -> subprocess.CompletedProcess:
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    clean = {"PATH": path, **environ}
    return subprocess.run([place / ".ci/run"], cwd="/", env=clean, capture_output=True, text=True, check=False)


TOGETHER = "--jobs=3 --output-sync=target"
STEPS = [
    f"{TOGETHER} lint docs compiled",
    "test plain newest imports",
    f"{TOGETHER} without manifests audit FEATURE=all SHORT=1 MAY_SKIP=1",
]


def test_it_lints_makes_the_pages_tests_and_audits_from_wherever_it_is_called(checkout):
    ended = run(checkout)

    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [f"{checkout}|{step}|true|1||" for step in STEPS]


def test_the_providers_pages_and_the_corpora_are_named_where_they_are(checkout):
    for name in ("seeds", "corpora"):
        (checkout.parent / "shared" / name).mkdir(parents=True)
    *_, last = run(checkout).stdout.splitlines()

    assert last.split("|")[4:] == [str(checkout.parent / "shared/seeds"), str(checkout.parent / "shared/corpora")]


@pytest.mark.parametrize(
    ("breaks", "calls"),
    [("lint", 1), ("docs", 1), ("compiled", 1), ("test", 2), ("without", 3), ("manifests", 3), ("audit", 3)],
)
def test_it_fails_with_what_fails(breaks, calls, checkout):
    ended = run(checkout, BREAKS=breaks)

    assert ended.returncode != 0
    assert len(ended.stdout.splitlines()) == calls


def test_it_names_no_place_of_any_machine():
    text = SCRIPT.read_text(encoding="utf-8")

    assert not re.search(r"[\s\"'=]/(?!usr/bin/env)[a-z]", text.removeprefix("#!/usr/bin/env bash"))
