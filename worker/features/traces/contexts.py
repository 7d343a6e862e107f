"""A place in a trace, as a `traceparent` says it (W3C Trace Context). Pure.

Other systems' words are checked here: a `traceparent` of another form is ignored, as the specification asks.
"""

import re
from dataclasses import dataclass
from typing import Any

LENGTH = 55  # characters of version 00
# A later version may say more behind these four, which mean the same in each version.
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_LONGEST = 512
_SAMPLED = 0x01


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
