"""Connections of strangers: how many, how long without a request, and what aiohttp itself would answer."""

import asyncio
import json
import logging
import resource

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import BadStatusLine
from aiohttp.http_parser import HttpRequestParser

from worker.inbound.web.connections import MOST, most_connections
from worker.inbound.web.request_lines import LONGEST_CHUNK_LINE, OnlyHttp
from worker.inbound.web.server import listening

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def application(wait=None, began=None):
    async def answer(_request):
        if began is not None:
            began.set()
        if wait is not None:
            await wait.wait()
        return web.Response(text="well")

    made = web.Application()
    made.router.add_get("/", answer)
    return made


def serving(made=None, **bounds):
    return listening(made or application(), host="127.0.0.1", port=0, **bounds)


@pytest.fixture
async def connected():
    """Opens connections to a port; all are closed with the test."""
    opened = []

    async def connect(port):
        opened.append(await asyncio.open_connection("127.0.0.1", port))
        return opened[-1]

    yield connect
    for _, writer in opened:
        writer.close()


async def answered(connection, sent=REQUEST):
    """Status and body of the answer to `sent`; the connection stays open."""
    reader, writer = connection
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(next(line.partition(":")[2] for line in head.split("\r\n") if line.startswith("Content-Length")))
    return int(head.split()[1]), (await reader.readexactly(length)).decode(), head


async def ended(connection):
    """Whether the server has closed it. The kernel resets a connection whose server has left bytes unread."""
    try:
        return await connection[0].read() == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_connection_without_a_first_request_is_closed(connected, sent):
    async with serving(first_seconds=0.05) as port:
        connection = await connected(port)
        connection[1].write(sent)
        assert await ended(connection)


async def test_a_connection_that_has_asked_may_wait_for_its_next_request(connected):
    async with serving(first_seconds=0.05) as port:
        connection = await connected(port)
        assert (await answered(connection))[:2] == (200, "well")
        await asyncio.sleep(0.1)
        assert (await answered(connection))[:2] == (200, "well")


async def test_a_request_in_work_is_not_closed_as_a_connection_without_one(connected):
    wait, began = asyncio.Event(), asyncio.Event()
    async with serving(application(wait, began), first_seconds=0.05) as port:
        asking = asyncio.create_task(answered(await connected(port)))
        await began.wait()
        await asyncio.sleep(0.1)
        wait.set()
        assert (await asking)[:2] == (200, "well")


async def test_connections_without_a_request_keep_none_out(connected):
    async with serving(most=5) as port:
        first = await connected(port)
        assert (await answered(first))[0] == 200
        idle = [await connected(port) for _ in range(20)]
        assert (await answered(await connected(port)))[:2] == (200, "well")
        # The ones that have been idle for longest made room.
        assert await ended(first)
        assert all([await ended(one) for one in idle[:16]])
        assert (await answered(idle[-1]))[0] == 200


async def test_a_client_that_does_not_read_its_answer_keeps_none_out(connected):
    """A close would wait for the client, and keep the file open beyond the bound."""
    size = 32 * 1024 * 1024  # more than the kernel takes

    async def large(_request):
        return web.Response(body=bytes(size))

    made = application()
    made.router.add_get("/large", large)
    async with serving(made, most=1) as port:
        reader, writer = await connected(port)
        writer.write(REQUEST.replace(b"/", b"/large", 1))
        await reader.readuntil(b"\r\n\r\n")

        assert (await answered(await connected(port)))[:2] == (200, "well")

        assert len(await reader.read()) < size


async def test_at_the_bound_a_request_in_work_goes_on_and_a_new_connection_is_refused(connected):
    wait, began = asyncio.Event(), asyncio.Event()
    async with serving(application(wait, began), most=1) as port:
        asking = asyncio.create_task(answered(await connected(port)))
        await began.wait()
        refused = await connected(port)
        status, body, head = await answered(refused)
        assert (status, json.loads(body)["status"]) == (503, 503)
        assert "Retry-After: 1" in head
        assert await ended(refused)
        wait.set()
        assert (await asking)[:2] == (200, "well")
        assert (await answered(await connected(port)))[0] == 200


NO_HTTP = [
    b"GARBAGE\r\n\r\n",
    b"GET /marker\x01 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nmarker marker: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: marker\x00\r\n\r\n",
    b"GET / HTTP/9.marker\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: marker\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /" + b"marker" * 5000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"marker" * 5000 + b"\r\n\r\n",
    b"POST /marker RTSP/1.0\r\nHost: x\r\n\r\n",
    b"GET /marker\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",  # TLS on a plain port
]


