"""What is settled before a request is anybody's: the server that `onboard web` and `onboard up` listen with."""

import gzip

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
