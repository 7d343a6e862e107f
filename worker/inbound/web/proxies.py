"""What the proxy in front says besides who asks: that the request came by TLS. And a warning, where nobody named it."""

import logging
from collections.abc import Sequence

from aiohttp import web

from worker.foundation.clock import monotonic
from worker.inbound.web.peers import Network, is_proxy, peer_of

log = logging.getLogger(__name__)

# For a year a browser that came by TLS comes by nothing else.
BY_TLS_ONLY = "max-age=31536000"
WARNED_AGAIN_SECONDS = 3600.0


class Proxies:
    """`trusted`: the proxies whose word counts. Belongs to one loop."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted
        self._warned_at: float | None = None

    async def look(self, request: web.Request, response: web.StreamResponse) -> None:
        """For `Application.on_response_prepare`: tell the browser, and the operator."""
        is_named = is_proxy(request.remote, self._trusted)
        if request.secure or (is_named and request.headers.get("X-Forwarded-Proto") == "https"):
            response.headers["Strict-Transport-Security"] = BY_TLS_ONLY
        if not is_named and "X-Forwarded-For" in request.headers:
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
