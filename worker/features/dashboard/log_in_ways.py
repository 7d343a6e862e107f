"""How people may log in, besides a name and a password; and what a log-in counts for."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.features.dashboard.users import OIDC, Dashboard, Role
from onboarding_worker.runtime.web_application import Shared
from onboarding_worker.settings.model import Settings

if TYPE_CHECKING:
    from onboarding_worker.features.dashboard.log_in import LogInPage


class LogInRoutes(Protocol):
    """Belongs to one loop. People leave for another site, and come back to the path `back_at`."""

    back_at: str

    async def leave(self, request: web.Request) -> web.StreamResponse: ...
    async def back(self, request: web.Request) -> web.StreamResponse: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class LogInWay:
    """`open`, `entry`: where `is_there`. `entry`: what a log-in with this role counts for."""

    is_there: Callable[[Settings], bool]
    open: Callable[[Shared, "LogInPage"], LogInRoutes]
    entry: Callable[[Settings, Role], str]


# The feature `oidc` lets people in whom an identity provider names.
LOG_IN_WAYS = Hook("LOG_IN_WAYS", LogInWay)


def another_way(settings: Settings) -> LogInWay | None:
    return next((way for way in LOG_IN_WAYS.offered() if way.is_there(settings)), None)


def has_people(settings: Settings) -> bool:
    """Whether people can log in."""
    return settings.section(Dashboard).users.is_given or another_way(settings) is not None


def entry_of(settings: Settings, name: str, role: Role) -> str:
    """What a log-in of this person with this role counts for: once it changes, the log-in counts no more. "": nobody
    has this name and this role now."""
    if name.startswith(OIDC):
        way = another_way(settings)
        return "" if way is None else way.entry(settings, role)
    user = settings.section(Dashboard).users.current().get(name)
    if user is None or user.role is not role:
        return ""
    return sha256(f"{role.value} {user.password.reveal()}".encode()).hexdigest()
