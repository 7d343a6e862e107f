"""Connections that are kept: one request after the other, and no answer that another request has caused."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp.client_proto import ResponseHandler

from tests.http.talks import LONG, call, listening, post, read_request, says
from worker.http import connections
from worker.http.messages import Broken, HttpAnswer


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


async def test_an_answer_before_the_request_is_no_answer(http, monkeypatch):
    monkeypatch.setattr(connections.Connector, "_create_connection", greeted(connections.Connector._create_connection))

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
