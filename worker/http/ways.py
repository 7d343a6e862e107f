"""Who makes this process's calls, if not ClientSession."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.settings.model import Settings

if TYPE_CHECKING:
    from onboarding_worker.http.client import Faster
    from onboarding_worker.senders.email import Transact


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
