"""What every target promises, whoever it is: a bus, a stream, a subscriber."""

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
    """What came of telling one event: `problem` None means that it was taken, for certain.

    Its kind is BAD_INPUT where the target wants it never again, RATE_LIMITED where it is to be left alone for a while,
    and TRANSIENT for all else; what may have been taken is told again.
    """

    number: int
    began_at: datetime
    problem: Problem | None = None


class Target(Protocol):
    longest: timedelta  # how long one `publish` may take

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        """Tell these events, each of another customer. Blocks. Those without a reply were not told.

        Ends soon, with what it has, when `goes_on` says so. Raises nothing for what is the target's fault.
        """
        ...

    def close(self) -> None:
        """Let go of connections; a later `publish` makes new ones."""
        ...
