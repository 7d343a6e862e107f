"""A secret that other users of the machine can read is none: the start is refused, with what to do."""

import logging
from pathlib import Path

import pytest

from onboarding_worker.settings.secrets import Referenced
from tests.settings.samples import loaded, problems, with_value

PUBLIC = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
PRIVATE = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
API_KEY = ("accounts", "kyc", "api_key")


def written(path: Path, text: str, mode: int) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_in_an_open_file_is_refused_with_the_command_to_run(tmp_path: Path, subtests):
    for mode in [0o644, 0o604, 0o602, 0o620, 0o660, 0o666]:
        with subtests.test(mode=mode):
            file = written(tmp_path / "the key", "hunter2", mode)

            (line,) = problems(tmp_path, with_value(API_KEY, {"file": "the key"}))

            assert line == (
                "accounts.kyc.api_key: the file the key can be read or changed by other users of this machine:"
                f" `chmod 600 '{file}'`"
            )


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_its_owner_and_its_group_may_read_it(tmp_path: Path, mode: int):
    written(tmp_path / "key", "hunter2", mode)

    assert loaded(tmp_path, with_value(API_KEY, {"file": "key"})).accounts["kyc"].api_key.reveal() == "hunter2"


def test_what_is_no_secret_may_be_open(tmp_path: Path):
    written(tmp_path / "from", "verify@example.com", 0o644)

    read = loaded(tmp_path, with_value(("email", "from"), {"file": "from"}))

    assert read.email is not None
    assert read.email.from_ == "verify@example.com"


@pytest.mark.parametrize(("text", "is_exposed"), [(PUBLIC, False), (PRIVATE, True), (PUBLIC + PRIVATE, True)])
def test_a_certificate_and_a_public_key_may_be_open(tmp_path: Path, text: str, is_exposed: bool):
    assert bool(Referenced.from_file(written(tmp_path / "a.pem", text, 0o644)).exposed) is is_exposed


@pytest.mark.parametrize("given", ["client.pem", {"file": "client.pem"}])
def test_a_private_key_in_an_open_file_is_refused_however_it_is_named(tmp_path: Path, given: object):
    written(tmp_path / "client.pem", PRIVATE, 0o644)

    found = problems(tmp_path, with_value(("database", "client_certificate"), given))

    assert any(line.startswith("database.client_certificate: ") and "`chmod 600 " in line for line in found)


def test_the_token_for_vault_is_a_secret_too(tmp_path: Path):
    written(tmp_path / "token", "hunter2", 0o644)
    vault = {"url": "https://vault.example.com", "key": "k", "token": {"file": "token"}, "wrapped": "vault:v1:x"}

    (line,) = problems(tmp_path, with_value(("encryption", "keys"), [{"vault": vault}]))

    assert "the file token can be read" in line


def test_a_secret_that_becomes_readable_for_others_is_not_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = written(tmp_path / "key", "old", 0o600)
    secret = loaded(tmp_path, with_value(API_KEY, {"file": "key"})).accounts["kyc"].api_key
    written(file, "planted", 0o644)

    with caplog.at_level(logging.WARNING):
        assert not secret.reload()

    assert secret.reveal() == "old"
    assert "planted" not in caplog.text
