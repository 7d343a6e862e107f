"""Makes one HTTP call with one deadline, and reports whether the request may have been carried out.

    call(request) -> HttpAnswer          whatever the status
                  -> Broken(sent=False)  there was no connection: nothing was carried out
                  -> Broken(sent=True)   the request was, or may have been, written

If unsure, `sent` is True: a call that counts as not made is made again, and may be paid for twice.

The connector says how far a call has come, and lends no connection with a stray answer on it. It depends on two things
that aiohttp does not promise: ClientSession asks `connect` for each request's connection, and the protocol of a
connection says in `should_close` that bytes came which nobody had asked for. `check_aiohttp` finds out whether they are
so, and no session is opened where they are not.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from onboarding_worker.core.foundation.connection_failures import tls_failure
from onboarding_worker.core.foundation.version import __version__
from onboarding_worker.core.model.http_messages import (
    LARGEST_ANSWER,
    TOO_LARGE,
    Broken,
    HttpAnswer,
    HttpRequest,
    MayWrite,
)
from onboarding_worker.http.trust import NO_TRUST, Trust, server
from onboarding_worker.settings.problems import SettingsError

# Raised before there is a connection, with any session.
NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
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


@asynccontextmanager
async def open_http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """The only session of a process's loop. The callers bound their calls themselves. Raises SettingsError."""
    await check_aiohttp()
    async with _new_session() as session:
        yield session


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=Connector(),
        # One account's cookies must not travel with another's calls to the same host.
        cookie_jar=aiohttp.DummyCookieJar(),
        # Answers are small; without compression the bound on the body is a bound on memory too.
        headers={"User-Agent": f"onboarding-worker/{__version__}", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the deadline is the call's
        raise_for_status=False,
        trust_env=False,
    )


class Http:
    """Makes calls through a session of `open_http_session`. With another session, more failures count as sent.

    None: through one of its own, which the first call opens, on its loop, and `close` closes. The process has called
    `check_aiohttp` at its start.
    """

    def __init__(self, session: aiohttp.ClientSession | None = None, trust: Trust = NO_TRUST) -> None:
        self._given, self._trust = session, trust
        self._own: aiohttp.ClientSession | None = None

    # The deadline is an argument because the outcome depends on it: how far the call had come at the deadline.
    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109
        reads_body: bool = True,
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken:
        """Make the call; `timeout` covers connecting, writing and reading. Raises nothing but CancelledError.

        Without `reads_body` the status is the whole answer: an endless body does no harm. `may_write` is asked when
        there is a connection, directly before the request is written. If it says no, nothing is written, and the next
        call finds the connection there.
        """
        phase = Phase(may_write)
        of_this_call = phase_of_call.set(phase)
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._exchange(request, reads_body=reads_body)
        except NEVER_CONNECTED as error:
            return Broken(sent=False, detail=_place(request.url) + _name(error, phase))
        except Exception as error:
            sent = phase.connected or not phase.traced
            return Broken(sent=sent, detail=("" if sent else _place(request.url)) + _name(error, phase))
        finally:
            phase_of_call.reset(of_this_call)

    async def _exchange(self, request: HttpRequest, *, reads_body: bool) -> HttpAnswer | Broken:
        url = URL(request.url, encoded=True)  # sent exactly as the adapter built it
        session = self._given or self._own
        if session is None:
            session = self._own = _new_session()
        async with session.request(
            request.method,
            url,
            ssl=self._trust.get(server(url), True) if self._trust else True,
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,  # never send the credential to another place
        ) as response:
            if not reads_body:  # if the body has not all arrived, this closes the connection
                return HttpAnswer(response.status, response.headers)
            body = bytearray()
            while part := await response.content.readany():
                body += part
                if len(body) > LARGEST_ANSWER:  # it is not read on
                    response.close()
                    return TOO_LARGE
            return HttpAnswer(response.status, response.headers, bytes(body))

    async def close(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await own.close()


def _place(url: str) -> str:
    """`HOST:PORT: `, for a failure to connect; "" for a URL without a host. Its path may hold a secret."""
    with suppress(ValueError):
        parts = URL(url, encoded=True)
        if parts.host:
            return f"{parts.host}:{parts.port}: "
    return ""


def _name(error: Exception, phase: Phase) -> str:
    """What failed, in words without an address: exception texts of aiohttp contain URLs."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "host name not found"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return tls_failure(error)
        case aiohttp.ClientConnectorError():
            return "connection refused or not possible"
        case NotWritten():
            return "too late to be written when there was a connection"
        case UnaskedAnswer():
            return "the server sends before it is asked"
        case aiohttp.InvalidURL():
            return "address not valid"
        case TimeoutError() if phase.connected:
            return "time-out before the answer was complete"
        case TimeoutError():
            return "time-out" if not phase.traced else "time-out before there was a connection"
        case aiohttp.ServerDisconnectedError():
            return "connection closed without an answer"
        case aiohttp.ClientPayloadError():
            return "answer cut off"
        case aiohttp.ClientResponseError():
            return "answer is not HTTP"
        case aiohttp.ClientOSError() | ConnectionError():
            return "connection reset"
        case _:
            return type(error).__name__


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
