"""The page behind our own link, as the customers of a rehearsal open it: the web application without a connection."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiohttp import streams, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpVersion11, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from worker.sandbox.people.visitors import Visit, Visited
from worker.settings import Settings


def page_of(settings: Settings) -> str | None:
    """The page's address, if messages have our own links."""
    return settings.links.base_url if settings.links.mode == "stable" else None


class Page:
    """`application` has the page's routes, and no timers, which would tick through the days."""

    def __init__(self, application: web.Application) -> None:
        self._application = application
        application.freeze()

    async def browse(self, visit: Visit) -> Visited:
        """The page's answer, as its server would send it."""
        # aiohttp's own server would call this next: routes, the handler.
        answer = await self._application._handle(_request(visit))
        assert isinstance(answer, web.Response)  # noqa: S101 -- for mypy: the page streams nothing
        cookie = answer.cookies["visit"].value if "visit" in answer.cookies else ""
        named = {name.lower(): value for name, value in answer.headers.items()}
        return Visited(answer.status, named, answer.text or "", cookie)


def _request(visit: Visit) -> web.Request:
    loop = asyncio.get_running_loop()
    # There is no connection: only its other end is asked for.
    wire: Any = SimpleNamespace(peername=visit.headers["X-Forwarded-For"], sockname=None, ssl_context=None)
    payload = streams.StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    payload.feed_data(visit.body)
    payload.feed_eof()
    headers = CIMultiDict({**visit.headers, "Host": "worker.invalid", "Content-Length": str(len(visit.body))})
    raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
    message = RawRequestMessage(
        method=visit.method,
        path=visit.path,
        version=HttpVersion11,
        headers=CIMultiDictProxy(headers),
        raw_headers=raw,
        should_close=False,
        compression=None,
        upgrade=False,
        chunked=False,
        url=URL(visit.path),
    )
    return web.Request(message, payload, wire, wire, wire, loop)
