"""Requests to the web application without a connection: the application routes, checks and answers them."""

import asyncio
from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock

from aiohttp import streams, web
from aiohttp.http import HttpVersion11, RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

# There is no connection, so any value will do; nobody has hung up.
_WIRE: Any = Mock(peername=None, sockname=None, ssl_context=None, **{"transport.is_closing.return_value": False})


async def answered(
    application: web.Application, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> web.StreamResponse:
    """The application's answer, as its own server would send it."""
    loop = asyncio.get_running_loop()
    payload = streams.StreamReader(_WIRE, 2**16, loop=loop)
    payload.feed_data(body)
    payload.feed_eof()
    given = {**headers, "Content-Length": str(len(body))}
    raw = tuple((name.encode(), value.encode()) for name, value in given.items())
    message = RawRequestMessage(
        method, path, HttpVersion11, CIMultiDictProxy(CIMultiDict(given)), raw, False, None, False, False, URL(path)
    )
    request = web.Request(message, payload, _WIRE, _WIRE, _WIRE, loop)
    # aiohttp's own server would call this next: routes, middlewares, the handler.
    return await application._handle(request)
