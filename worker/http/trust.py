"""How this process makes its calls: who makes them, if not ClientSession, and which certificates they trust."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onboarding_worker.core.features import Hook
from onboarding_worker.core.foundation.tls import Tls
from onboarding_worker.settings.model import Settings

if TYPE_CHECKING:
    from yarl import URL

    from onboarding_worker.http.client import Faster
    from onboarding_worker.senders.email import Transact

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


@dataclass(frozen=True)
class Way:
    """`faster` and `transact`, for mails, are asked where it `is_on`. They raise SettingsError where it cannot be used
    here."""

    name: str
    is_on: Callable[[Settings], bool]
    faster: "Callable[[], Faster]"
    transact: "Callable[[], Transact]"


# Other ways of making calls. The feature `fast_calls` is one.
CALLS = Hook("CALLS", Way)


def way_of(settings: Settings) -> Way | None:
    """The way that the configuration switches on; None: ClientSession."""
    return next((way for way in CALLS.offered() if way.is_on(settings)), None)


def faster(settings: Settings) -> "Faster | None":
    """What makes the calls in place of ClientSession, if anything. Raises SettingsError."""
    way = way_of(settings)
    return way.faster() if way else None
