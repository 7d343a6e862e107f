"""A server with the answers of a test, as a subscriber's."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from tests.suite.waiting import ENDS_WITHIN

Handler = Callable[[web.Request], Any]


class Listener:
    """A subscriber's server on a loop of its own: the one under test blocks its thread."""

    def __init__(self, answer: Handler) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.at_once = self.most_at_once = 0
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(ENDS_WITHIN)
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hooks"

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.got.append((dict(request.headers), await request.read()))
            return await self._answer(request)
        finally:
            self.at_once -= 1

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(ENDS_WITHIN)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def numbers(self) -> list[int]:
        return [json.loads(body)["data"]["job_id"] for _, body in self.got]


def answers(status: int, **headers: str) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@pytest.fixture
def listen() -> Iterator[Callable[[Handler], Listener]]:
    """Listeners that end with their test."""
    made: list[Listener] = []

    def start(answer: Handler) -> Listener:
        made.append(Listener(answer))
        return made[-1]

    yield start
    for listener in made:
        listener.close()
