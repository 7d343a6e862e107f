"""`onboard users add`."""

import io

from onboarding_worker.features.dashboard.passwords import is_password
from onboarding_worker.features.dashboard.users import parse_users
from tests.desk.desk import Desk


def test_users_are_added_to_a_private_file_that_the_dashboard_reads(bare: Desk, monkeypatch):
    for name, role in (("ona", "operator"), ("vita", "viewer")):
        monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
        added = bare.onboard("users", "add", name, "--role", role)
        assert (added.code, added.out) == (0, f"{name} was added to users.toml, as {role}\n")
        assert ("name the file" in added.err) == (name == "ona")  # until the configuration does
        assert name == "vita" or bare.onboard("init", "--sandbox").code == 0
        bare.add('[dashboard]\nusers = { file = "users.toml" }\n')

    file = bare.path / "users.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    users = parse_users(file.read_text())
    assert {name: user.role.value for name, user in users.items()} == {"ona": "operator", "vita": "viewer"}
    assert is_password("correct horse battery", users["ona"])
    assert not is_password("correct horse", users["ona"])
    assert "horse" not in file.read_text()


def test_a_user_who_is_there_a_short_password_and_an_open_file_are_refused(bare: Desk, monkeypatch):
    def add(name: str, password: str = "correct horse battery"):  # noqa: S107
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        return bare.onboard("users", "add", name)

    assert add("ona").code == 0
    assert "has a user 'ona': remove the table" in add("ona").err
    assert "too short" in add("vita", "short").err
    assert add("o\nna").code == 2
    (bare.path / "users.toml").chmod(0o644)
    assert "`chmod 600 users.toml`" in add("vita").err
