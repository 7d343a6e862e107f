"""`make audit` and `make sbom`: what was not asked is never called good, and every locked package is named."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.add_bundled import BUNDLED
from deploy.audit_lock import GOOD, NOT_AUDITED, WEAK, accepted, first_package, verdict
from tests.deploy.compose_file import ROOT

LOCK = ROOT / "requirements.lock"
FINE = {"name": "fine", "version": "1.0", "vulns": []}
SKIPPED = {"name": "unknown", "skip_reason": "Dependency not found on the index: unknown (1.0)"}
BAD = {"name": "bad", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
STUCK = {"name": "stuck", "version": "2.0", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}


def test_only_an_answer_about_every_package_is_good():
    cases = [
        ([FINE, FINE], GOOD, ["2 packages audited: no known weakness"]),
        ([FINE, SKIPPED], NOT_AUDITED, ["NOT AUDITED: Dependency not found on the index: unknown (1.0)"]),
        ([], NOT_AUDITED, ["NOT AUDITED: the lock names no package"]),
        ([FINE, BAD, SKIPPED], WEAK, ["bad 1.0: PYSEC-1, fixed in 1.1", "`make lock` takes newer releases"]),
        ([STUCK], WEAK, ["stuck 2.0: PYSEC-2, not fixed yet", "`make lock` takes newer releases"]),
    ]
    assert [
        (packages, got)
        for packages, code, says in cases
        if (got := verdict({"dependencies": packages})) != (code, says)
    ] == []


def test_a_weakness_is_accepted_with_a_reason_only():
    assert list(accepted("# why\n\nPYSEC-1 only on Windows\nGHSA-2 no such call here\n")) == ["PYSEC-1", "GHSA-2"]
    with pytest.raises(ValueError, match="PYSEC-1 has no reason"):
        list(accepted("PYSEC-1\n"))


def test_the_first_package_of_the_lock_has_its_hashes():
    first = first_package(LOCK.read_text(encoding="utf-8"))

    assert first.count("==") == 1
    assert first.count("--hash=sha256:") >= 1
    assert not first.rstrip().endswith("\\")
    assert first_package("# none\n") == ""


@pytest.fixture
def pip_audit(tmp_path: Path) -> Callable[[str], Path]:
    """A stand-in that notes its arguments, and does this."""

    def make(does: str) -> Path:
        program = tmp_path / "pip-audit"
        program.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n{does}\n')
        program.chmod(0o755)
        return program

    return make


def audit(program: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "deploy/audit_lock.py", LOCK, "--pip-audit", program, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answer(*packages: object) -> str:
    return f"echo '{json.dumps({'dependencies': packages})}'"


@pytest.mark.parametrize(
    ("does", "code", "says"),
    [
        (answer(FINE), GOOD, "1 packages audited"),
        (f"{answer(BAD)}; exit 1", WEAK, "bad 1.0: PYSEC-1"),
        (answer(SKIPPED), NOT_AUDITED, "NOT AUDITED: Dependency not found"),
        ("echo 'ERROR: Could not connect' >&2; exit 1", NOT_AUDITED, "NOT AUDITED: ERROR: Could not connect"),
        ("exit 4", NOT_AUDITED, "NOT AUDITED: pip-audit ended with 4"),
    ],
)
def test_the_exit_code_says_whether_it_was_asked(does: str, code: int, says: str, pip_audit):
    ended = audit(pip_audit(does))
    skipping = audit(pip_audit(does), "--may-skip")

    assert ended.returncode == code
    assert says in ended.stdout
    # In the build, what could not be asked does not fail, and is not called good.
    assert skipping.returncode == (GOOD if code == NOT_AUDITED else code)
    assert skipping.stdout == ended.stdout
    assert ended.stderr == skipping.stderr == ""


def test_an_index_that_knows_nothing_is_asked_about_one_package_alone(pip_audit, tmp_path):
    audit(pip_audit(answer(SKIPPED)))

    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert "--require-hashes" in asked
    assert str(LOCK) not in asked


@pytest.mark.skipif(not (ROOT / ".venv-audit/.done").exists(), reason="`make sbom` has not installed its tools")
def test_the_bill_of_materials_names_every_locked_package_with_its_hashes(tmp_path):
    subprocess.run(["make", "sbom"], cwd=ROOT, check=True, capture_output=True, env=_without_make())  # noqa: S607
    bill = json.loads((ROOT / "dist/sbom.json").read_text(encoding="utf-8"))
    lock = LOCK.read_text(encoding="utf-8")

    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "onboarding-worker")
    bundled = json.loads(BUNDLED.read_text(encoding="utf-8"))
    assert [one for one in bill["components"] if one in bundled] == bundled
    locked = [one for one in bill["components"] if one not in bundled]
    found = {(one["name"], one["version"]) for one in locked}
    assert found == set(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==([^ ;]+)", lock, re.MULTILINE))
    hashes = {entry["content"] for one in locked for link in one["externalReferences"] for entry in link["hashes"]}
    assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    assert str(ROOT) not in json.dumps(bill)


def _without_make() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
