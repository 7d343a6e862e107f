"""Runs the web application in a process of its own until a signal ends it."""

import asyncio
import logging
import resource
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.logs import CountLog, logged
from onboarding_worker.web.events.request_body import BROKEN_OFF
from onboarding_worker.web.middlewares import ROUTE

log = logging.getLogger(__name__)

# How long the rest of a refused body is read, so that its sender can read why it was refused.
LINGERING_SECONDS = 2.0
BACKLOG = 1024  # connections that wait to be accepted
# A connection may be idle for so long between two requests; how many there are is bounded by the proxy in front.
IDLE_SECONDS = 30.0
# What each answer names as its server, in place of the versions of aiohttp and Python.
SERVER = "onboard"
# How long requests in flight may take when the server stops: their chunk is on its way to the database.
SHUTDOWN_SECONDS = 20.0


def _in_words(new: Mapping[str, int]) -> str:
    return "answered: " + ", ".join(f"{what}: {new[what]:,}" for what in sorted(new))


class AccessLog(AbstractAccessLogger):
    """Logs method, route, status and time. Never the requested path, which may hold what must not be logged. There is a
    line for each request at DEBUG; at INFO requests are counted, and the counts are logged now and then."""

    answered = CountLog[str](log, _in_words)  # the requests of servers other than `listening`

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        method = request.method if request.method in _METHODS else "-"
        what = f"{method} {request.get(ROUTE, '-')} {response.status}"
        self.logger.debug("%s %.0f ms", what, time * 1000)
        self.answered.add([what], monotonic())


class _NoStrangers(logging.Filter):
    """Drops aiohttp's errors about bytes that are no HTTP, and about senders that hang up while the rest of a refused
    body is read. They hold the sender's address, anybody can cause them, and the access log has a line for each."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not issubclass(kind, BROKEN_OFF)


_connections = logging.getLogger(f"{__name__}.connections")
_connections.addFilter(_NoStrangers())
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


async def serve(application: web.Application, *, host: str, port: int, started: Callable[[int], None]) -> None:
    """Listen until SIGTERM or SIGINT, then answer the requests in flight. `started` is called with the port. Raises
    OSError where the server cannot listen."""
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    async with listening(application, host=host, port=port) as listens_on:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        started(listens_on)
        await ending.wait()
        log.info("stopping: answering the requests in flight")


@asynccontextmanager
async def listening(application: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Listen on the yielded port until the block ends; then answer the requests in flight. Raises OSError."""
    # A connection costs a file, so this process may open as many as the system lets it.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    class Counting(AccessLog):  # its own count: aiohttp makes an object of the class for each connection
        answered = CountLog[str](log, _in_words)

    runner = web.AppRunner(
        application,
        shutdown_timeout=SHUTDOWN_SECONDS,
        access_log_class=Counting,
        access_log=log,
        logger=_connections,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=LINGERING_SECONDS,
        # A refused body is read for a while too, and a megabyte may decompress to a gigabyte, on the loop.
        auto_decompress=False,
    )
    async with logged(Counting.answered):
        try:
            await runner.setup()
            await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


async def name_server(_request: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`."""
    response.headers["Server"] = SERVER
