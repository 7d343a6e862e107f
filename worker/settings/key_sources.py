"""Encryption keys that are stored wrapped: a command prints the key, or Vault decrypts it.

Each kind is a function that gives the key, in base64. It raises ValueError, whose text shows no part
of a key, of a token or of an answer.
"""

import http.client
import json
import os
import selectors
import shutil
import socket
import ssl
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.settings.deadline import Deadline
from onboarding_worker.settings.secrets import is_of_another_user, is_writable_by_others

SECONDS = 30.0  # how long a command or Vault may take
MOST_BYTES = 100_000  # of their answers: a key has 44
VAULT_KEYS = frozenset({"url", "key", "token", "wrapped", "mount", "namespace", "ca"})
# What a command gets of the environment: what programs need to run, and where the clouds' own ones find themselves.
PASSED_ON = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE"})
PASSED_ON_OF = ("AWS_", "AZURE_", "CLOUDSDK_", "GOOGLE_", "VAULT_")
VAULT_NEEDED = frozenset({"url", "key", "token", "wrapped"})


def from_command(words: Any, directory: Path, owner: int, environ: Mapping[str, str]) -> str:
    """What the command prints, without the last line break. It gets no input, and no shell reads its words. It runs in
    `directory`, the configuration's, where its relative paths start. `owner`: the configuration's; a program of another
    user, besides root and this one, is refused. It has SECONDS, and may print MOST_BYTES."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or not (words and words[0]):
        raise ValueError('expected a program and its arguments: { command = ["PROGRAM", "ARGUMENT"] }')
    name = repr(str(words[0]))
    program = _program(words[0], directory, owner, environ)
    deadline = Deadline(SECONDS, each=SECONDS)
    try:
        with subprocess.Popen(  # noqa: S603 -- the operator's own configuration names it
            words,
            executable=program,
            cwd=directory,
            env={key: value for key, value in environ.items() if key in PASSED_ON or key.startswith(PASSED_ON_OF)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as running:
            try:
                printed = _printed(running.stdout, deadline)
                code = running.wait(deadline.left()) if len(printed) <= MOST_BYTES else None
            finally:
                running.kill()  # else leaving this block would wait for it
    except (TimeoutError, subprocess.TimeoutExpired):
        raise ValueError(f"the command {name} took longer than {SECONDS:g} seconds") from None
    except OSError as error:
        raise ValueError(f"the command {name} cannot be run: {error.strerror or 'unknown reason'}") from None
    if code is None:
        raise ValueError(f"the command {name} printed more than {MOST_BYTES:,} bytes; it must print the key alone")
    if code:
        raise ValueError(f"the command {name} ended with code {code}")
    key = printed.decode("ascii", "replace").strip()
    if not key:
        raise ValueError(f"the command {name} printed nothing")
    return key


def _program(word: str, directory: Path, owner: int, environ: Mapping[str, str]) -> Path:
    """The program's file: at a path, or found on PATH. Raises ValueError, also where others can choose what runs."""
    found = directory / word if "/" in word else Path(shutil.which(word, path=environ.get("PATH")) or directory / word)
    name = repr(word)
    try:
        facts = found.stat() if "\0" not in word else None
    except OSError as error:
        raise ValueError(f"the command {name} cannot be run: {error.strerror or 'unknown reason'}") from None
    if facts is None:
        raise ValueError(f"the command {name} cannot be run")
    if is_writable_by_others(facts):
        raise ValueError(f"the command {name} can be changed by other users of this machine: {found}")
    if is_of_another_user(facts) and facts.st_uid != owner:
        raise ValueError(f"the command {name} is another user's: {found}")
    return found


def _printed(output: IO[bytes] | None, deadline: Deadline) -> bytes:
    """What a process prints until it closes its output, or the first bytes of too many. Raises TimeoutError."""
    assert output is not None  # noqa: S101 -- for mypy: it is a pipe
    found = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while len(found) <= MOST_BYTES:
            if not selector.select(deadline.left()):
                raise TimeoutError
            part = os.read(output.fileno(), MOST_BYTES)
            if not part:
                break
            found += part
    return found


def from_vault(given: Any) -> str:
    """What Vault's transit engine decrypts: `wrapped` is `vault:v1:…`, made with `key`."""
    if not isinstance(given, dict) or not VAULT_NEEDED <= given.keys() <= VAULT_KEYS:
        raise ValueError("expected { vault = { url = …, key = …, token = …, wrapped = … } }, also mount, namespace, ca")
    texts = {name: str(value).strip() for name, value in given.items()}
    try:
        url = urlsplit(texts["url"])
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host or url.scheme not in ("https", "http") or (url.scheme == "http" and not is_loopback(host)):
        raise ValueError("vault.url: expected https://HOST (http:// for this machine only)")
    path = f"{url.path.rstrip('/')}/v1/{quote(texts.get('mount', 'transit'))}/decrypt/{quote(texts['key'], safe='')}"
    headers = {"X-Vault-Token": texts["token"], "Content-Type": "application/json"}
    if "namespace" in texts:
        headers["X-Vault-Namespace"] = texts["namespace"]
    try:
        status, body = _post(url.scheme, host, port, path, json.dumps({"ciphertext": texts["wrapped"]}), headers, texts)
    except ssl.SSLCertVerificationError:
        raise ValueError(f"the certificate of Vault at {host} is not trusted") from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a line break in the token
        raise ValueError(f"Vault at {host} cannot be asked: {type(error).__name__}") from None
    if status != 200:
        raise ValueError(f"Vault at {host} answered {status}")
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        if isinstance(key := json.loads(body)["data"]["plaintext"], str) and key:
            return key
    raise ValueError(f"Vault at {host} answered without a key")


def _post(
    scheme: str, host: str, port: int | None, path: str, body: str, headers: Mapping[str, str], texts: Mapping[str, str]
) -> tuple[int, bytes]:
    """The status and the body. No redirect is followed and no proxy used: the token goes to this host alone."""
    deadline = Deadline(SECONDS, each=SECONDS)
    connection = (http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection)(host, port)
    try:
        connection.sock = deadline.connect(host, connection.port)
        if scheme == "https":
            context = ssl.create_default_context(cadata=texts.get("ca"))
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        connection.response_class = partial(_Answer, deadline)  # type: ignore[assignment]
        connection.request("POST", path, body.encode(), dict(headers))
        with connection.getresponse() as answer:
            return answer.status, answer.read(MOST_BYTES)
    finally:
        connection.close()


class _Answer(http.client.HTTPResponse):
    """Read until the deadline: a time-out of the connection alone would be one for each byte."""

    def __init__(self, deadline: Deadline, connection: socket.socket, **options: Any) -> None:
        super().__init__(connection, **options)
        self.fp = deadline.reader(connection)
