"""Bounds the connections to `onboard web`: how many there are, and how long one may be open without a request.

A connection costs a file and memory, and needs no key. At the bound a new one takes the place of the one that has been
idle for longest, so that idle ones never keep a sender out.
"""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from worker.inbound.web.problems import problem
from worker.inbound.web.request_lines import OnlyHttp

MOST = 4000
# A client that connects has something to ask; a later request on the same connection may take IDLE_SECONDS.
FIRST_SECONDS = 5.0
IDLE_SECONDS = 30.0
# What each answer names as its server, in place of the versions of aiohttp and Python.
SERVER = "onboard"
FULL = "too many requests are in work; send it again"


def most_connections() -> int:
    """How many connections this process may have. At most half of the files that it may open: the rest is for its
    database, and for calls. Raises its own limit of files as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST if hard == resource.RLIM_INFINITY else min(2 * MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, max(1, soft // 2))


class Connections:
    """Makes the connections of one server. `options` are those of aiohttp's RequestHandler. Belongs to one loop."""

    def __init__(
        self, server: web.Server, *, most: int | None = None, first_seconds: float = FIRST_SECONDS, **options: Any
    ) -> None:
        """Make it before the server has connections: it answers the server's requests from now on."""
        self._server, self._options = server, options
        self._most = most_connections() if most is None else most
        self._first_seconds = first_seconds
        self._answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = server.request_handler
        self._idle: dict[_Connection, None] = {}  # the one that has been idle for longest is the first
        self._busy: set[_Connection] = set()
        server.request_handler = self._serve

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        if len(self._idle) + len(self._busy) >= self._most:
            if not self._idle:
                return _Full()
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.make_room()
        return _Connection(self, self._server, loop=asyncio.get_running_loop(), **self._options)

    def opened(self, connection: "_Connection") -> asyncio.TimerHandle:
        """A connection begins; what ends it if no request comes."""
        self._idle[connection] = None
        return asyncio.get_running_loop().call_later(self._first_seconds, self._end_unused, connection)

    def closed(self, connection: "_Connection") -> None:
        self._idle.pop(connection, None)
        self._busy.discard(connection)

    def _end_unused(self, connection: "_Connection") -> None:
        if connection in self._idle:
            connection.force_close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if connection in self._idle:
            del self._idle[connection]
            self._busy.add(connection)
        if isinstance(connection, _Connection):
            connection.has_asked()
        try:
            if not request.headers.get("Expect", "").isascii():  # aiohttp would repeat it, and cannot
                raise web.HTTPExpectationFailed
            return await self._answer(request)
        except web.HTTPException as error:  # of aiohttp itself, such as for an unknown Expect, which it repeats
            return _named(problem(error.status, HTTPStatus(error.status).phrase.lower()))
        finally:
            if connection in self._busy:
                self._busy.discard(connection)
                self._idle[connection] = None


class _Connection(web.RequestHandler):
    """One connection. What aiohttp itself refuses is answered as we do, without the request's bytes."""

    def __init__(self, connections: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._parser: Any = OnlyHttp(self._parser)
        self._connections = connections
        self._end: asyncio.TimerHandle | None = None
        self._stream: asyncio.Transport | None = None  # aiohttp's own is None after `force_close`

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stream = cast(asyncio.Transport, transport)  # uvloop's own class is none by its bases
        self._end = self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.has_asked()
        self._connections.closed(self)
        super().connection_lost(exc)

    def make_room(self) -> None:
        """End now. `force_close` waits until the client has read its answers, which it may never do."""
        self.force_close()
        if self._stream is not None:
            self._stream.abort()

    def has_asked(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        super().handle_error(request, status, exc, None)  # logs it, and raises where an answer has begun
        answer = problem(status, "it is no HTTP request that can be read" if status == 400 else "a bug of ours")
        answer.force_close()
        return _named(answer)


class _Full(asyncio.Protocol):
    """A connection at the bound, while each other one has a request in work: it is answered at once, and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's own class is none by its bases
        body = cast(bytes, problem(503, FULL).body)
        head = (
            "HTTP/1.1 503 Service Unavailable",
            f"Server: {SERVER}",
            "Content-Type: application/problem+json",
            f"Content-Length: {len(body)}",
            "Retry-After: 1",
            "Connection: close",
        )
        stream.write("\r\n".join((*head, "", "")).encode("ascii") + body)
        stream.close()


def _named(answer: web.Response) -> web.Response:
    answer.headers["Server"] = SERVER
    return answer


async def name_server(_request: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`."""
    response.headers["Server"] = SERVER
