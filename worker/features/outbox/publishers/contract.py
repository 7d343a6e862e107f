"""The contract of every target: a bus, a stream or a subscriber."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Protocol

from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.model.endings import Problem
from onboarding_worker.events.cloudevents import OutgoingEvent

GoesOn = Callable[[], bool]
# How long answers of a broker are waited for after `goes_on` has returned False: what arrived, and was not answered, is
# published again by the next process.
ANSWERS_SECONDS = 1.0


@dataclass(frozen=True)
class Reply:
    """The result of publishing one event. `problem` None: the target has accepted the event. The problem's kind is
    BAD_INPUT where the target refuses the event for ever, RATE_LIMITED where the target wants no event for a while, and
    TRANSIENT for all else. An event that may have been accepted is published again."""

    number: int
    began_at: datetime
    problem: Problem | None = None


class Target(Protocol):
    longest: timedelta  # how long one `publish` may take

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        """Publish these events, each of a different customer. Blocks. Events without a reply were not published. When
        `goes_on` returns False, it publishes no more and returns soon, with the replies so far. A fault of the target
        raises nothing."""
        ...

    def close(self) -> None:
        """Close connections; a later `publish` opens new ones."""
        ...


def until_answered(goes_on: GoesOn) -> GoesOn:
    """As `goes_on`, but with time for the answers to what is on its way."""
    ends_at = inf

    def goes_on_for_answers() -> bool:
        nonlocal ends_at
        if goes_on():
            return True
        ends_at = min(ends_at, monotonic() + ANSWERS_SECONDS)
        return monotonic() < ends_at

    return goes_on_for_answers
