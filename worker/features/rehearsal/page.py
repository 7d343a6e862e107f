"""The page behind our own link, as the customers of a rehearsal open it: the web server without a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPResponse
from http.cookies import SimpleCookie
from io import BytesIO
from socket import socket
from typing import Any, cast

from aiohttp import web

from onboarding_sandbox.people.visitors import Visit, Visited
from worker.settings.model import Settings
from worker.settings.policies import stable_links


def page_of(settings: Settings) -> str | None:
    """The page's address, if messages have our own links."""
    links = stable_links(settings)
    return links.base if links is not None else None


class Page:
    """What `opened_page` gives."""

    def __init__(self, server: web.Server) -> None:
        self._server = server

    async def browse(self, visit: Visit) -> Visited:
        """The page's answer, as its server sends it."""
        protocol: asyncio.Protocol = self._server()
        wire = _Wire(protocol, peer=visit.headers["X-Forwarded-For"])
        protocol.connection_made(wire)
        protocol.data_received(_request(visit))
        await wire.closed
        answer = HTTPResponse(cast(socket, wire))  # which is asked for `makefile` alone
        answer.begin()
        cookies = SimpleCookie(answer.headers.get("Set-Cookie", ""))
        named = {name.lower(): value for name, value in answer.headers.items()}
        return Visited(
            answer.status, named, answer.read().decode(), cookies["visit"].value if "visit" in cookies else ""
        )


@asynccontextmanager
async def opened_page(application: web.Application) -> AsyncIterator[Page]:
    """`application` has the page's routes, and no timers, which would tick through the days."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        assert runner.server is not None  # noqa: S101 -- for mypy: it is set up
        yield Page(runner.server)
    finally:
        await runner.cleanup()


class _Wire(asyncio.Transport):
    """Holds what the server writes, until the server closes the connection."""

    def __init__(self, server: asyncio.Protocol, *, peer: str) -> None:
        super().__init__({"peername": (peer, 0)})
        self._loop, self._server, self._written = asyncio.get_running_loop(), server, bytearray()
        self.closed = self._loop.create_future()

    def write(self, data: Any) -> None:
        self._written += data

    def is_closing(self) -> bool:
        return self.closed.done()

    def close(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
            self._loop.call_soon(self._server.connection_lost, None)

    abort = close

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._written)


def _request(visit: Visit) -> bytes:
    headers = {**visit.headers, "Host": "worker.invalid", "Connection": "close", "Content-Length": len(visit.body)}
    lines = [f"{visit.method} {visit.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + visit.body
