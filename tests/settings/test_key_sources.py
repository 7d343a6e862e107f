"""Keys that are stored wrapped: a command prints them, or Vault decrypts them."""

import base64
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.settings import key_sources
from onboarding_worker.settings.load import load
from onboarding_worker.settings.needs import NOTHING
from tests.settings.samples import ENVIRON, loaded, problems, with_value, write
from tests.suite.waiting import ENDS_WITHIN

KEY = base64.b64encode(b"w" * 32).decode()
TOKEN, WRAPPED = "token-of-vault", "vault:v1:wrapped"


class FakeVault(ThreadingHTTPServer):
    """Vault's transit engine with one key, `onboarding`, and one wrapped value."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []
        self.answer: bytes | None = None  # instead of the key
        self.drips = b""  # what is sent at once, in place of the answer; header by header follows

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeVault

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers.get("X-Vault-Namespace", "")))
        if self.server.drips:
            return self.drip(self.server.drips)
        good = self.headers["X-Vault-Token"] == TOKEN and given == {"ciphertext": WRAPPED}
        body = self.server.answer or json.dumps({"data": {"plaintext": KEY}}).encode()
        self.send_response(200 if good else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drip(self, first: bytes) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(first)
            while True:
                self.wfile.write(b"a")
                time.sleep(0.02)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with FakeVault() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def with_key(reference: dict[str, Any]) -> dict[str, Any]:
    return with_value(("encryption", "keys"), [reference])


def in_vault(vault: FakeVault, **changes: Any) -> dict[str, Any]:
    secrets = {"token": {"env": "VAULT_TOKEN"}, "wrapped": {"env": "WRAPPED"}}
    return with_key({"vault": {"url": vault.url, "key": "onboarding", **secrets, **changes}})


SECRETS = {"VAULT_TOKEN": TOKEN, "WRAPPED": WRAPPED}


def test_a_command_prints_the_key(tmp_path: Path) -> None:
    settings = loaded(tmp_path, with_key({"command": [sys.executable, "-c", f"print({KEY!r})"]}))

    assert settings.encryption.keys[0].reveal() == KEY


def program(path: Path, mode: int = 0o700) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\ntest -z "$IDENFY_SECRET" && test -f onboarding.toml && echo {KEY}\n')
    path.chmod(mode)
    return path


def test_a_program_at_a_path_starts_from_the_configurations_directory_and_gets_no_secret(tmp_path: Path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    program(tmp_path / "bin" / "unwrap")

    settings = loaded(tmp_path, with_key({"command": ["bin/unwrap"]}))

    assert settings.encryption.keys[0].reveal() == KEY


def test_a_program_that_another_user_can_change_is_refused(tmp_path: Path):
    unwrap = program(tmp_path / "bin" / "unwrap", 0o707)

    (line,) = problems(tmp_path, with_key({"command": ["bin/unwrap"]}))
    assert "can be changed by other users of this machine" in line

    if os.geteuid() == 0:
        unwrap.chmod(0o700)
        os.chown(unwrap, 65534, -1)
        (line,) = problems(tmp_path, with_key({"command": ["bin/unwrap"]}))
        assert "is another user's" in line


def test_a_command_that_gives_no_key_is_a_problem_of_its_key_and_shows_nothing(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    cases = [
        ([sys.executable, "-c", "print('s3cret'); raise SystemExit(3)"], "ended with code 3"),
        ([sys.executable, "-c", ""], "printed nothing"),
        (["/no/such/program"], "cannot be run: No such file or directory"),
        ([sys.executable, "-c", "while True: print('s3cret' * 10_000)"], "printed more than 100,000 bytes"),
        ([], "expected a program and its arguments"),
        ("print", "expected a program and its arguments"),
        ([sys.executable, "-c", "print('s3cret')"], "expected 32 bytes in base64"),
    ]
    for words, said in cases:
        with subtests.test(words=words):
            (line,) = problems(tmp_path, with_key({"command": words}))

            assert line.startswith("encryption.keys[1]: ")
            assert said in line
            assert "s3cret" not in line


def test_a_command_that_does_not_end_is_given_up(tmp_path: Path, subtests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onboarding_worker.settings.key_sources.SECONDS", 1.0)
    waits = f"import sys, time; {{}}; time.sleep({10 * ENDS_WITHIN})"
    for before in ("pass", "sys.stdout.close()", f"print({KEY!r}, flush=True)"):
        with subtests.test(before=before):
            (line,) = problems(tmp_path, with_key({"command": [sys.executable, "-c", waits.format(before)]}))
            assert line.endswith("took longer than 1 seconds")


def test_what_a_command_says_of_its_errors_does_not_hold_it_up(tmp_path: Path) -> None:
    loud = f"import sys; sys.stderr.write('x' * 10_000_000); print({KEY!r})"
    assert loaded(tmp_path, with_key({"command": [sys.executable, "-c", loud]})).encryption.keys[0].reveal() == KEY


def test_vault_decrypts_the_key(tmp_path: Path, vault: FakeVault) -> None:
    settings = loaded(tmp_path, in_vault(vault), **SECRETS)

    assert settings.encryption.keys[0].reveal() == KEY
    assert vault.asked == [("/v1/transit/decrypt/onboarding", "")]


def test_vaults_mount_and_namespace_can_be_named(tmp_path: Path, vault: FakeVault) -> None:
    loaded(tmp_path, in_vault(vault, mount="keys", namespace="bank"), **SECRETS)

    assert vault.asked == [("/v1/keys/decrypt/onboarding", "bank")]


def test_a_refusal_of_vault_is_a_problem_without_its_words(tmp_path: Path, vault: FakeVault) -> None:
    (line,) = problems(tmp_path, in_vault(vault), VAULT_TOKEN="another", WRAPPED=WRAPPED)

    assert line == "encryption.keys[1]: Vault at 127.0.0.1 answered 403"


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("first", [b"HTTP", HEAD + b"X-A: ", HEAD + b"Content-Length: 90000\r\n\r\n"])
def test_a_vault_that_drips_holds_the_start_for_one_answers_time(
    tmp_path: Path, vault: FakeVault, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_sources, "SECONDS", 0.5)
    vault.drips = first
    (line,) = problems(tmp_path, in_vault(vault), **SECRETS)

    assert line == "encryption.keys[1]: Vault at 127.0.0.1 cannot be asked: TimeoutError"


@pytest.mark.parametrize("answer", [b"no JSON", b"{}", b'{"data": {"plaintext": 7}}', b"[]", b"[" * 90_000])
def test_an_answer_without_a_key_is_a_problem(tmp_path: Path, vault: FakeVault, answer: bytes) -> None:
    vault.answer = answer

    (line,) = problems(tmp_path, in_vault(vault), **SECRETS)

    assert line == "encryption.keys[1]: Vault at 127.0.0.1 answered without a key"


def test_vault_elsewhere_is_asked_over_https_only(tmp_path: Path, vault: FakeVault) -> None:
    (line,) = problems(tmp_path, in_vault(vault, url="http://vault.example.com"), **SECRETS)

    assert "expected https://HOST" in line


def test_a_vault_that_is_not_there_is_one_line(tmp_path: Path, vault: FakeVault) -> None:
    (line,) = problems(tmp_path, in_vault(vault, url="http://127.0.0.1:9"), **SECRETS)

    assert line == "encryption.keys[1]: Vault at 127.0.0.1 cannot be asked: ConnectionRefusedError"


def test_a_missing_token_is_the_one_problem(tmp_path: Path, vault: FakeVault) -> None:
    (line,) = problems(tmp_path, in_vault(vault), WRAPPED=WRAPPED)

    assert "VAULT_TOKEN is not set" in line
    assert vault.asked == []


def test_a_command_that_needs_no_key_asks_nobody(tmp_path: Path, vault: FakeVault) -> None:
    file = write(tmp_path, in_vault(vault))

    settings = load(file, environ=ENVIRON, needs=NOTHING)

    assert settings.encryption.keys[0].is_missing
    assert vault.asked == []


@pytest.mark.parametrize("kind", ["command", "vault"])
def test_only_keys_of_encryption_come_from_elsewhere(tmp_path: Path, kind: str) -> None:
    (line,) = problems(tmp_path, with_value(("accounts", "kyc", "api_secret"), {kind: ["true"]}))

    assert line.startswith("accounts.kyc.api_secret")
