"""One exchange over the session's connector, without what ClientSession does for each request.

    exchange(request) -> HttpAnswer | Broken     as through ClientSession, and the same errors

It uses parts of aiohttp that aiohttp does not promise: docs/decisions/0033-the-lean-call.md. So `lean_calls` gives
None where aiohttp is not as expected, and a request that is not a usual one is refused (`Unusual`). Both go through
ClientSession.
"""

import asyncio
import inspect
import re
import ssl
from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict
from yarl import URL

from worker.http.connections import KEEP_IDLE, Connector, Phase
from worker.http.kept_connection import KeptConnection
from worker.http.messages import Broken, HttpAnswer, HttpRequest
from worker.http.trust import Trust, server

TESTED = "3.14."  # of aiohttp
# What is used of aiohttp besides its documented interface: modules, names, and the parameters that are given.
EXPECTED: dict[str, set[str]] = {
    "connector:BaseConnector.connect": {"req", "traces", "timeout"},
    "connector:Connection.transport.fget": set(),
    "connector:Connection.protocol.fget": set(),
    "connector:Connection.close": set(),
    "client_proto:ResponseHandler.connection_lost": {"exc"},
    "client_proto:ResponseHandler.should_close.fget": set(),
}
USUAL = re.compile(r"(https?://[a-z0-9.-]+(?::\d{1,5})?)((?:/[!\"$-~]*)?)")  # no fragment, nothing to be quoted
# What the call itself depends on: a request that sets one of these is not a usual one.
OUR_HEADERS = frozenset({"connection", "content-length", "cookie", "expect", "host", "transfer-encoding", "upgrade"})
NOT_IN_HEADERS = re.compile(r"[\x00-\x1f\x7f]")
NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # the deadline is the call's
MOST_HEADS = 100
IDLE_SECONDS = KEEP_IDLE.total_seconds()


class Unusual(Exception):
    """A request that is left to ClientSession. Nothing has been sent."""


def lean_calls(session: aiohttp.ClientSession, trust: Trust) -> "LeanCalls | None":
    """Lean calls over the session's connector; None if the connector or this aiohttp is not as expected."""
    connector = session.connector
    if not isinstance(connector, Connector) or not aiohttp.__version__.startswith(TESTED):
        return None
    return LeanCalls(session.headers, connector, trust) if _is_as_expected() else None


def _is_as_expected() -> bool:
    try:
        for name, parameters in EXPECTED.items():
            module, _, path = name.partition(":")
            used = attrgetter(path)(import_module(f"aiohttp.{module}"))
            if not parameters <= inspect.signature(used).parameters.keys():
                return False
    except (ImportError, AttributeError, TypeError):
        return False
    return True


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


class LeanCalls:
    def __init__(self, headers: Mapping[str, str], connector: Connector, trust: Trust) -> None:
        """`headers` go with each request, as the session's."""
        self._headers = headers
        self._connector = connector
        self._trust = trust
        self._heads: dict[object, _Head] = {}
        self._kept: dict[ConnectionKey, list[KeptConnection]] = {}
        self._check: asyncio.TimerHandle | None = None  # of the kept connections

    async def exchange(
        self, request: HttpRequest, phase: Phase, seconds: float, *, reads_body: bool
    ) -> HttpAnswer | Broken:
        """Raises Unusual, and what ClientSession raises: aiohttp.ClientError, OSError. TimeoutError after `seconds`."""
        phase.traced = True
        usual = USUAL.fullmatch(request.url)
        if usual is None or (request.body and request.method != "POST"):
            raise Unusual
        origin, path = usual.groups()
        path = path or "/"
        head = self._head(request.method, origin, request.headers)
        length = f"Content-Length: {len(request.body)}\r\n" if request.method == "POST" else ""
        written = f"{request.method} {path} HTTP/1.1\r\n{head.lines}{length}\r\n".encode() + request.body
        loop = asyncio.get_running_loop()
        connection = self._take(head.key, loop.time())
        if connection is None:
            until = loop.time() + seconds
            async with asyncio.timeout_at(until):
                connection = KeptConnection(await self._connector.clean(head.request, [], NO_TIMEOUT))
            seconds = until - loop.time()
        phase.connected = True
        try:
            return await connection.exchange(written, loop, seconds, reads_body=reads_body)
        finally:
            self._keep(head.key, connection, loop)

    def _take(self, key: ConnectionKey, now: float) -> KeptConnection | None:
        """A kept connection, the last one that was used; None: there is none."""
        kept = self._kept.get(key)
        while kept:
            connection = kept.pop()
            if connection.is_usable and now < connection.idle_since + IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _keep(self, key: ConnectionKey, connection: KeptConnection, loop: asyncio.AbstractEventLoop) -> None:
        if not connection.is_usable:
            connection.close()
            return
        connection.idle_since = loop.time()
        self._kept.setdefault(key, []).append(connection)
        if self._check is None:
            self._check = loop.call_later(IDLE_SECONDS, self._close_idle, loop)

    def _close_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections that no call has used for KEEP_IDLE, and those that the server has closed."""
        since, self._check = loop.time() - IDLE_SECONDS, None
        for key, kept in list(self._kept.items()):
            for connection in kept:
                if connection.idle_since <= since or not connection.is_usable:
                    connection.close()
            self._kept[key] = [connection for connection in kept if connection.is_usable]
            if not self._kept[key]:
                del self._kept[key]
        if self._kept:
            self._check = loop.call_later(IDLE_SECONDS, self._close_idle, loop)

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
