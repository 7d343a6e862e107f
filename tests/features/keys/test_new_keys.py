"""`onboard keys new`: what it prints can be used, and is secret."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from onboarding_worker.cli.commands.init import init
from onboarding_worker.features.keys.command import keys
from onboarding_worker.settings.load import load
from tests.settings.samples import problems, with_value
from tests.suite.of_features import of_features


@pytest.mark.parametrize("purpose", ["encryption", "events"])
def test_keys_new_writes_a_file_for_its_owner_alone_and_none_that_is_there(tmp_path: Path, purpose: str) -> None:
    file = tmp_path / "new.key"
    command = ["new", "--for", purpose, "--out", str(file)]
    made = CliRunner().invoke(keys, command)
    key = file.read_text("utf-8")

    assert (made.exit_code, made.stdout, len(key.split())) == (0, "", 1)
    assert key.strip() not in made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = CliRunner().invoke(keys, command)
    assert (again.exit_code, file.read_text("utf-8")) == (2, key)
    assert "exists; name another file" in again.stderr
    nowhere = CliRunner().invoke(keys, [*command[:-1], str(tmp_path / "no" / "new.key")])
    assert (nowhere.exit_code, "No such file" in nowhere.stderr) == (2, True)


@pytest.mark.parametrize("path", [("web", "senders", "signup", "keys"), *of_features("LONG_KEYS")])
def test_a_key_for_senders_is_long_enough_and_a_short_one_is_refused(path: tuple[str, ...], tmp_path: Path) -> None:
    key = CliRunner().invoke(keys, ["new", "--for", "events"]).stdout.strip()
    configuration = with_value(path, [{"env": "SENDERS"}])

    assert problems(tmp_path, configuration, SENDERS=key) == []
    (line,) = problems(tmp_path, configuration, SENDERS=key[:31])
    assert line.startswith(f"{'.'.join(path)}[1]: expected at least 32 characters; `onboard keys new --for events` ")
    assert key[:31] not in line


def test_the_configuration_accepts_a_printed_key(tmp_path: Path) -> None:
    CliRunner().invoke(init, ["--sandbox", str(tmp_path)])
    (tmp_path / "onboarding.key").write_text(CliRunner().invoke(keys, ["new"]).stdout)

    assert load(tmp_path / "onboarding.toml", environ={}).encryption.keys
