"""What each request passes: it is counted, the answer to refused credentials waits, and errors have one form."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Middleware

from worker.core.foundation.clock import monotonic
from worker.core.model.meters import Meters
from worker.core.model.metrics import ANSWER_SECONDS, ANSWERS
from worker.web.peers import Network, peer_of
from worker.web.problems import PROBLEM, REFUSED, problem
from worker.web.refusals import Refusals

log = logging.getLogger(__name__)

ROUTE = web.RequestKey("route", str)  # the key under which a request stores its route, for the log
# aiohttp's parser reads others too, as far as they look alike. A proxy in front may see another request in them.
VERSIONS = (HttpVersion10, HttpVersion11)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def wait(seconds: float) -> None:
    """Wait before an answer is given; tests do not."""
    await asyncio.sleep(seconds)


def counting(meters: Meters) -> Middleware:
    """Counts the answers by route and status, and how long they took."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = monotonic()
        answer = await handler(request)
        route = request.get(ROUTE, "-")
        meters.add(ANSWERS, route, str(answer.status))
        meters.observer(ANSWER_SECONDS, route)(monotonic() - began)
        return answer

    return count


class Slowed:
    """Counts, logs and delays the answers to refused credentials."""

    def __init__(self, refusals: Refusals, trusted: Sequence[Network]) -> None:
        self._refusals, self._trusted = refusals, trusted

    def peer(self, request: web.Request) -> str:
        """The machine that sent the request."""
        return peer_of(request.remote, request.headers.getall("X-Forwarded-For", []), self._trusted)

    async def refused(self, request: web.Request, why: str, *, name: str = "") -> None:
        """Count it, and wait as long as its answer should. `name`: see `Refusals`."""
        peer = self.peer(request)
        if delay := self._refusals.refused(peer, why, monotonic(), name=name):
            self._refusals.waiting += 1
            try:
                await wait(delay)
            finally:
                self._refusals.waiting -= 1

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def slow(request: web.Request, handler: Handler) -> web.StreamResponse:
            answer = await handler(request)
            why = request.get(REFUSED)
            if why is not None:
                await self.refused(request, why)
            return answer

        return slow


@web.middleware
async def as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what aiohttp itself refuses (an unknown path, another method), and bugs, in the same form."""
    resource = request.match_info.route.resource
    request[ROUTE] = resource.canonical if resource is not None else "-"
    if request.version not in VERSIONS:
        answer = problem(505, "neither HTTP/1.0 nor HTTP/1.1")
        answer.force_close()
        return answer
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST or error.content_type == PROBLEM:
            raise
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return problem(error.status, HTTPStatus(error.status).phrase.lower(), headers=allowed)
    except Exception:
        log.exception("a request ended with a bug of ours")  # the log shows only its kind and place
        return problem(500, "a bug of ours; the log names it")
