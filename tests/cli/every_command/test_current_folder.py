"""A current folder that was removed, or that this user may not use, is a clear error of each command."""

from contextlib import chdir
from pathlib import Path

import pytest

from onboarding_worker.cli import main
from onboarding_worker.cli.registry import COMMANDS
from tests.desk.desk import Desk, customers, own_logging

# It serves until it is ended, and uses no file.
ENDLESS = {"sandbox"}


def test_in_a_folder_that_was_removed_each_command_says_so_or_needs_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
):
    monkeypatch.delenv("ONBOARDING_CONFIG", raising=False)
    gone = tmp_path / "gone"
    gone.mkdir()
    with chdir(gone):
        gone.rmdir()
        for name in COMMANDS.keys() - ENDLESS:
            monkeypatch.setattr("sys.argv", ["onboard", *name.split()])
            with subtests.test(name=name), own_logging(), pytest.raises(SystemExit) as ended:
                main()
            said = capsys.readouterr()
            assert ended.value.code in (0, 2), name
            assert "a bug" not in said.err + said.out, name

        monkeypatch.setattr("sys.argv", ["onboard", "status"])
        with own_logging(), pytest.raises(SystemExit, match="2"):
            main()
        assert "current folder" in capsys.readouterr().err


def test_the_demo_says_which_folder_it_cannot_use(desk: Desk):
    in_the_way = desk.list_of(customers(1))

    ended = desk.onboard("demo", "--folder", f"{in_the_way}/demo")

    assert (ended.code, ended.out) == (2, "")
    assert f"{in_the_way}/demo" in ended.err
