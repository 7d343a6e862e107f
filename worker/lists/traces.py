"""Traces: what the worker says of one event's or one row's way to its message, and to whom it says it. Pure. A trace
context is kept as its `traceparent` (W3C Trace Context). The feature `traces` records the spans."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.model.wakeups import WakeUp

TRACEPARENT = "traceparent"  # the name of the header and of the CloudEvents attribute
Facts = Mapping[str, str | int]  # names and numbers of ours: an account, a channel, a batch; never a customer's


class Span(Protocol):
    """A span that has begun. It is exported once it has ended, and never if it does not end."""

    @property
    def traceparent(self) -> str:
        """For the spans below it; 55 characters."""

    def end(self, at: datetime, outcome: str, *, failed: bool = False, facts: Facts | None = None) -> None: ...


class Step(NamedTuple):
    """A step that has ended. `leaves`: a call to another system."""

    name: str
    began_at: datetime
    ended_at: datetime
    outcome: str
    facts: Facts
    failed: bool = False
    leaves: bool = False


class Traces:
    """Records no span: tracing is off. Times are aware."""

    on = False

    def of_event(self, given: Any, at: datetime, facts: Facts) -> Span | None:
        """Begin the span of an event that comes in. `given` is its `traceparent` as it came, unchecked: its trace is
        continued, or one is begun. None: this event is not traced."""
        return None

    def of_row(self, at: datetime, facts: Facts) -> Span | None:
        """Begin the trace of a row of a list. None: this row is not traced."""
        return None

    def of_work(self, work: Any, wake_up: WakeUp, clock: Clock) -> Any:
        """A dispatcher's work, with the spans of its traced rows. Here it is used as it is."""
        return work

    def step(self, traceparent: str, step: Step) -> None:
        """Record a step below the span of this `traceparent`."""

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""


NO_TRACES = Traces()
