"""What each request passes: it is counted, refused credentials slow the next ones of their machine, and errors have one
form. And which machine a request came from, whether by TLS; with a warning where nobody named the proxy that says so.

The peer of a connection may be a proxy that speaks for others: its `X-Forwarded-For` counts if the proxy is trusted.
"""

import asyncio
import ipaddress
import logging
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeAlias

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Middleware

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.model.metrics import ANSWER_SECONDS, ANSWERS, Meters
from onboarding_worker.web.problems import PROBLEM, REFUSED, Refused, problem

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
Times = OrderedDict[str, tuple[int, float]]  # by peer or name: how often, and when last

log = logging.getLogger(__name__)

ROUTE = web.RequestKey("route", str)  # the key under which a request stores its route, for the log
# aiohttp's parser reads others too, as far as they look alike. A proxy in front may see another request in them.
VERSIONS = (HttpVersion10, HttpVersion11)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

UNKNOWN = "an unknown address"
# A host has a whole network of IPv6 addresses, so the network is what counts.
IPV6_PREFIX = 64
# Some proxies write the port too: 192.0.2.1:50000, [2001:db8::1]:50000.
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5}", re.ASCII)


def peer_of(remote: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address of the machine that asked, or its IPv6 network. It is never text of the request.

    `remote` is the connection's other end, `forwarded` are the values of X-Forwarded-For. Each proxy appends the
    address that it saw, so the addresses count from the end, and up to the first one that is no trusted proxy.
    """
    peer = _address(remote or "")
    if peer is None:
        return UNKNOWN
    for named in reversed([part for value in forwarded for part in value.split(",")]):
        if not any(peer in network for network in trusted):
            break
        before = _address(named)
        if before is None:  # what stands before it is not known to be true either
            break
        peer = before
    return str(peer) if peer.version == 4 else str(ipaddress.ip_network((peer, IPV6_PREFIX), strict=False))


def _address(text: str) -> Address | None:
    text = text.strip()
    if named := _WITH_PORT.fullmatch(text):
        text = named[1] or named[2]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


TRUSTED: web.AppKey[Sequence[Network]] = web.AppKey("trusted")  # the proxies whose word counts
# For a year a browser that came by TLS comes by nothing else.
BY_TLS_ONLY = "max-age=31536000"
WARNED_AGAIN_SECONDS = 3600.0


def came_by_tls(request: web.Request) -> bool:
    """Whether the request came by TLS: to this process, or to a proxy whose word counts."""
    return request.secure or (_is_of_proxy(request) and request.headers.get("X-Forwarded-Proto") == "https")


def _is_of_proxy(request: web.Request) -> bool:
    """Whether the connection's other end is a proxy whose word counts."""
    peer = _address(request.remote or "")
    return peer is not None and any(peer in network for network in request.config_dict[TRUSTED])


class Proxies:
    """What is said about proxies. Belongs to one loop."""

    def __init__(self) -> None:
        self._warned_at: float | None = None

    async def look(self, request: web.Request, response: web.StreamResponse) -> None:
        """For `Application.on_response_prepare`: tell the browser, and the operator."""
        if came_by_tls(request):
            response.headers["Strict-Transport-Security"] = BY_TLS_ONLY
        if "X-Forwarded-For" not in request.headers or _is_of_proxy(request):
            return
        now = monotonic()
        if self._warned_at is None or now - self._warned_at >= WARNED_AGAIN_SECONDS:
            self._warned_at = now
            log.warning(
                "%s speaks for others (X-Forwarded-For), and [web] trusted_proxies does not name it: if it is your"
                " proxy, all whom it speaks for count as one machine, and are slowed as one",
                peer_of(request.remote, (), ()),
            )


class Refusals:
    """Counts, logs and delays the answers to refused credentials. Belongs to one loop. Times are monotonic seconds."""

    def __init__(self, log: logging.Logger, trusted: Sequence[Network] = ()) -> None:
        """`trusted`: the proxies whose word counts about who asks."""
        self._log, self._trusted = log, trusted
        self._since: Counter[str] = Counter()  # by peer, since the last line
        self._why = ""
        self._logged_at: float | None = None
        self._peers: Times = OrderedDict()
        self._names: Times = OrderedDict()
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


def _delay(refused: Times, who: str, now: float) -> float:
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
    """Answer what we refuse, what aiohttp itself refuses (an unknown path, another method), and bugs, in one form."""
    resource = request.match_info.route.resource
    request[ROUTE] = resource.canonical if resource is not None else "-"
    if request.version not in VERSIONS:
        answer = problem(505, "neither HTTP/1.0 nor HTTP/1.1")
        answer.force_close()
        return answer
    try:
        return await handler(request)
    except Refused as refused:
        return refused.answer
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST or error.content_type == PROBLEM:
            raise
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return problem(error.status, HTTPStatus(error.status).phrase.lower(), headers=allowed)
    except Exception:
        log.exception("a request ended with a bug of ours")  # the log shows only its kind and place
        return problem(500, "a bug of ours; the log names it")
