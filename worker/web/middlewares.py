"""What each request passes: it is counted, and errors have one form. And which machine a request came from, whether by
TLS; with a warning where nobody named the proxy that says so.

The peer of a connection may be a proxy that speaks for others: its `X-Forwarded-For` counts if the proxy is trusted.
"""

import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from itertools import islice
from typing import TypeAlias

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Middleware

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.model.metrics import ANSWER_SECONDS, ANSWERS, Meters
from onboarding_worker.web.problems import PROBLEM, Refused, problem

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
# No chain of trusted proxies is longer. Without a bound a stranger's long header, behind one, costs milliseconds.
_MOST_PROXIES = 20
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
    for named in islice(reversed([part for value in forwarded for part in value.split(",")]), _MOST_PROXIES):
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
