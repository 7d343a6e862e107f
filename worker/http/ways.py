"""Who makes the calls of this process, if not ClientSession."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.features import Hook
from worker.settings.model import Settings

if TYPE_CHECKING:
    from worker.http.client import Faster
    from worker.senders.smtp_transaction import Transact


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
