"""Connections that are kept: one request after the other, and no answer that another request has caused."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from aiohttp.client_proto import ResponseHandler

from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from onboarding_worker.http import client
from tests.http.talks import LONG, call, listening, post, read_request, says


async def test_a_kept_connection_that_the_server_closes_under_the_request_was_sent_once(http):
    requests = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        requests.append(await read_request(reader))  # the next one on the same connection: closed, unanswered

    async with listening(once) as url:
        first = await http.call(post(url), timeout=LONG)
        second = await http.call(post(url), timeout=LONG)

    assert (first.status, first.headers["content-length"], first.body) == (200, "2", b"{}")
    assert second == Broken(sent=True, detail="connection closed without an answer")
    assert len(requests) == 2  # not a third: no library repeated it


async def test_a_kept_connection_that_the_server_closed_before_the_request_is_replaced(http):
    accepted = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        await says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")(reader, writer)

    async with listening(once) as url:
        got = []
        for _ in range(3):
            got.append(await http.call(post(url), timeout=LONG))
            await asyncio.sleep(0.01)  # the end of the connection arrives

    assert [(answer.status, answer.body) for answer in got] == [(200, b"{}")] * 3
    assert len(accepted) == 3


async def test_requests_go_one_after_the_other_over_a_kept_connection(http):
    accepted = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        await says(*(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n for n in range(4)))(reader, writer)

    async with listening(serve) as url:
        got = [await http.call(post(url), timeout=LONG, reads_body=n != 2) for n in range(4)]

    assert [answer.body for answer in got] == [b"0", b"1", b"", b"3"]
    assert len(accepted) == 1


async def test_an_answer_that_nobody_asked_for_is_no_calls_answer(http):
    """aiohttp would give it to the next call, and each later answer to the call after its own."""
    said_more = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown")(reader, writer)
        await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
        await writer.drain()
        said_more.set()
        await reader.read()

    async with listening(talk) as url:
        first = await http.call(post(url), timeout=LONG)
        await said_more.wait()
        await asyncio.sleep(0.01)
        second = await http.call(post(url), timeout=LONG)

    assert isinstance(first, HttpAnswer)
    assert isinstance(second, HttpAnswer)
    assert (first.body, second.body) == (b"own", b"own")


BUSY = b"HTTP/1.1 429 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"
OWN = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"


async def test_a_second_answer_right_behind_the_first_is_no_calls_answer(http):
    accepted = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        await says(*[OWN + BUSY] * 3)(reader, writer)

    async with listening(talk) as url:
        answers = [await http.call(post(url), timeout=LONG) for _ in range(3)]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"own")] * 3
    assert [answer.headers.get("retry-after") for answer in answers] == [None] * 3
    assert len(accepted) == 3


@pytest.mark.parametrize("more", [BUSY[:10], b"babble"], ids=["half an answer", "no HTTP"])
async def test_what_comes_right_behind_an_answer_is_no_calls_answer(http, more):
    async with listening(says(*[OWN + more] * 3)) as url:
        answers = [await http.call(post(url), timeout=LONG) for _ in range(3)]

    unknown = Broken(sent=True, detail="answer is not HTTP")
    assert [answer for answer in answers if answer != unknown and (answer.status, answer.body) != (200, b"own")] == []


async def test_an_answer_before_the_request_is_no_answer(http, monkeypatch):
    monkeypatch.setattr(client.Connector, "_create_connection", greeted(client.Connector._create_connection))

    got = await call(http, says())

    assert isinstance(got, Broken)
    assert not got.sent
    assert got.detail.endswith("the server sends before it is asked")


def greeted(create: Callable[..., Awaitable[ResponseHandler]]) -> Callable[..., Awaitable[ResponseHandler]]:
    async def create_greeted(*arguments: object) -> ResponseHandler:
        protocol = await create(*arguments)
        protocol.data_received(b"220 hello\r\n")
        return protocol

    return create_greeted


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_request_that_may_no_longer_be_written_is_not_sent_and_its_connection_is_the_next_calls(
    tls, making, self_signed, tmp_path
):
    requests, asked, accepted = [], [], []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        while True:
            requests.append(await read_request(reader))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def answering(answer: bool) -> Callable[[bool], bool]:
        def may_write(waited: bool) -> bool:
            asked.append((waited, len(requests)))
            return answer

        return may_write

    async with listening(serve, self_signed if tls else None) as url:
        place = url.partition("//")[2]
        trust = {}
        if tls:
            url = f"https://{place}"
            port = int(place.partition(":")[2])
            trust[("127.0.0.1", port)] = ssl.create_default_context(cafile=tmp_path / "server.pem")
        http = making(trust)
        first = await http.call(post(url), timeout=LONG, may_write=answering(False))
        await asyncio.sleep(0.05)
        assert requests == []
        second = await http.call(post(url), timeout=LONG, may_write=answering(True))

    assert first == Broken(sent=False, detail=f"{place}: too late to be written when there was a connection")
    assert second.status == 200
    assert (len(accepted), len(requests)) == (1, 1)
    assert [number for _, number in asked] == [0, 0]  # once for each call, before anything was written
    assert asked[0] == (True, 0)


async def test_whether_a_request_may_be_written_is_asked_when_its_connection_is_there(http):
    """A TLS handshake that stalls: the answer of before it is of no use."""
    asked = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    def may_write(_: bool) -> bool:
        asked.append(1)
        return True

    async with listening(silent) as url:
        https = url.replace("http:", "https:")
        got = await http.call(post(https), timeout=timedelta(milliseconds=80), may_write=may_write)

    place = url.partition("//")[2]
    assert got == Broken(sent=False, detail=f"{place}: time-out before there was a connection")
    assert asked == []


async def test_a_look_up_is_written_once(http):
    """ClientSession would repeat it on a new connection: a second request for one slot of the account's limit."""
    asked, requests = [], []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        requests.append(await read_request(reader))

    def may_write(_: bool) -> bool:
        asked.append(1)
        return True

    async with listening(once) as url:
        look_up = HttpRequest("GET", url, {})
        await http.call(look_up, timeout=LONG)
        got = await http.call(look_up, timeout=LONG, may_write=may_write)

    assert got == Broken(sent=True, detail="connection closed without an answer")
    assert (len(requests), len(asked)) == (2, 1)
