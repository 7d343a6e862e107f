"""A fast call writes what ClientSession writes, and is used only where it is sure to fit."""

import asyncio
import gzip
import math
import re
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.model.http_messages import LARGEST_ANSWER, Broken, HttpAnswer, HttpRequest
from onboarding_worker.features.fast_calls import exchange, switch
from onboarding_worker.features.fast_calls.exchange import FastCalls
from onboarding_worker.features.fast_calls.kept_connection import KeptConnection
from onboarding_worker.http.client import Faster, Http, open_http_session
from tests.http.talks import LONG, listening, post, read_request, says

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
JSON = {"Authorization": "Basic a2V5", "Content-Type": "application/json", "Accept": "application/json"}


def fast(session: aiohttp.ClientSession) -> Http:
    return Http(session, faster=FastCalls)


async def written(request: HttpRequest, faster: Faster | None) -> bytes:
    """The bytes that a server gets; `URL` in the request's address is the server's."""
    got = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await read_request(reader))
        writer.write(ANSWER)
        await writer.drain()

    async with listening(keep) as url, open_http_session() as session:
        asked = HttpRequest(request.method, request.url.replace("URL", url), request.headers, request.body)
        answer = await Http(session, faster=faster).call(asked, timeout=LONG)
    assert isinstance(answer, HttpAnswer)
    return got[0].replace(url.removeprefix("http://").encode(), b"PLACE")


async def test_the_same_bytes_are_written_as_through_client_session(subtests):
    for what, request_ in [
        ("json", HttpRequest("POST", "URL/api/v2/token", JSON, b'{"clientId":"C-1"}')),
        ("no body", HttpRequest("POST", "URL", {}, b"")),
        (
            "odd path",
            HttpRequest("POST", "URL/a%2Fb/%7e?q=%20&x=/?!$'()*,;:@", {"content-type": "text/plain"}, b"x" * 300_000),
        ),
        ("odd headers", HttpRequest("POST", "URL/v2", {"api_key": "Zürich", "User-Agent": "own", "X": ""}, b"{}")),
        ("look-up", HttpRequest("GET", "URL/kyc/identifications/?clientId=C-1&page=1", {"Accept": "application/json"})),
    ]:
        with subtests.test(what=what):
            ours, through_session = [await written(request_, faster) for faster in (FastCalls, None)]

            head, _, body = ours.partition(b"\r\n\r\n")
            other_head, _, other_body = through_session.partition(b"\r\n\r\n")
            assert head.split(b"\r\n")[0] == other_head.split(b"\r\n")[0]
            assert sorted(head.split(b"\r\n")) == sorted(other_head.split(b"\r\n"))
            assert body == other_body


async def test_each_call_sends_the_headers_that_it_was_given():
    got = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got.append(re.search(rb"\r\nkey: (.*?)\r\n", await read_request(reader))[1])
            writer.write(ANSWER)

    async with listening(keep) as url, open_http_session() as session:
        http, headers = fast(session), {"key": "old"}
        for key in ["old", "new", *map(str, range(exchange.MOST_HEADS)), "old"]:
            headers["key"] = key
            await http.call(HttpRequest("POST", url, headers, b"{}"), timeout=LONG)

    assert got[:2] == [b"old", b"new"]
    assert got[-1] == b"old"


async def test_calls_in_flight_together_end_each_at_its_own_deadline():
    async def answers_the_last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"last" in await read_request(reader):
            await asyncio.sleep(0.4)
            writer.write(ANSWER)
        await reader.read()

    async def took(seconds: float, path: str = "/") -> tuple[object, float]:
        began = monotonic()
        got = await http.call(post(url + path), timeout=timedelta(seconds=seconds))
        return got, monotonic() - began

    async with listening(answers_the_last) as url, open_http_session() as session:
        http = fast(session)
        *late, (last, _) = await asyncio.gather(took(0.2), took(0.05), took(0.3), took(10, "/last"))
        again, _ = await took(0.05)  # after a time without calls

    for (got, seconds), timeout in zip(late, (0.2, 0.05, 0.3), strict=True):
        assert got == again == Broken(sent=True, detail="time-out before the answer was complete")
        assert timeout <= seconds < timeout + exchange.LOOK_SECONDS + 1
    assert isinstance(last, HttpAnswer)


