"""What commands write is their user's alone, and secrets that other users can read start nothing."""

import html
import os
import shlex
import stat
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.desk.desk import Desk
from tests.suite.of_features import of_features


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def files(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}


def test_each_file_that_a_command_writes_is_its_users_alone(desk: Desk):
    listed = desk.list_of([{"customer_id": "A;=1+1", "email": "a@example.com"}, {"customer_id": "B", "email": "?"}])
    before = files(desk.path)
    run = ["--log-file", "run.log", "run", listed, "--yes"]
    commands = [
        ["check", listed, "--errors", "errors.csv"],
        run,
        ["report", "1", "--with-links", "--out", "report.csv"],
        ["report", "1", "--with-links", "--out", "report.html"],
        ["template", "preview", "--row", "2", listed, "--out", "preview.txt"],
        *(command for command, _ in of_features("PRIVATE")),
    ]
    for command in commands:
        assert desk.onboard(*command).code in (0, 1), command
    made = {name: mode for name, mode in files(desk.path).items() if name not in before}
    wanted = "errors.csv run.log report.csv report.html preview.txt onboarding.db.lock"
    assert made.keys() >= {*wanted.split(), *(name for _, name in of_features("PRIVATE"))}
    assert set(made.values()) == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_report_is_not_written_into_another_users_pipe(desk: Desk, through_a_link: bool):
    desk.onboard("import", desk.list_of([{"customer_id": "A", "email": "a@example.com"}]))
    pipe, out = desk.path / "pipe", desk.path / "report.csv"
    os.mkfifo(pipe)
    if through_a_link:
        out.symlink_to(pipe)
    else:
        pipe.rename(out)
    os.chown(out, 65534, -1, follow_symlinks=False)
    reader = os.open(out, os.O_RDONLY | os.O_NONBLOCK)

    ended = desk.onboard("report", "1", "--with-links", "--out", str(out))

    assert (ended.code, os.read(reader, 1000)) == (2, b"")
    assert "report.csv is another user's, who would read what is written: give another name" in ended.err
    os.chown(out, 0, -1, follow_symlinks=False)
    assert desk.onboard("report", "1", "--out", str(out)).code == 0
    assert os.read(reader, 1000).startswith(b"row,customer_id")
    os.close(reader)


def test_a_database_behind_a_link_is_private_too(desk: Desk):
    """SQLite follows the link, and made the file readable for all."""
    there = desk.path / "there"
    there.mkdir()
    for file in desk.path.glob("onboarding.db*"):
        file.unlink()
    (desk.path / "onboarding.db").symlink_to(there / "real.db")
    listed = desk.list_of([{"customer_id": "A", "email": "a@example.com"}])
    assert desk.onboard("import", listed).code == 0
    assert files(there)["real.db"] == 0o600


def test_no_cell_of_a_report_is_a_formula_with_another_separator(desk: Desk):
    desk.onboard("import", desk.list_of([{"customer_id": "A;=cmd|'/C calc'!A0;", "email": "a@example.com"}]))
    for form in ([], ["--excel"], ["--format", "html"]):
        shown = html.unescape(desk.onboard("report", "1", *form).out)
        assert ";'=cmd" in shown
        assert ";=cmd" not in shown


def test_a_planted_link_is_replaced_and_its_target_stays(desk: Desk):
    desk.onboard("import", desk.list_of([{"customer_id": "A", "email": "a@example.com"}]))
    victim = desk.path / "victim"
    victim.write_text("kept")
    for name in ("report.csv", ".report.csv.part", "preview.txt"):
        (desk.path / name).symlink_to(victim)
    assert desk.onboard("report", "1", "--out", "report.csv").code == 0
    assert desk.onboard("template", "preview", "--out", "preview.txt").code == 0
    assert victim.read_text() == "kept"
    assert not (desk.path / "report.csv").is_symlink()


def test_a_secret_that_other_users_can_read_or_change_refuses_the_start(desk: Desk, subtests: pytest.Subtests):
    listed = desk.list_of([{"customer_id": "A", "email": "a@example.com"}])
    for name, bits in product(
        ("onboarding.key", "onboarding-digest.key", "secrets/idenfy_key"), (0o644, 0o604, 0o602, 0o620)
    ):
        with subtests.test(name=name, bits=bits):
            (desk.path / name).chmod(bits)
            ended = desk.onboard("run", listed)
            assert ended.code == 2
            [command] = {line.split("`")[1] for line in ended.lines if "other users" in line}
            assert shlex.split(command) == ["chmod", "600", str(desk.path / name)]
            subprocess.run(shlex.split(command), check=True)
    assert desk.onboard("run", listed).code == 0


def test_a_group_may_read_a_secret_and_a_command_without_need_of_it_does_not_look(desk: Desk):
    for name in ("onboarding.key", "onboarding-digest.key"):
        (desk.path / name).chmod(0o640)
    (desk.path / "secrets" / "idenfy_key").chmod(0o644)
    assert desk.onboard("status").code == 0


def test_a_configuration_that_every_user_can_change_starts_nothing(desk: Desk):
    desk.config.chmod(0o646)
    ended = desk.onboard("status")
    assert ended.code == 2
    assert ended.lines == [f"{desk.config}: can be changed by other users of this machine: `chmod o-w {desk.config}`"]
    desk.config.chmod(0o664)
    assert desk.onboard("status").code == 0
