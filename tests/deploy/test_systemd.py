"""The systemd units: real commands, with no right that they do not need."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from onboarding_worker.cli.registry import main_group
from tests.deploy.compose_file import ROOT
from tests.suite.waiting import ENDS_WITHIN

FOLDER = ROOT / "deploy/systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateDevices": "yes",
    "RestrictSUIDSGID": "yes",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
    "User": "onboarding",
}


def lines(unit: Path, section: str) -> list[tuple[str, str]]:
    """The settings of a section; a key may come several times."""
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text("utf-8"))
    assert parser.has_section(section)
    text = unit.read_text("utf-8").partition(f"[{section}]")[2].partition("\n[")[0]
    return [
        (key, value) for line in text.splitlines() if line and line[0] != "#" for key, _, value in [line.partition("=")]
    ]


def test_each_unit_runs_a_command_that_there_is_without_needless_rights(subtests):
    assert SERVICES
    for unit in SERVICES:
        with subtests.test(case=unit.name):
            service = lines(unit, "Service")
            commands = [value.split()[1] for key, value in service if key == "ExecStart"]

            assert set(commands) <= set(main_group.list_commands(None))
            assert HARDENED.items() <= dict(service).items()


@pytest.mark.parametrize("unit", [one for one in SERVICES if "migrate" not in one.name], ids=lambda unit: unit.name)
def test_each_process_is_started_again_and_has_time_to_end(unit: Path):
    service = dict(lines(unit, "Service"))

    assert (service["Restart"], service["KillMode"], service["TimeoutStopSec"]) == ("always", "mixed", "60")
    assert service["RestartPreventExitStatus"] == "2"


def test_the_target_starts_units_that_are_there():
    wanted = dict(lines(FOLDER / "onboarding.target", "Unit"))["Wants"].split()

    assert {name.replace("@1", "@") for name in wanted} <= {unit.name for unit in SERVICES}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_reads_each_unit_without_a_word(tmp_path: Path):
    """With a program and a user that are there: it looks for both."""
    for unit in FOLDER.iterdir():
        text = unit.read_text("utf-8").replace("/opt/onboarding/bin/onboard", "/bin/true")
        (tmp_path / unit.name.replace("@.", "@1.")).write_text(text.replace("=onboarding\n", "=root\n"))
    units = [str(tmp_path / unit.name.replace("@.", "@1.")) for unit in SERVICES]
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units]
    ended = subprocess.run(verify, capture_output=True, text=True, timeout=ENDS_WITHIN, check=False)

    ours = [line for line in ended.stderr.splitlines() if str(tmp_path) in line]
    assert ours == []
