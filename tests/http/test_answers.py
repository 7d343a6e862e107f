"""What may come as an answer: each form of HTTP that is read, what is refused, and the bounds of its size."""

import asyncio
import gzip
import socket
import struct

from onboarding_worker.core.model.http_messages import LARGEST_ANSWER, Broken, HttpAnswer
from tests.http.talks import call, read_request, says

ZIPPED = gzip.compress(b"{}")


async def test_half_a_body_was_sent(http):
    half = says(b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"authToken":')

    assert await call(http, half) == Broken(sent=True, detail="answer cut off")


async def test_a_request_with_an_answer_that_is_not_http_was_sent(http):
    babble = says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    assert await call(http, babble) == Broken(sent=True, detail="answer is not HTTP")


async def test_an_answer_is_read_in_whatever_form_it_comes(http, subtests):
    for what, (answer, body) in [
        ("chunked", (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1\r\n \r\n0\r\n\r\n", b"{} ")),
        (
            "compressed",
            (
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(ZIPPED), ZIPPED),
                b"{}",
            ),
        ),
        ("until the end", (b"HTTP/1.1 200 OK\r\n\r\n{}", b"{}")),
        ("continue", (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}")),
        ("without a body", (b"HTTP/1.1 204 No Content\r\n\r\n", b"")),
        ("of HTTP 1.0", (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nX: 1\r\nx: 2\r\n\r\n{}", b"{}")),
        (
            "with a line behind the body",
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: 2\r\n\r\n", b"{}"),
        ),
        ("with lines that end without CR", (b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", b"{}")),
        (
            "compressed, in capitals",
            (
                b"HTTP/1.1 200 OK\r\nContent-Encoding: GZip\r\nContent-Length: %d\r\n\r\n%s" % (len(ZIPPED), ZIPPED),
                b"{}",
            ),
        ),
        (
            "of an encoding without a meaning",
            (b"HTTP/1.1 200 OK\r\nContent-Encoding: none\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        ),
    ]:
        with subtests.test(what=what):
            got = await call(http, says(answer))

            assert isinstance(got, HttpAnswer)
            assert got.body == body
            assert got.headers.get("x", "1") == "1"  # the first of two


async def test_an_answer_with_a_bad_head_was_sent(http, subtests):
    for what, answer in [
        ("a NUL", b"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\n{}"),
        ("a long header", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"),
        ("a header without end", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000),
        ("a word for the status", b"HTTP/1.1 two OK\r\n\r\n"),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        (
            "a length and chunks",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        ),
    ]:
        with subtests.test(what=what):
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
