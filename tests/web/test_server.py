"""What is settled before a request is anybody's: the server that `onboard web` and `onboard up` listen with."""

import asyncio
import gzip
import logging

from aiohttp import ClientSession, web

from worker.web.server import listening


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
    assert [record.levelname for record in caplog.records] == ["INFO"]  # what strangers write wakes nobody
    assert not any(text in caplog.text for text in ("unguessable", "127.0.0.1"))