async def test_a_connection_that_no_call_uses_is_closed(monkeypatch):
    monkeypatch.setattr(exchange, "IDLE_SECONDS", 0.05)
    closed = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(ANSWER)(reader, writer)
        assert await reader.read() == b""
        closed.set()

    async with listening(once) as url, open_http_session() as session:
        answer = await fast(session).call(post(url), timeout=LONG)
        async with asyncio.timeout(10):
            await closed.wait()

    assert isinstance(answer, HttpAnswer)


async def test_a_connection_that_was_idle_for_too_long_is_not_used(monkeypatch):
    accepted = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        await says(ANSWER, ANSWER)(reader, writer)

    async with listening(serve) as url, open_http_session() as session:
        http = fast(session)
        first = await http.call(post(url), timeout=LONG)
        monkeypatch.setattr(exchange, "IDLE_SECONDS", 0)
        second = await http.call(post(url), timeout=LONG)

    assert first == second
    assert len(accepted) == 2


BUSY = b"HTTP/1.1 429 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("more", [BUSY, b"HTTP/1.1 2", b"babble"], ids=["an answer", "half of one", "no HTTP"])
async def test_a_connection_is_dropped_for_whatever_comes_right_behind_an_answer(more):
    accepted = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        own = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"
        await says(own + more)(reader, writer)
        await reader.read()

    async with listening(talk) as url, open_http_session() as session:
        http = fast(session)
        answers = [await http.call(post(url), timeout=LONG) for _ in range(3)]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"own")] * 3
    assert [answer.headers.get("retry-after") for answer in answers] == [None] * 3
    assert len(accepted) == 3


@pytest.mark.parametrize(
    "encoded",
    [gzip.compress(b"{}" * 500)[:-10], gzip.compress(b"{}") * 2, b"abcd"],
    ids=["cut off", "two in one", "not compressed"],
)
async def test_a_part_of_what_was_compressed_is_no_answer(encoded):
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(encoded) + encoded
    async with listening(says(answer)) as url, open_http_session() as session:
        got = await fast(session).call(post(url), timeout=LONG)

    assert got == Broken(sent=True, detail="answer is not HTTP")


@pytest.mark.parametrize(
    "endless", [b"X: " + b"x" * 1000, b"1;extension-of-it\r\nx\r\n" * 50], ids=["a line behind it", "tiny chunks"]
)
async def test_all_bytes_of_an_answer_are_bounded(endless):
    written = []

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"0\r\n" if endless.startswith(b"X") else b"")
        while sum(written) < 100 * LARGEST_ANSWER:
            writer.write(endless * 50)
            await writer.drain()
            written.append(len(endless) * 50)

    async with listening(flood) as url, open_http_session() as session:
        got = await fast(session).call(post(url), timeout=LONG)

    assert got == Broken(sent=True, detail=f"answer larger than {LARGEST_ANSWER} bytes")
    assert sum(written) < 50 * LARGEST_ANSWER


async def test_a_connection_whose_call_was_cancelled_is_not_used_again():
    accepted, arrived = [], asyncio.Event()

    async def slow_at_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        await read_request(reader)
        if len(accepted) == 1:
            arrived.set()
            await reader.read()
        writer.write(ANSWER)
        await writer.drain()

    async with listening(slow_at_first) as url, open_http_session() as session:
        http = fast(session)
        cancelled = asyncio.create_task(http.call(post(url), timeout=LONG))
        await arrived.wait()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        answer = await http.call(post(url), timeout=LONG)

    assert cancelled.cancelled()
    assert isinstance(answer, HttpAnswer)
    assert len(accepted) == 2


