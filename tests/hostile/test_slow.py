"""Senders that are slow on purpose: each connection is ended, and a quick request meanwhile is answered at once."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest

from onboarding_worker.web import server
from tests.conftest import SetClock
from tests.hostile.conftest import WEB
from tests.hostile.genuine import AU
from tests.hostile.requests import raw, status_of
from tests.hostile.served import ENDS_WITHIN, say, served
from tests.web.site import Site

BODY_SECONDS, IDLE_SECONDS = 0.2, 0.3  # for the test; the product's are 10 and 30
HEAD = raw(b"", length="100", Connection=None)
CHUNKS = raw(b"", length=None, Transfer_Encoding="chunked", Connection=None)
# Each: what is sent at once, what is sent again and again behind it, and the status of the answer; 0 for none.
CASES: dict[str, tuple[bytes, bytes, int]] = {
    "nothing": (b"", b"", 0),
    "half a request line": (b"POST /eve", b"", 0),
    "a request line, letter by letter": (b"POST /", b"a", 0),
    "half a header": (b"POST /events HTTP/1.1\r\nHost: x\r\nAuthoriz", b"", 0),
    "a header, letter by letter": (b"POST /events HTTP/1.1\r\nHost: x\r\nX-A: ", b"a", 0),
    "header by header": (b"POST /events HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n", 0),
    "blank lines": (b"", b"\r\n", 0),
    "no body": (HEAD, b"", 408),
    "a body, letter by letter": (HEAD, b" ", 408),
    "chunk by chunk": (CHUNKS, b"1\r\n \r\n", 408),
    "a chunk's extension, letter by letter": (CHUNKS + b"1;", b"a", 408),
    "trailers, one by one": (CHUNKS + b"1\r\n \r\n0\r\n", b"X-A: b\r\n", 408),
    "a webhook's body": (raw(b"", path=AU, length="100", Connection=None), b" ", 408),
    "a stranger's body": (raw(b"", known=False, length="100", Connection=None), b" ", 401),
    "the body of an unknown address": (raw(b"", path="/x", length="100", Connection=None), b" ", 404),
    "the body of a health check": (raw(b"", path="/healthz", method="GET", length="100", Connection=None), b" ", 200),
    "a second request that does not come": (raw(Connection=None) + b"POST /eve", b"", 202),
}


@pytest.fixture(scope="module")
def port(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("slow")
    (folder / "onboarding.db").write_bytes(sqlite_template.read_bytes())
    site = Site(
        f"sqlite:///{folder / 'onboarding.db'}", folder, SetClock(), keys=WEB, scripted=False, body_seconds=BODY_SECONDS
    )
    with mock.patch.object(server, "IDLE_SECONDS", IDLE_SECONDS), served(site) as listens_on:
        yield listens_on


@pytest.mark.parametrize("what", CASES)
def test_a_slow_connection_is_ended_and_keeps_no_other_waiting(port: int, what: str):
    first, again, status = CASES[what]
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=ENDS_WITHIN) as slow:
        slow.sendall(first)
        assert status_of(say(port, raw(b"", method="GET", path="/healthz"))) == 200
        slow.settimeout(0.02)
        for _ in range(int(ENDS_WITHIN / 0.02)):
            try:
                got = slow.recv(65536)
                if not got:
                    break
                answer += got
            except TimeoutError:
                with suppress(ConnectionError):
                    slow.sendall(again)
            except ConnectionError:
                break
        else:
            pytest.fail("the connection is open still")
    assert status_of(bytes(answer)) == status
