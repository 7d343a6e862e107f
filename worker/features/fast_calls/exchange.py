"""One exchange over the session's connector, without what ClientSession does for each request.

It raises what ClientSession raises. A request that is not a usual one is left to ClientSession.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict
from yarl import URL

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from onboarding_worker.features.fast_calls.kept_connection import KeptConnection
from onboarding_worker.http.client import KEEP_IDLE, Connector, Exchange, NotWritten, Phase
from onboarding_worker.http.trust import Trust, server

USUAL = re.compile(r"(https?://[a-z0-9.-]+(?::\d{1,5})?)((?:/[!\"$-~]*)?)")  # no fragment, nothing to be quoted
# What the call itself depends on: a request that sets one of these is not a usual one.
OUR_HEADERS = frozenset({"connection", "content-length", "cookie", "expect", "host", "transfer-encoding", "upgrade"})
NOT_IN_HEADERS = re.compile(r"[\x00-\x1f\x7f]")
NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # the deadline is the call's
MOST_HEADS = 100  # and as many beginnings
IDLE_SECONDS = KEEP_IDLE.total_seconds()
# How often the calls in flight are looked at: a call ends so much after its deadline at most. One timer for all calls
# costs less than a timer for each.
LOOK_SECONDS = 0.05


class Unusual(Exception):
    """A request that is left to ClientSession. Nothing has been sent."""


class _Head:
    """What requests with the same method, origin and headers share."""

    def __init__(self, method: str, origin: URL, headers: Mapping[str, str], tls: ssl.SSLContext | bool) -> None:
        # Also what the connector is asked with: it opens connections to this origin.
        self.request = aiohttp.ClientRequest(method, origin, headers=headers, ssl=tls)
        lines = self.request.headers
        lines.pop("Content-Length", None)
        if method == "POST":
            lines.setdefault("Content-Type", "application/octet-stream")  # as ClientSession does
        self.key = self.request.connection_key
        self.lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())


class _Beginning:
    """What requests with the same method, URL and headers begin with: all but the length of the body, and the body.
    `kept`: the connections to their origin that no call uses, the last used last."""

    def __init__(self, request: HttpRequest, path: str, head: _Head, kept: list[KeptConnection]) -> None:
        self.headers = dict(request.headers)  # a copy: the caller may change its own
        self.asks_for = head.request
        self.has_body = request.method == "POST"
        self.kept = kept
        length = "Content-Length: " if self.has_body else "\r\n"
        self._text = f"{request.method} {path or '/'} HTTP/1.1\r\n{head.lines}{length}".encode()

    def with_body(self, body: bytes) -> bytes:
        return b"%b%d\r\n\r\n%b" % (self._text, len(body), body) if self.has_body else self._text


class FastCalls:
    def __init__(self, session: aiohttp.ClientSession, trust: Trust, through_session: Exchange) -> None:
        """`through_session` makes the exchanges that are not usual ones. `session`: one of `open_http_session`."""
        if not isinstance(session.connector, Connector):
            raise TypeError("fast calls need a session with a Connector")
        self._headers, self._connector = session.headers, session.connector
        self._trust, self._through_session = trust, through_session
        self._heads: dict[object, _Head] = {}
        self._beginnings: dict[tuple[str, str], _Beginning] = {}  # the last one for each method and URL
        self._kept: dict[ConnectionKey, list[KeptConnection]] = {}
        self._check: asyncio.TimerHandle | None = None  # of the kept connections
        self._in_flight: set[KeptConnection] = set()
        self._look: asyncio.TimerHandle | None = None  # at the calls in flight

    async def __call__(
        self, request: HttpRequest, phase: Phase, seconds: float, /, *, reads_body: bool
    ) -> HttpAnswer | Broken:
        try:
            beginning = self._beginnings.get((request.method, request.url))
            if beginning is None or beginning.headers != request.headers:  # by their values: a credential may be new
                beginning = self._beginning(request)
            if request.body and not beginning.has_body:
                raise Unusual
        except Unusual:
            return await self._through_session(request, phase, seconds, reads_body=reads_body)
        phase.traced = True
        now = monotonic()
        connection = self._take(beginning.kept, now)
        waited = connection is None
        if connection is None:
            async with asyncio.timeout(seconds):
                connection = KeptConnection(await self._connector.clean(beginning.asks_for, [], NO_TIMEOUT))
        if phase.may_write is not None and not phase.may_write(waited):
            self._keep(beginning.kept, connection)  # the next call needs not wait for one
            raise NotWritten
        phase.connected = True
        self._in_flight.add(connection)
        if self._look is None:
            self._look = connection.loop.call_later(LOOK_SECONDS, self._end_late_calls, connection.loop)
        try:
            written = beginning.with_body(request.body)
            return await connection.ask(written, deadline=now + seconds, reads_body=reads_body)
        finally:
            self._in_flight.discard(connection)
            self._keep(beginning.kept, connection)

    def _end_late_calls(self, loop: asyncio.AbstractEventLoop) -> None:
        now = monotonic()
        for connection in self._in_flight:
            connection.end_if_late(now)
        self._look = loop.call_later(LOOK_SECONDS, self._end_late_calls, loop) if self._in_flight else None

    def _take(self, kept: list[KeptConnection], now: float) -> KeptConnection | None:
        """A kept connection, the last one that was used; None: there is none."""
        while kept:
            connection = kept.pop()
            if connection.is_usable and now < connection.idle_since + IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _keep(self, kept: list[KeptConnection], connection: KeptConnection) -> None:
        if not connection.is_usable:
            connection.close()
            return
        connection.idle_since = monotonic()
        kept.append(connection)
        if self._check is None:
            self._check = connection.loop.call_later(IDLE_SECONDS, self._close_idle, connection.loop)

    def _close_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections that no call has used for KEEP_IDLE, and those that the server has closed."""
        since, self._check = monotonic() - IDLE_SECONDS, None
        for kept in self._kept.values():
            for connection in kept:
                if connection.idle_since <= since or not connection.is_usable:
                    connection.close()
            kept[:] = [connection for connection in kept if connection.is_usable]
        if any(self._kept.values()):
            self._check = loop.call_later(IDLE_SECONDS, self._close_idle, loop)

    def _beginning(self, request: HttpRequest) -> _Beginning:
        usual = USUAL.fullmatch(request.url)
        if usual is None:
            raise Unusual
        origin, path = usual.groups()
        head = self._head(request.method, origin, request.headers)
        if len(self._beginnings) >= MOST_HEADS:
            self._beginnings.clear()
        beginning = _Beginning(request, path, head, self._kept.setdefault(head.key, []))
        self._beginnings[request.method, request.url] = beginning
        return beginning

    def _head(self, method: str, origin: str, headers: Mapping[str, str]) -> _Head:
        key = (method, origin, *headers.items())  # by their values: a new credential makes another head
        head = self._heads.get(key)
        if head is None:
            if method not in ("GET", "POST") or not OUR_HEADERS.isdisjoint(name.lower() for name in headers):
                raise Unusual
            if any(NOT_IN_HEADERS.search(text) for header in headers.items() for text in header):
                raise Unusual
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            together = CIMultiDict(self._headers)
            together.update(headers)
            url = URL(origin)
            head = self._heads[key] = _Head(method, url, together, self._trust.get(server(url), True))
        return head
