"""The connector of a process's session, and what both ways of making a call read from a connection."""

from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp.connector import Connection

from worker.http.messages import Broken, MayWrite

# Answers are a few hundred bytes, FrankieOne's with vendor parameters a few thousand.
LARGEST_ANSWER = 1024 * 1024
TOO_LARGE = Broken(sent=True, detail=f"answer larger than {LARGEST_ANSWER} bytes")
# Servers and load balancers close idle connections, many after 60 s. The outcome of a request that is written at that
# moment is unknown, and its row is held. So this side closes first, well before.
KEEP_IDLE = timedelta(seconds=15)
# How many connections a call drops before it gives up: see `UnaskedAnswer`.
MOST_DROPPED = 20


class Phase:
    """How far one request has come."""

    traced = False  # whether the connector reports anything
    connected = False  # from here on bytes may have left
    may_write: MayWrite | None = None  # asked once, when there is a connection; None: it may be written at any time


# The request of a call through ClientSession, which calls the connector itself.
phase_of_call: ContextVar[Phase | None] = ContextVar("phase", default=None)


class NotHttp(aiohttp.ClientError):
    """The answer is not HTTP, or its head is too large."""


class NotWritten(aiohttp.ClientError):
    """There was a connection, and by then the request was not to be written. The connection is kept."""


class UnaskedAnswer(aiohttp.ClientConnectionError):
    """Each connection had bytes of the server before anything was written to it."""


class Connector(aiohttp.TCPConnector):
    """Keeps connections, and records how far the request in the task's context has come.

    Having a connection, new (TLS done) or kept, is the last moment that is surely before the first byte. The
    session's own tracing reports the same, but took a tenth of a call's whole cost.
    """

    def __init__(self) -> None:
        # No bound: the callers bound their calls, and a kept connection counts as one in use (`kept_connection`).
        super().__init__(limit=0, keepalive_timeout=KEEP_IDLE.total_seconds())

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        phase = phase_of_call.get()
        if phase is not None:
            phase.traced = True
        connection = await self.clean(req, traces, timeout)
        if phase is not None:
            # ClientSession repeats a look-up whose kept connection broke: it was allowed then.
            if phase.may_write is not None and not phase.connected and not phase.may_write(True):
                connection.release()
                raise NotWritten
            phase.connected = True
        return connection

    async def clean(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        """A connection on which nothing has come that was not asked for. Raises UnaskedAnswer.

        aiohttp would give such an answer to the next request, and each later answer to the request after its own: one
        customer would get the session of another.
        """
        for _ in range(MOST_DROPPED):
            connection = await super().connect(req, traces, timeout)
            if _is_clean(connection):
                return connection
            connection.close()
        raise UnaskedAnswer


def _is_clean(connection: Connection) -> bool:
    return not getattr(connection.protocol, "should_close", False)


async def bounded(content: aiohttp.StreamReader) -> bytes | None:
    """The whole body; None, without reading on, if it is larger than LARGEST_ANSWER."""
    body = await content.readany()
    if content.at_eof():
        return body if len(body) <= LARGEST_ANSWER else None
    whole = bytearray(body)
    while len(whole) <= LARGEST_ANSWER:
        if not (body := await content.readany()):
            return bytes(whole)
        whole += body
    return None
