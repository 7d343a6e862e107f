"""One call over real sockets: the answer, and whether the request may have been carried out."""

import asyncio
import ssl
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from onboarding_worker.core.foundation.version import __version__
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from onboarding_worker.http.client import Http
from tests.http.talks import LONG, call, listening, post, read_request, says

SHORT = timedelta(milliseconds=80)
CONNECTED = timedelta(milliseconds=600)  # by then there is a connection, on a busy machine too


def place_of(url: str) -> str:
    return url.partition("//")[2].rstrip("/")


async def test_a_request_is_sent_exactly_as_the_adapter_built_it(http):
    seen = {}

    async def answer(request: web.Request) -> web.Response:
        seen.update(method=request.method, path=request.raw_path, headers=request.headers, body=await request.read())
        return web.Response(status=418, body=b"short and stout", headers={"Retry-After": "3"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        url = f"http://127.0.0.1:{server.port}/v2/a%2Fb%20c/%7e"
        request = HttpRequest("POST", url, {"api_key": "k", "Content-Type": "application/json"}, b'{"a":"\\u00ed"}')
        got = await http.call(request, timeout=LONG)

    assert isinstance(got, HttpAnswer)
    assert (got.status, got.body, got.headers["retry-after"]) == (418, b"short and stout", "3")
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/v2/a%2Fb%20c/%7e", b'{"a":"\\u00ed"}')
    assert seen["headers"]["api_key"] == "k"
    assert seen["headers"]["User-Agent"] == f"onboarding-worker/{__version__}"


async def test_a_redirect_is_answered_and_never_followed(http):
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        got = await http.call(post(f"http://127.0.0.1:{server.port}/here"), timeout=LONG)

    assert isinstance(got, HttpAnswer)
    assert got.status == 307
    assert asked == ["/here"]


async def test_cookies_of_one_answer_do_not_travel_with_the_next_request(http):
    cookies = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(dict(request.cookies))
        response = web.Response()
        response.set_cookie("session", "one")
        return response

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app, host="localhost") as server:
        for _ in range(2):
            await http.call(post(f"http://localhost:{server.port}/"), timeout=LONG)

    assert cookies == [{}, {}]


async def test_a_closed_port_is_not_sent(http):
    port = unused_port()
    got = await http.call(post(f"http://127.0.0.1:{port}/a/secret/path"), timeout=LONG)

    assert got == Broken(sent=False, detail=f"127.0.0.1:{port}: connection refused or not possible")


async def test_a_host_that_does_not_exist_is_not_sent(http, session):
    # Asking a name server would leave this machine; the resolver's answer is all that matters here.
    async def nowhere(*_: object, **__: object) -> list[object]:
        raise OSError("no such host")

    session.connector._resolver.resolve = nowhere
    got = await http.call(post("http://provider.invalid/"), timeout=LONG)

    assert got == Broken(sent=False, detail="provider.invalid:80: host name not found")


async def test_a_failed_tls_handshake_is_not_sent(http):
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with listening(plain) as url:
        got = await http.call(post(url.replace("http:", "https:")), timeout=LONG)

    assert got == Broken(sent=False, detail=f"{place_of(url)}: TLS handshake failed")


async def test_a_tls_handshake_that_never_ends_is_not_sent(http):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as url:
        got = await http.call(post(url.replace("http:", "https:")), timeout=SHORT)

    assert got == Broken(sent=False, detail=f"{place_of(url)}: time-out before there was a connection")


async def test_a_request_to_an_invalid_address_is_not_sent(session):
    got = await Http(session).call(post("http:///nothing"), timeout=LONG)

    assert got == Broken(sent=False, detail="address not valid")


async def test_a_server_that_reads_and_closes_was_sent_to(http):
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    assert await call(http, close) == Broken(sent=True, detail="connection closed without an answer")


async def test_a_server_that_closes_without_reading_may_have_been_sent_to(http):
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    got = await call(http, slam)

    assert isinstance(got, Broken)
    assert got.sent


async def test_an_answer_that_does_not_come_was_sent(http):
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()

    assert await call(http, hang, CONNECTED) == Broken(sent=True, detail="time-out before the answer was complete")


async def test_an_answer_that_does_not_come_over_a_kept_connection_was_sent(http):
    async def one_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await reader.read()

    async with listening(one_answer) as url:
        first = await http.call(post(url), timeout=LONG)
        second = await http.call(post(url), timeout=SHORT)

    assert isinstance(first, HttpAnswer)
    assert second == Broken(sent=True, detail="time-out before the answer was complete")


async def test_an_answer_that_trickles_runs_into_the_same_deadline(http):
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert await call(http, trickle, CONNECTED) == Broken(sent=True, detail="time-out before the answer was complete")


async def test_cancelling_a_call_reaches_its_caller(http):
    arrived = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await reader.read()

    async with listening(hang) as url:
        task = asyncio.create_task(http.call(post(url), timeout=LONG))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_with_a_session_that_reports_nothing_a_failure_counts_as_sent():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with aiohttp.ClientSession() as session, listening(silent) as url:
        got = await Http(session).call(post(url.replace("http:", "https:")), timeout=SHORT)

    assert isinstance(got, Broken)
    assert got.sent


async def test_a_certificate_that_is_not_trusted_is_not_sent_to(http, self_signed):
    requests = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.read())

    async with listening(answer, tls=self_signed) as url:
        got = await http.call(post(url.replace("http:", "https:")), timeout=LONG)

    assert got == Broken(
        sent=False, detail=f"{place_of(url)}: certificate not trusted (self-signed, and not named as `ca`)"
    )
    assert b"".join(requests) == b""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_trusted_certificate_must_have_the_hosts_name(making, self_signed, tmp_path, host):
    trusted = ssl.create_default_context(cafile=tmp_path / "server.pem")

    async with listening(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), tls=self_signed) as url:
        place = place_of(url).replace("127.0.0.1", host)
        http = making({(host, int(place.partition(":")[2])): trusted})
        got = await http.call(post(f"https://{place}/"), timeout=LONG)

    if host == "127.0.0.1":
        assert (got.status, got.body) == (200, b"{}")
    else:
        assert isinstance(got, Broken)
        assert not got.sent
        assert got.detail.startswith(f"{place}: certificate")
