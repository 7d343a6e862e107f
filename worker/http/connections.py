"""The connector of each session: it says how far a call has come, and lends no connection with a stray answer on it.

It depends on two things that aiohttp does not promise: ClientSession asks `connect` for each request's connection, and
the protocol of a connection says in `should_close` that bytes came which nobody had asked for. `check_aiohttp` finds
out whether they are so, and no session is opened where they are not.
"""

import asyncio
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp.connector import Connection

from worker.core.model.http_messages import MayWrite
from worker.settings.problems import SettingsError

# Servers and load balancers close idle connections, many after 60 s. The outcome of a request that is written at that
# moment is unknown, and its row is held. So this side closes first, well before.
KEEP_IDLE = timedelta(seconds=15)
# How many connections a call drops before it gives up: see `UnaskedAnswer`.
MOST_DROPPED = 20
UNFIT = f"aiohttp {aiohttp.__version__} is not as calls need it: install the one of requirements.lock"


class Phase:
    """How far one call has come."""

    traced = False  # whether the connector reports anything
    connected = False  # from here on bytes may have left

    def __init__(self, may_write: MayWrite | None = None) -> None:
        """`may_write` is asked once, when there is a connection; None: the request may be written at any time."""
        self.may_write = may_write


# The call of this task: ClientSession asks the connector itself, and hands nothing on to it.
phase_of_call: ContextVar[Phase | None] = ContextVar("phase", default=None)


class NotWritten(aiohttp.ClientError):
    """There was a connection, and by then the request was not to be written. The connection is kept."""


class UnaskedAnswer(aiohttp.ClientConnectionError):
    """Each connection had bytes of the server before anything was written to it."""


class Connector(aiohttp.TCPConnector):
    """Keeps connections. Having one, new (TLS done) or kept, is the last moment that is surely before the first byte.

    aiohttp's own tracing says so too, but before the check for stray bytes, and costs a tenth of a call.
    """

    def __init__(self) -> None:
        # No bound: the callers bound their calls.
        super().__init__(limit=0, keepalive_timeout=KEEP_IDLE.total_seconds())

    async def connect(self, *asked: Any, **more: Any) -> Connection:
        phase = phase_of_call.get()
        if phase is None:
            return await self.clean(*asked, **more)
        phase.traced = True
        # ClientSession repeats a GET whose kept connection broke; a call has the slot of one request.
        if phase.connected:
            raise aiohttp.ServerDisconnectedError
        connection = await self.clean(*asked, **more)
        # Nothing here tells a kept connection from a new one: each call counts as one that has waited.
        if phase.may_write is not None and not phase.may_write(True):
            connection.release()
            raise NotWritten
        phase.connected = True
        return connection

    async def clean(self, *asked: Any, **more: Any) -> Connection:
        """A connection on which nothing has come that was not asked for. Raises UnaskedAnswer.

        aiohttp would give such an answer to the next request, and each later answer to the request after its own: one
        customer would get the session of another.
        """
        for _ in range(MOST_DROPPED):
            connection = await super().connect(*asked, **more)
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        raise UnaskedAnswer


class _Asked(Exception):
    pass


class _Probe(Connector):
    async def clean(self, *_asked: Any, **_more: Any) -> Connection:
        raise _Asked


async def check_aiohttp() -> None:
    """Raises SettingsError where aiohttp is not as the connector needs it. Connects to nothing."""
    try:
        from aiohttp.client_proto import ResponseHandler  # imported here: it may be gone

        idle = ResponseHandler(asyncio.get_running_loop())
        was_clean = not idle.should_close
        idle.data_received(b"HTTP/1.1 200 OK\r\n")
        says_so = was_clean and idle.should_close
        async with aiohttp.ClientSession(connector=_Probe()) as session:
            await session.get("http://127.0.0.1:9")
    except _Asked:
        if says_so:
            return
    except Exception as error:  # whatever another release makes of it
        raise SettingsError([UNFIT]) from error
    raise SettingsError([UNFIT])
