"""The contract of every target: a bus, a stream or a subscriber."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from worker.domain.events.published import OutgoingEvent
from worker.domain.model.endings import Problem
from worker.foundation.clock import Clock

GoesOn = Callable[[], bool]


@dataclass(frozen=True)
class Reply:
    """The result of publishing one event. `problem` None: the target has accepted the event.

    The problem's kind is BAD_INPUT where the target refuses the event for ever, RATE_LIMITED where the target wants no
    event for a while, and TRANSIENT for all else. An event that may have been accepted is published again.
    """

    number: int
    began_at: datetime
    problem: Problem | None = None


class Target(Protocol):
    longest: timedelta  # how long one `publish` may take

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        """Publish these events, each of a different customer. Blocks. Events without a reply were not published.

        Returns soon, with the replies so far, when `goes_on` returns False. A fault of the target raises nothing.
        """
        ...

    def close(self) -> None:
        """Close connections; a later `publish` opens new ones."""
        ...
