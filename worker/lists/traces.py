"""Traces: what the worker says of one event's or one row's way to its message, and to whom it says it. Pure.

A trace context is kept as its `traceparent` (W3C Trace Context). Other systems' words are checked here: a `traceparent`
of another form is ignored, as the specification asks. The feature `traces` records the spans.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from worker.core.foundation.clock import Clock
from worker.core.model.wakeups import WakeUp

TRACEPARENT = "traceparent"  # the name of the header and of the CloudEvents attribute
LENGTH = 55  # characters of version 00
# A later version may say more behind these four, which mean the same in each version.
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_LONGEST = 512
_SAMPLED = 0x01

Facts = Mapping[str, str | int]  # names and numbers of ours: an account, a channel, a batch; never a customer's


@dataclass(frozen=True)
class Context:
    """One place in a trace. `sampled`: its spans are recorded."""

    trace_id: int
    span_id: int
    sampled: bool = True

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def context_of(given: Any) -> Context | None:
    """The context in a `traceparent`, whatever it is; None if it is none."""
    if not isinstance(given, str) or len(given) > _LONGEST:
        return None
    parts = _FORM.fullmatch(given)
    if parts is None:
        return None
    version, trace_id, span_id, flags, more = parts.groups()
    if (version == "00" and more is not None) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Context(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))


class Span(Protocol):
    """A span that has begun. It is exported once it has ended, and never if it does not end."""

    @property
    def traceparent(self) -> str:
        """For the spans below it; `LENGTH` characters."""

    def end(self, at: datetime, outcome: str, *, failed: bool = False, facts: Facts | None = None) -> None: ...


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

    def step(
        self,
        traceparent: str,
        name: str,
        began_at: datetime,
        ended_at: datetime,
        outcome: str,
        facts: Facts,
        *,
        failed: bool = False,
        leaves: bool = False,
    ) -> None:
        """Record a step below the span of this `traceparent`. `leaves`: a call to another system."""

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""


NO_TRACES = Traces()
