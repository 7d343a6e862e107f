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
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from worker.http.connections import LARGEST_ANSWER, Connector, Phase, bounded
from worker.http.messages import Broken, HttpAnswer, HttpRequest
from worker.http.trust import Trust, server

TESTED = "3.14."  # of aiohttp
# What is used of aiohttp besides its documented interface: modules, names, and the parameters that are given.
EXPECTED: dict[str, set[str]] = {
    "connector:BaseConnector._get": {"key", "traces"},
    "connector:BaseConnector.connect": {"req", "traces", "timeout"},
    "connector:Connection.release": set(),
    "connector:Connection.close": set(),
    "client_proto:ResponseHandler.set_response_params": {"read_until_eof"},
    "client_proto:ResponseHandler.read": set(),
    "client_proto:ResponseHandler._on_read_timeout": set(),
    "client_proto:ResponseHandler.should_close.fget": set(),
    "streams:StreamReader.readany": set(),
    "streams:StreamReader.is_eof": set(),
    "streams:StreamReader.at_eof": set(),
}
USUAL = re.compile(r"(https?://[a-z0-9.-]+(?::\d{1,5})?)((?:/[!\"$-~]*)?)")  # no fragment, nothing to be quoted
# What the call itself depends on: a request that sets one of these is not a usual one.
OUR_HEADERS = frozenset({"connection", "content-length", "cookie", "expect", "host", "transfer-encoding", "upgrade"})
NOT_IN_HEADERS = re.compile(r"[\x00-\x1f\x7f]")
NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # the deadline is the call's
MOST_HEADS = 100


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
        connection = await self._connector.kept(head.key)
        if connection is None:
            until = loop.time() + seconds
            async with asyncio.timeout_at(until):
                connection = await self._connector.clean(head.request, [], NO_TIMEOUT)
            seconds = until - loop.time()
        phase.connected = True
        try:
            answer, whole = await _answer(connection, written, reads_body, loop, seconds)
        except BaseException:
            connection.close()
            raise
        connection.release() if whole else connection.close()
        return answer

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


async def _answer(
    connection: Connection, written: bytes, reads_body: bool, loop: asyncio.AbstractEventLoop, seconds: float
) -> tuple[HttpAnswer | Broken, bool]:
    """The answer, and whether all of it was read: only then the connection is fit for another request."""
    protocol = connection.protocol
    if protocol is None or protocol.transport is None:
        raise aiohttp.ClientConnectionResetError("the connection was lost before anything was written")
    protocol.set_response_params(read_until_eof=True)
    protocol.transport.write(written)
    # The connection ends what waits for its bytes. `asyncio.timeout` cancels the task, which takes six times as long.
    deadline = loop.call_later(seconds, protocol._on_read_timeout)
    try:
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:  # early hints, "continue"
            message, content = await protocol.read()
        headers = message.headers
        if not reads_body:
            return HttpAnswer(message.code, headers), content.is_eof()
        body = await bounded(content)
    finally:
        deadline.cancel()
    if body is None:
        return Broken(sent=True, detail=f"answer larger than {LARGEST_ANSWER} bytes"), False
    return HttpAnswer(message.code, headers, body), True
