"""Which certificates the calls of this process trust."""

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from onboarding_worker.core.foundation.tls import Tls

if TYPE_CHECKING:
    from yarl import URL

# By host and port. Other servers are verified too, against the system's authorities.
Trust = Mapping[tuple[str | None, int | None], ssl.SSLContext]
NO_TRUST: Trust = {}


def trust_of(servers: Mapping[str, Tls | None]) -> Trust:
    """The trust for these servers, by URL. None: a server without TLS."""
    from yarl import URL  # imported here: a command that makes no call does not need it

    special = {url: tls for url, tls in servers.items() if tls is not None and not tls.is_usual}
    return {server(URL(url)): tls.context() for url, tls in special.items()}


def server(url: "URL") -> tuple[str | None, int | None]:
    return url.host, url.port