@given(
    body=st.binary(max_size=300),
    chunked=st.booleans(),
    early=st.booleans(),
    cuts=st.lists(st.integers(1, 600), max_size=12),
)
async def test_an_answer_is_the_same_however_its_bytes_arrive(body, chunked, early, cuts):
    framed = b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % len(body)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:100], body[100:]) if part) + b"0\r\n\r\n"
    head = b"HTTP/1.1 103 Early Hints\r\nX: early\r\n\r\n" * early + b"HTTP/1.1 201 Created\r\nRetry-After: 3\r\n"
    answer = head + framed + (chunks if chunked else body)
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    opened = Opened()
    connection = KeptConnection(opened)
    for _ in range(2):
        asked = connection.ask(b"", deadline=math.inf, reads_body=True)
        for begin, end in pairwise(places):
            connection.data_received(answer[begin:end])
        got = await asked

        assert isinstance(got, HttpAnswer)
        assert (got.status, got.body, got.headers["retry-after"]) == (201, body, "3")
        assert "x" not in got.headers
        assert connection.is_usable

    connection.data_received(b"H")
    assert opened.is_closed
    assert not connection.is_usable


class Opened:
    """A connection that aiohttp has opened, without a socket."""

    def __init__(self) -> None:
        self.is_closed = False
        self.transport = self
        self.protocol = None

    def is_closing(self) -> bool:
        return self.is_closed

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    ("method", "address", "headers"),
    [
        ("PUT", "URL/", {}),
        ("GET", "URL/", {}),  # with a body
        ("POST", "http://LOCALHOST:PORT/", {}),
        ("POST", "URL/#part", {}),
        ("POST", "URL/é", {}),
        ("POST", "http://user:word@127.0.0.1:PORT/", {}),
        ("POST", "URL/", {"Host": "other.example"}),
        ("POST", "URL/", {"connection": "close"}),
        ("POST", "URL/", {"Cookie": "a=b"}),
    ],
)
async def test_a_request_that_is_not_usual_goes_through_client_session(method, address, headers, monkeypatch):
    through_session = []
    asked = aiohttp.ClientSession.request

    def counted(*arguments, **options):
        through_session.append(1)
        return asked(*arguments, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "request", counted)
    async with listening(says(ANSWER)) as url, open_http_session() as session:
        address = address.replace("URL", url).replace("PORT", url.rpartition(":")[2])
        got = await fast(session).call(HttpRequest(method, address, headers, b"{}"), timeout=LONG)

    assert isinstance(got, HttpAnswer)
    assert len(through_session) == 1


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/", {"X": "1\r\nInjected: 1"}), ("/", {"X\r\nInjected": "1"}), ("/ HTTP/1.1\r\nInjected: 1\r\nX: ", {})],
)
async def test_no_value_adds_a_header_to_the_request(path, headers):
    got = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read(1000))

    async with listening(keep) as url, open_http_session() as session:
        answer = await fast(session).call(HttpRequest("POST", url + path, headers, b"{}"), timeout=LONG)

    assert isinstance(answer, Broken)
    assert b"\r\nInjected" not in b"".join(got)


def test_the_locked_aiohttp_is_the_one_that_it_fits():
    lock = (Path(__file__).parents[3] / "requirements.lock").read_text()
    locked = re.search(r"^aiohttp==(\S+)", lock, re.MULTILINE)

    assert locked[1].startswith(switch.RELEASE)
    assert switch.unfit() == ""


@pytest.mark.parametrize("differs", ["version", "name", "parameter"])
def test_another_aiohttp_is_unfit(differs, monkeypatch):
    if differs == "version":
        monkeypatch.setattr(aiohttp, "__version__", "3.15.0")
    if differs == "name":
        monkeypatch.setitem(switch.EXPECTED, "connector:Connection.gone", set())
    if differs == "parameter":
        monkeypatch.setitem(switch.EXPECTED, "connector:Connection.close", {"gone"})

    assert aiohttp.__version__ in switch.unfit()


async def test_a_session_with_another_connector_is_refused():
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TypeError):
            fast(session)
