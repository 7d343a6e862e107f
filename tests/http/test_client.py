"""One call over real sockets: the answer, and whether the request may have been carried out."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from worker.foundation.version import __version__
from worker.http.client import LARGEST_ANSWER, Http, open_http_session
from worker.providers.contract import Broken, HttpAnswer, HttpRequest

LONG = timedelta(seconds=10)
SHORT = timedelta(milliseconds=80)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that runs `talk` for each connection, and closes it."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await talk(reader, writer)
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


def place_of(url: str) -> str:
    return url.partition("//")[2].rstrip("/")


def post(url: str) -> HttpRequest:
    return HttpRequest("POST", url, {"Content-Type": "application/json"}, b"{}")


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with open_http_session() as session:
        yield Http(session)


async def call(http: Http, talk: Talk, within: timedelta = LONG) -> HttpAnswer | Broken:
    async with listening(talk) as url:
        return await http.call(post(url), timeout=within)


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


async def test_a_host_that_does_not_exist_is_not_sent(http):
    async with open_http_session() as session:
        # Asking a name server would leave this machine; the resolver's answer is all that matters here.
        async def nowhere(*_: object, **__: object) -> list[object]:
            raise OSError("no such host")

        session.connector._resolver.resolve = nowhere
        got = await Http(session).call(post("http://provider.invalid/"), timeout=LONG)

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


async def test_a_request_to_an_invalid_address_is_not_sent(http):
    assert await http.call(post("http:///nothing"), timeout=LONG) == Broken(sent=False, detail="address not valid")


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

    assert await call(http, hang, SHORT) == Broken(sent=True, detail="time-out before the answer was complete")


async def test_an_answer_that_trickles_runs_into_the_same_deadline(http):
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert await call(http, trickle, SHORT) == Broken(sent=True, detail="time-out before the answer was complete")


async def test_half_a_body_was_sent(http):
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"authToken":')
        await writer.drain()

    assert await call(http, half) == Broken(sent=True, detail="answer cut off")


async def test_a_request_with_an_answer_that_is_not_http_was_sent(http):
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()

    assert await call(http, babble) == Broken(sent=True, detail="answer is not HTTP")


async def test_a_huge_answer_is_given_up_at_the_bound(http):
    written = []

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
        for _ in range(160):
            writer.write(b"x" * 65536)
            await writer.drain()
            written.append(65536)

    got = await call(http, flood)

    assert got == Broken(sent=True, detail=f"answer larger than {LARGEST_ANSWER} bytes")
    assert sum(written) < 10485760  # the connection was cut, not read to its end


async def test_an_answer_of_exactly_the_bound_is_read(http):
    async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGEST_ANSWER)
        writer.write(b"x" * LARGEST_ANSWER)
        await writer.drain()

    got = await call(http, large)

    assert isinstance(got, HttpAnswer)
    assert len(got.body) == LARGEST_ANSWER


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

    assert first == HttpAnswer(200, {"content-length": "2"}, b"{}")
    assert second == Broken(sent=True, detail="connection closed without an answer")
    assert len(requests) == 2  # not a third: no library repeated it


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

    assert got == Broken(sent=False, detail=f"{place_of(url)}: certificate not trusted")
    assert b"".join(requests) == b""


@pytest.fixture
def self_signed(tmp_path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