@pytest.mark.parametrize("sent", NO_HTTP)
async def test_what_is_no_http_is_answered_without_its_bytes(connected, sent):
    async with serving() as port:
        connection = await connected(port)
        status, body, head = await answered(connection, sent)
        assert (status, json.loads(body)["detail"]) == (400, "it is no HTTP request that can be read")
        assert "application/problem+json" in head
        assert "marker" not in head + body
        assert "Server: onboard\r\n" in head
        assert not any(name in head.lower() for name in ("aiohttp", "python"))
        assert await ended(connection)


@pytest.mark.parametrize("expected", [b"marker", b"marker\xff"])
async def test_what_is_expected_is_not_repeated(connected, expected, caplog):
    async with serving() as port:
        sent = b"GET / HTTP/1.1\r\nHost: x\r\nExpect: " + expected + b"\r\n\r\n"
        status, body, head = await answered(await connected(port), sent)
        assert status == 417
        assert "marker" not in head + body
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_no_answer_names_the_versions_that_run(site):
    for path in ("/healthz", "/nothing", "/events"):
        async with site.client.get(path) as response:
            assert response.headers["Server"] == "onboard"


def test_connections_leave_half_of_the_files_to_the_rest(monkeypatch):
    asked = []
    limits = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, wanted: asked.append(wanted))

    assert most_connections() == 2048
    limits["now"] = (1024, resource.RLIM_INFINITY)
    assert most_connections() == MOST
    limits["now"] = (100_000, 200_000)
    assert most_connections() == MOST
    assert asked == [(4096, 4096), (2 * MOST, resource.RLIM_INFINITY)]


GOOD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n12345678"
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;a=b\r\n1234\r\n0004\r\n\r\n78\r\n0\r\nTrailer: y\r\n\r\n"
)
RTSP = (b"POST / RTSP/1.0\r\n", b"Host: x\r\n\r\n")


async def answers_to(connected, *parts):
    """What is answered to these bytes, sent one after the other on one connection."""

    async def read(request):
        return web.Response(body=await request.read())

    made = application()
    made.router.add_post("/", read)
    async with serving(made) as port:
        reader, writer = await connected(port)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        return await reader.read()


@pytest.mark.parametrize(("good", "body"), [(GOOD, b"12345678"), (CHUNKED, b"1234\r\n78")], ids=["length", "chunks"])
async def test_each_request_line_counts_however_the_bytes_arrive(connected, good, body):
    between = b"\r\n" + good
    answers = await answers_to(connected, good[:9], good[9:-13], good[-13:-3], good[-3:] + between * 40, *RTSP)
    assert answers.count(b"HTTP/1.1 200 ") == answers.count(b"\r\n\r\n" + body) == 41
    assert answers.count(b" 400 ") == 1


HIDES = b"POST / HTTP/1.0\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


HELD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(HIDES) + HIDES


# A length with more zeros than any length has digits: who reads only its beginning takes the chunk for the last one,
# and what is in it for the next request.
ZEROS = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"0" * 16
    + b"%x\r\n\r\n" % (2 + len(HIDES))
    + HIDES
    + b"\r\n0\r\n\r\n"
)


@pytest.mark.parametrize(
    "good", [b"", GOOD, CHUNKED, HELD, ZEROS], ids=["nothing", "length", "chunks", "the line itself", "zeros"]
)
async def test_no_body_hides_the_request_line_of_another_protocol(connected, good):
    head = HIDES.replace(b"HTTP", b"RTSP") % len(HIDES)
    answers = await answers_to(connected, good, head + HIDES)
    assert answers.count(b" 400 ") == 1
    assert answers.count(b"HTTP/1.1 200 ") == bool(good)
    assert b"HTTP/1.0 200 " not in answers


@pytest.mark.parametrize("begun", [b"1;a", b"1;a=a", b"0", b"0000000000000000"])
async def test_a_chunks_line_has_an_end(begun):
    """Each packet of it is looked at anew: one without an end kept the loop from all other requests."""
    loop = asyncio.get_running_loop()
    parser = OnlyHttp(HttpRequestParser(BaseProtocol(loop), loop, 2**16))
    parser.feed_data(CHUNKED.partition(b"4;")[0] + begun)
    for _ in range(LONGEST_CHUNK_LINE - len(begun) - 1):
        parser.feed_data(begun[-1:])

    with pytest.raises(BadStatusLine, match="too long a line"):
        parser.feed_data(begun[-1:])
