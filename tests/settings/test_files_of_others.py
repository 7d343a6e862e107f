"""Files that another user of the machine can change: the configuration and what it names, and SQLite's."""

import os
from pathlib import Path

import pytest

from onboarding_worker.settings.load import load
from onboarding_worker.settings.problems import SettingsError
from tests.settings.samples import ENVIRON, loaded, problems, tree, with_value, write

NOBODY = 65534
CHANGED = "its directory can be changed by other users of this machine: use one that only its user can change"


@pytest.mark.parametrize(("mode", "is_said"), [(0o755, False), (0o775, False), (0o777, True), (0o1777, False)])
def test_a_configuration_in_a_directory_that_others_can_change_is_warned_of(tmp_path: Path, mode: int, is_said: bool):
    file = write(tmp_path, tree())
    tmp_path.chmod(mode)

    assert (f"{file}: {CHANGED}" in load(file, environ=ENVIRON).warnings) is is_said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
@pytest.mark.parametrize(("owner", "is_said"), [(0, True), (NOBODY, False)])
def test_a_configuration_in_another_users_directory_is_warned_of_unless_both_are_that_users(
    tmp_path: Path, owner: int, is_said: bool
):
    file = write(tmp_path, tree())
    os.chown(tmp_path, NOBODY, -1)
    os.chown(file, owner, -1)

    said = f"{file}: its directory is another user's, who can replace it: use one of its own user"
    assert (said in load(file, environ=ENVIRON).warnings) is is_said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
@pytest.mark.parametrize("is_named", [True, False])
def test_another_users_link_to_a_configuration_is_refused(tmp_path: Path, monkeypatch, is_named: bool):
    write(tmp_path, tree())
    there = tmp_path / "there"
    there.mkdir()
    link = there / "onboarding.toml"
    link.symlink_to(tmp_path / "onboarding.toml")
    monkeypatch.chdir(there)
    how = {"environ": ENVIRON} if not is_named else {"path": link, "environ": ENVIRON}
    assert load(**how).accounts  # root's own link, as a ConfigMap has

    os.lchown(link, NOBODY, -1)

    with pytest.raises(SettingsError, match="is another user's link"):
        load(**how)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
def test_another_users_secret_is_refused_unless_the_configuration_is_that_users(tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("hunter2")
    file.chmod(0o600)
    os.chown(file, NOBODY, -1)
    configuration = with_value(("accounts", "kyc", "api_key"), {"file": "key"})

    (line,) = problems(tmp_path, configuration)

    assert line.startswith("accounts.kyc.api_key: the file key is another user's")
    os.chown(write(tmp_path, configuration), NOBODY, -1)
    settings = load(tmp_path / "onboarding.toml", environ=ENVIRON)
    assert settings.accounts["kyc"].api_key.reveal() == "hunter2"


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("name", ["onboarding.db", "a database"])
def test_a_sqlite_file_that_others_can_change_is_refused(tmp_path: Path, name: str, ending: str):
    file = tmp_path / f"{name}{ending}"
    file.touch()
    file.chmod(0o666)
    configuration = tree(database={"url": f"sqlite:///{name}"})

    [line] = problems(tmp_path, configuration)

    assert line.startswith(f"database.url: the file {file} can be changed by other users of this machine: `chmod o-w ")
    file.chmod(0o664)
    assert loaded(tmp_path, configuration).database.sqlite_file == tmp_path / name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
def test_another_users_sqlite_file_is_refused_unless_the_directory_is_that_users(tmp_path: Path, ending: str):
    file = tmp_path / f"onboarding.db{ending}"
    file.touch(mode=0o600)
    os.chown(file, NOBODY, -1)

    [line] = problems(tmp_path, tree())

    assert line.startswith(f"database.url: the file {file} is another user's: ")
    os.chown(tmp_path, NOBODY, -1)
    assert problems(tmp_path, tree()) == []


def test_the_file_behind_a_link_is_looked_at(tmp_path: Path):
    (tmp_path / "real.db-wal").touch()
    (tmp_path / "real.db-wal").chmod(0o666)
    (tmp_path / "onboarding.db").symlink_to(tmp_path / "real.db")

    assert len(problems(tmp_path, tree())) == 1


PUBLIC = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize("path", [("accounts", "kyc", "jwt_key"), ("email", "from"), ("email", "ca")])
@pytest.mark.parametrize("text", [PUBLIC, "verify@example.com"])
def test_a_file_that_others_can_change_is_refused_though_its_text_is_no_secret(tmp_path: Path, path, text: str):
    file = tmp_path / "named"
    file.write_text(text)
    file.chmod(0o646)

    found = problems(tmp_path, with_value(path, {"file": "named"}))

    (line,) = [line for line in found if "changed by other users of this machine" in line]
    assert line.startswith(f"{'.'.join(path)}: the file ")


def test_a_text_of_the_messages_that_others_can_change_is_refused(tmp_path: Path):
    texts = tmp_path / "templates" / "default" / "en"
    texts.mkdir(parents=True)
    (texts / "body.txt").touch(mode=0o644)
    (texts / "sms.txt").write_text("{{ link }}")
    configuration = with_value(("invitations", "templates"), "templates")

    (texts / "sms.txt").chmod(0o666)
    (line,) = problems(tmp_path, configuration)
    assert line.startswith(f"invitations.templates: the file {texts / 'sms.txt'} can be changed by other users")
    assert f"`chmod -R o-w {tmp_path / 'templates'}`" in line

    (texts / "sms.txt").chmod(0o664)
    texts.chmod(0o777)
    assert f"invitations.templates: {CHANGED}" in loaded(tmp_path, configuration).warnings
    texts.chmod(0o775)
    assert not loaded(tmp_path, configuration).warnings


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_directory_in_which_others_can_put_files_beside_the_database_is_warned_of(tmp_path: Path, mode: int):
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(mode)

    assert f"database.url: {CHANGED}" in loaded(tmp_path, tree(database={"url": "sqlite:///there/a.db"})).warnings
