"""Runs the web application in a process of its own until it is told to end."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from worker.foundation.clock import monotonic
from worker.foundation.count_log import EVERY_SECONDS, CountLog
from worker.inbound.web.application import ROUTE
from worker.inbound.web.request_body import BROKEN_OFF

log = logging.getLogger(__name__)

# Whoever connects and sends nothing, or nothing more, is let go of after so many seconds.
IDLE_SECONDS = 30.0
# How long the rest of a refused body is read for, so that its sender gets to read why it was refused.
LINGERING_SECONDS = 2.0
# Requests that are being answered when it is told to end: a chunk that is on its way to the database.
LAST_WORDS_SECONDS = 20.0


def _in_words(new: Mapping[str, int]) -> str:
    return "answered: " + ", ".join(f"{what}: {new[what]:,}" for what in sorted(new))


class AccessLog(AbstractAccessLogger):
    """Method, route, status and time. Never the path as it was asked for, which may hold what must not be logged.

    A line for each request is for who looks for something: else they are counted, and said now and then.
    """

    answered = CountLog[str](log, _in_words)  # of all that no `listening` counts for itself

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        method = request.method if request.method in _METHODS else "-"
        what = f"{method} {request.get(ROUTE, '-')} {response.status}"
        self.logger.debug("%s %.0f ms", what, time * 1000)
        self.answered.add([what], monotonic())


def _counting() -> type[AccessLog]:
    """An access log with a count of its own: aiohttp makes one of the class for each connection."""
    return type("AccessLog", (AccessLog,), {"answered": CountLog[str](log, _in_words)})


async def _say_now_and_then(answered: CountLog[str]) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        answered.write(monotonic())


class _NoStrangers(logging.Filter):
    """Leaves out what aiohttp says, as an error and with the sender's address, of bytes that are no HTTP, and of who
    hangs up while the rest of a refused body is read: anybody may, and the access log has a line for each."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not issubclass(kind, (HttpProcessingError, *BROKEN_OFF))


_connections = logging.getLogger(f"{__name__}.connections")
_connections.addFilter(_NoStrangers())
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


async def serve(application: web.Application, *, host: str, port: int, started: Callable[[int], None]) -> None:
    """Listen until SIGTERM or SIGINT, then answer what is under way. `started` is told the port.

    Raises OSError where it cannot listen.
    """
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    async with listening(application, host=host, port=port) as listens_on:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        started(listens_on)
        await ending.wait()
        log.info("told to end: what is under way is answered")


@asynccontextmanager
async def listening(application: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Listen, on the port that is given out, until left; then answer what is under way. Raises OSError."""
    access_log = _counting()
    runner = web.AppRunner(
        application,
        access_log_class=access_log,
        access_log=log,
        logger=_connections,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGERING_SECONDS,
        shutdown_timeout=LAST_WORDS_SECONDS,
        # A refused body is read for a while too, and one of a megabyte may unpack to a gigabyte, on the loop.
        auto_decompress=False,
    )
    saying = asyncio.create_task(_say_now_and_then(access_log.answered))
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
        saying.cancel()
        access_log.answered.write(monotonic())
