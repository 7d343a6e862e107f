"""What each request passes: it is counted, refused credentials slow the next ones of their machine, and errors have one
form."""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Middleware

from worker.core.foundation.clock import monotonic
from worker.core.model.metrics import ANSWER_SECONDS, ANSWERS, Meters
from worker.web.peers import Network, peer_of
from worker.web.problems import PROBLEM, REFUSED, problem

EVERY_SECONDS = 60.0
# As many peers are named in a line.
NAMED = 5
# So many refusals of a peer are answered at once; each next one waits twice as long.
FREE = 10
FIRST_DELAY, LONGEST_DELAY = 0.25, 4.0
# A peer that was not refused for so long begins anew.
FORGET_SECONDS = 600.0
# So many peers, and names, are remembered; the one that was refused longest ago is forgotten.
MOST_PEERS = 10_000
# So many answers wait at a time. Further ones do not, but for guesses at a password: a waiting answer costs a
# connection.
MOST_WAITING = 100
Refused = OrderedDict[str, tuple[int, float]]  # by peer or name: how often, and when last

log = logging.getLogger(__name__)

ROUTE = web.RequestKey("route", str)  # the key under which a request stores its route, for the log
# aiohttp's parser reads others too, as far as they look alike. A proxy in front may see another request in them.
VERSIONS = (HttpVersion10, HttpVersion11)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusals:
    """Counts, logs and delays the answers to refused credentials. Belongs to one loop. Times are monotonic seconds."""

    def __init__(self, log: logging.Logger, trusted: Sequence[Network] = ()) -> None:
        """`trusted`: the proxies whose word counts about who asks."""
        self._log, self._trusted = log, trusted
        self._since: Counter[str] = Counter()  # by peer, since the last line
        self._why = ""
        self._logged_at: float | None = None
        self._peers: Refused = OrderedDict()
        self._names: Refused = OrderedDict()
        self.waiting = 0

    def refused(self, peer: str, why: str, now: float, *, name: str = "") -> float:
        """Count a refusal; how many seconds its answer should wait. `why` holds nothing of the request.

        `name`: a digest of the name whose password was guessed. Its answer waits however many others do: else refusals
        at other doors would let guesses through. The checks of passwords bound how many such answers there are.
        """
        self._since[peer] += 1
        self._why = why
        if self._logged_at is None or now - self._logged_at >= EVERY_SECONDS:
            self.write(now)
        delay = _delay(self._peers, peer, now)
        if name:
            return max(delay, _delay(self._names, name, now))
        return delay if self.waiting < MOST_WAITING else 0.0

    def write(self, now: float) -> None:
        """Log what was not logged. Called each minute too, and at the end: the last ones are not left out."""
        if self._since:
            self._log.warning("%d refused (%s); the last for %s", self._since.total(), self._named(), self._why)
            self._logged_at = now
            self._since.clear()

    def peer(self, request: web.Request) -> str:
        """The machine that sent the request."""
        return peer_of(request.remote, request.headers.getall("X-Forwarded-For", []), self._trusted)

    async def delay(self, request: web.Request, why: str, *, name: str = "") -> None:
        """Count a refused request, and wait as long as its answer should. `name`: see `refused`."""
        if seconds := self.refused(self.peer(request), why, monotonic(), name=name):
            self.waiting += 1
            try:
                await wait(seconds)
            finally:
                self.waiting -= 1

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def slow(request: web.Request, handler: Handler) -> web.StreamResponse:
            answer = await handler(request)
            why = request.get(REFUSED)
            if why is not None:
                await self.delay(request, why)
            return answer

        return slow

    def _named(self) -> str:
        named = [f"{count} from {peer}" for peer, count in self._since.most_common(NAMED)]
        others = len(self._since) - len(named)
        return ", ".join(named) + (f", and others from {others} addresses" if others else "")


def _delay(refused: Refused, who: str, now: float) -> float:
    """Count a refusal of this peer or name; how many seconds its answer should wait."""
    times, last = refused.pop(who, (0, now))
    times = 1 if now - last > FORGET_SECONDS else times + 1
    refused[who] = (times, now)
    if len(refused) > MOST_PEERS:
        refused.popitem(last=False)
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(times - FREE - 1, 10)) if times > FREE else 0.0


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
