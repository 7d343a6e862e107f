"""What the proxy in front says besides who asks: that the request came by TLS. And a warning, where nobody named it."""

import logging
from collections.abc import Sequence

from aiohttp import web

from worker.core.foundation.clock import monotonic
from worker.web.peers import Network, is_proxy, peer_of

log = logging.getLogger(__name__)

TRUSTED: web.AppKey[Sequence[Network]] = web.AppKey("trusted")  # the proxies whose word counts
# For a year a browser that came by TLS comes by nothing else.
BY_TLS_ONLY = "max-age=31536000"
WARNED_AGAIN_SECONDS = 3600.0


def came_by_tls(request: web.Request) -> bool:
    """Whether the request came by TLS: to this process, or to a proxy whose word counts."""
    return request.secure or (_is_of_proxy(request) and request.headers.get("X-Forwarded-Proto") == "https")


def _is_of_proxy(request: web.Request) -> bool:
    return is_proxy(request.remote, request.config_dict[TRUSTED])


class Proxies:
    """What is said about proxies. Belongs to one loop."""

    def __init__(self) -> None:
        self._warned_at: float | None = None

    async def look(self, request: web.Request, response: web.StreamResponse) -> None:
        """For `Application.on_response_prepare`: tell the browser, and the operator."""
        if came_by_tls(request):
            response.headers["Strict-Transport-Security"] = BY_TLS_ONLY
        if "X-Forwarded-For" in request.headers and not _is_of_proxy(request):
            self._warn(peer_of(request.remote, (), ()))

    def _warn(self, peer: str) -> None:
        now = monotonic()
        if self._warned_at is None or now - self._warned_at >= WARNED_AGAIN_SECONDS:
            self._warned_at = now
            log.warning(
                "%s speaks for others (X-Forwarded-For), and [web] trusted_proxies does not name it: if it is your"
                " proxy, all whom it speaks for count as one machine, and are slowed as one",
                peer,
            )
