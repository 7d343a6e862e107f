"""One call over real sockets: the answer, and whether the request may have been carried out."""

import asyncio
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from aiohttp.test_utils import TestServer, unused_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from worker.foundation.version import __version__
from worker.http import connections
from worker.http.client import Http, open_http_session
from worker.http.connections import LARGEST_ANSWER
from worker.providers.contract import Broken, HttpAnswer, HttpRequest

LONG = timedelta(seconds=10)
SHORT = timedelta(milliseconds=80)
ZIPPED = gzip.compress(b"{}")
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
        except (asyncio.CancelledError, ConnectionError):
            writer.transport.abort()  # what is not sent yet would keep it open when the loop ends
        except asyncio.IncompleteReadError:
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
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    return head + await reader.readexactly(length)


def place_of(url: str) -> str:
    return url.partition("//")[2].rstrip("/")


def post(url: str) -> HttpRequest:
    return HttpRequest("POST", url, {"Content-Type": "application/json"}, b"{}")


@pytest.fixture(params=["lean", "through ClientSession"])
async def http(request, monkeypatch) -> AsyncIterator[Http]:
    """Both ways of making a call: each test holds for both."""
    is_lean = request.param == "lean"
    async with open_http_session() as session:
        if is_lean:
            monkeypatch.delattr(aiohttp.ClientSession, "request")
        yield Http(session, lean=is_lean)


def says(*answers: bytes) -> Talk:
    """Reads a request and writes the next of `answers`, which are whole, again and again; then closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    return talk


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
    # Asking a name server would leave this machine; the resolver's answer is all that matters here.
    async def nowhere(*_: object, **__: object) -> list[object]:
        raise OSError("no such host")

    http._session.connector._resolver.resolve = nowhere
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


async def test_a_request_to_an_invalid_address_is_not_sent():
    async with open_http_session() as session:
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

    assert await call(http, hang, SHORT) == Broken(sent=True, detail="time-out before the answer was complete")


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


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1\r\n \r\n0\r\n\r\n", b"{} "),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(ZIPPED), ZIPPED), b"{}"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", b"{}"),  # as much as comes before the connection is closed
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nX: 1\r\nx: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: 2\r\n\r\n", b"{}"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: GZip\r\nContent-Length: %d\r\n\r\n%s" % (len(ZIPPED), ZIPPED), b"{}"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: none\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    ],
    ids=[
        "chunked",
        "compressed",
        "until the end",
        "continue",
        "without a body",
        "of HTTP 1.0",
        "with a line behind the body",
        "with lines that end without CR",
        "compressed, in capitals",
        "of an encoding without a meaning",
    ],
)
async def test_an_answer_is_read_in_whatever_form_it_comes(http, answer, body):
    got = await call(http, says(answer))

    assert isinstance(got, HttpAnswer)
    assert got.body == body
    assert got.headers.get("x", "1") == "1"  # the first of two


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"HTTP/1.1 two OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
    ids=[
        "a NUL",
        "a long header",
        "a header without end",
        "a word for the status",
        "two lengths",
        "a length and chunks",
    ],
)
async def test_an_answer_with_a_bad_head_was_sent(http, answer):
    assert await call(http, says(answer)) == Broken(sent=True, detail="answer is not HTTP")


async def test_a_connection_that_is_reset_after_the_request_was_sent(http):
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert await call(http, reset) == Broken(sent=True, detail="connection reset")


async def test_half_a_head_was_sent(http):
    got = await call(http, says(b"HTTP/1.1 201 Created\r\nContent-Le"))

    assert got == Broken(sent=True, detail="connection closed without an answer")


async def test_a_compressed_answer_is_bounded_by_what_it_holds(http):
    bomb = gzip.compress(b"x" * 20 * LARGEST_ANSWER)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)

    assert await call(http, says(head + bomb)) == Broken(sent=True, detail=f"answer larger than {LARGEST_ANSWER} bytes")


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


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_trusted_certificate_must_have_the_hosts_name(http, self_signed, tmp_path, host):
    http._session.connector._ssl = ssl.create_default_context(cafile=tmp_path / "server.pem")

    async with listening(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), tls=self_signed) as url:
        place = place_of(url).replace("127.0.0.1", host)
        got = await http.call(post(f"https://{place}/"), timeout=LONG)

    if host == "127.0.0.1":
        assert (got.status, got.body) == (200, b"{}")
    else:
        assert isinstance(got, Broken)
        assert not got.sent
        assert got.detail.startswith(f"{place}: certificate")


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
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
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
