"""How people may log in to pages, besides a name and a password."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from worker.core.features import Hook
from worker.core.foundation.clock import Clock
from worker.settings.model import Settings

Delay = Callable[..., Awaitable[None]]  # (request, why, name=): counts a refused log-in, logs it, and waits


class LogInForm(Protocol):
    """What the pages' own form does for another way."""

    def form(self, request: web.Request, *, to: str, said: str = "", status: int = 200) -> web.StreamResponse:
        """The form again; `said`: why."""

    async def enter_as(self, request: web.Request, name: str, role: str, to: str) -> web.StreamResponse:
        """Let a person in whom the other way has named."""


class LogInRoutes(Protocol):
    """Belongs to one loop. People leave for another site, and come back."""

    @property
    def back_at(self) -> str:
        """The path to which they come back."""

    async def leave(self, request: web.Request) -> web.StreamResponse: ...
    async def back(self, request: web.Request) -> web.StreamResponse: ...
    async def close(self) -> None: ...
    def entry(self, role: str) -> str:
        """What a log-in with this role counts for: once it changes, the log-in counts no more."""


@dataclass(frozen=True)
class LogInWay:
    """`open`: None where the configuration has nothing for it, as `is_there` says."""

    is_there: Callable[[Settings], bool]
    open: Callable[[Settings, Clock, Delay, LogInForm], LogInRoutes | None]


# The dashboard asks. The feature `oidc` lets people in whom an identity provider names.
LOG_IN_WAYS = Hook("LOG_IN_WAYS", LogInWay)
