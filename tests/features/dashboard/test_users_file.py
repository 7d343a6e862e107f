"""The file of users, which `[dashboard]` names."""

from pathlib import Path

import pytest

from onboarding_worker.features.dashboard.users import Dashboard, Role, User, UserList
from onboarding_worker.settings.secrets import Secret
from tests.settings.samples import loaded, problems, tree

HASHED = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$dGhpcyBpcyBub3QgYSByZWFsIGhhc2g"
ANNA = f'[anna]\nrole = "operator"\npassword = "{HASHED}"\n'


def users_of(tmp_path: Path, text: str) -> UserList:
    (tmp_path / "users.toml").write_text(text)
    return loaded(tmp_path, tree(dashboard={"users": {"file": "users.toml"}})).section(Dashboard).users


def test_users_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    users = users_of(tmp_path, ANNA + ANNA.replace("anna", '"bert@example.com"').replace("operator", "service desk"))

    assert users["anna"] == User(Role.OPERATOR, Secret(HASHED))
    assert users["bert@example.com"].role is Role.SERVICE_DESK


def test_a_users_file_of_another_form_is_one_line_without_a_password(tmp_path: Path, subtests: pytest.Subtests) -> None:
    cases = [
        "anna",
        'anna = "one"',
        "[anna]\nname = 1",
        ANNA.replace("operator", "boss"),
        ANNA.replace("argon2id", "argon2d"),
        ANNA.replace(HASHED, "hunter2-hunter2"),
        ANNA + "more = 1\n",
        ANNA.replace("[anna]", '["anna\\n"]'),
    ]
    for text in cases:
        with subtests.test(text=text):
            (tmp_path / "users.toml").write_text(text)

            (line,) = problems(tmp_path, tree(dashboard={"users": {"file": "users.toml"}}))

            assert line.startswith("dashboard.users: ")
            assert HASHED not in line
            assert "hunter2" not in line


def test_users_do_not_stand_in_the_configuration(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, tree(dashboard={"users": {"anna": "literal"}}))

    assert line.startswith('dashboard.users: expected { file = "PATH" }')


def test_a_file_of_users_that_others_can_read_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "users.toml").write_text(ANNA)
    (tmp_path / "users.toml").chmod(0o644)

    (line,) = problems(tmp_path, tree(dashboard={"users": {"file": "users.toml"}}))

    assert "can be read or changed by other users of this machine: `chmod 600 " in line


def test_a_changed_file_of_users_is_read_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    users = users_of(tmp_path, ANNA)
    file = tmp_path / "users.toml"
    assert users.current() is users

    file.write_text(ANNA.replace("anna", "bert"))
    changed = users.current()
    assert set(changed) == {"bert"}

    for bad in ("no TOML", ANNA.replace("operator", "boss")):
        file.write_text(bad)
        assert changed.current() is changed
    file.write_text(ANNA)
    file.chmod(0o644)
    assert changed.current() is changed
    file.unlink()
    assert changed.current() is changed
    assert "operator" not in repr(users["anna"].password)


def test_no_password_is_in_the_settings_repr_or_their_json(tmp_path: Path) -> None:
    (tmp_path / "users.toml").write_text(ANNA)
    read = loaded(tmp_path, tree(dashboard={"users": {"file": "users.toml"}}))

    assert HASHED not in repr(read) + read.model_dump_json()
