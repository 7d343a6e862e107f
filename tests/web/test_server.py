"""What is settled before a request is anybody's: the server that `onboard web` and `onboard up` listen with."""

import asyncio
import gzip
import logging

import pytest
from aiohttp import ClientSession, web

from onboarding_worker.web.events.request_body import OF_ONE, Room, Unacceptable, bounded_body
from onboarding_worker.web.server import listening


async def sizes(request):
    return web.Response(text=str(len(await request.read())))


def measuring():
    application = web.Application()
    application.router.add_post("/", sizes)
    return application


async def test_nothing_is_unpacked_for_strangers():
    packed = gzip.compress(b" " * 1_000_000)
    async with listening(measuring(), host="127.0.0.1", port=0) as port, ClientSession() as session:
        headers = {"Content-Encoding": "gzip"}
        async with session.post(f"http://127.0.0.1:{port}/", data=packed, headers=headers) as response:
            assert await response.text() == str(len(packed))


async def test_what_is_no_http_is_refused_without_a_word_in_the_log_but_that_it_came(caplog):
    caplog.set_level(logging.INFO)
    async with listening(measuring(), host="127.0.0.1", port=0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /webhooks/au/unguessable\x01 HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
        writer.close()
    assert [record.levelname for record in caplog.records] == ["INFO"]  # what strangers write alerts no operator
    assert caplog.messages == ["answered: - - 400: 1; 1 in all"]
    assert not any(text in caplog.text for text in ("unguessable", "127.0.0.1"))


async def test_requests_are_counted_in_the_log_and_have_a_line_each_only_for_who_looks_for_one(caplog):
    caplog.set_level(logging.DEBUG, logger="onboarding_worker.web.server")
    async with listening(measuring(), host="127.0.0.1", port=0) as port, ClientSession() as session:
        for path in ("/", "/", "/", "/quirin@example.com"):
            async with session.post(f"http://127.0.0.1:{port}{path}", data=b"1") as response:
                await response.read()
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert logged == ["answered: POST - 200: 1; 1 in all", "answered: POST - 200: 2, POST - 404: 1; 4 in all"]
    each = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in each] == ["POST - 200"] * 3 + ["POST - 404"]
    assert "quirin" not in caplog.text


@pytest.mark.parametrize("room", [Room(1, free=1000), OF_ONE])
async def test_who_goes_away_in_the_middle_of_a_body_is_no_bug_of_ours(room):
    reading, ended = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def handler(request):
        reading.set()
        try:
            await bounded_body(request, room, largest=1000, seconds=60)
        except Exception as error:
            ended.set_result(error)
        return web.Response()

    application = web.Application()
    application.router.add_post("/", handler)
    async with listening(application, host="127.0.0.1", port=0) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        await reading.wait()
        writer.close()
        error = await ended
    assert isinstance(error, Unacceptable)
    assert (error.status, str(error)) == (400, "the body broke off")
