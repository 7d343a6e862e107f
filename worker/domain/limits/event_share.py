"""Which rows an account's slots go to where events and batches both wait: events first, but a share stays for batches.

Pure. Without the share a stream of sign-ups would keep a list waiting for ever; with it an event waits for a batch's
call in one slot of five at most. What one side does not use goes to the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
BATCH_SHARE = 0.2


@dataclass(frozen=True)
class Shared(Generic[T]):
    """The rows that slots go to, events in front; and whether there may be more of either kind."""

    rows: list[T]
    more: bool


def for_batches(slots: int, jitter: float) -> int:
    """How many of these slots batches have before events; `jitter` in [0, 1) rounds, so that few add up to them."""
    return min(int(slots * BATCH_SHARE + jitter), slots)


def share_out(
    slots: int,
    jitter: float,
    *,
    soon: int,
    events: Callable[[int], Sequence[T]],
    batches: Callable[[int], Sequence[T]],
) -> Shared[T]:
    """The rows that the slots go to; each function takes at most so many rows of its kind.

    Batches have of the first `soon` what events leave. What is further ahead is the events', but for the share.
    Where only batches wait, or events take no more than theirs, each is asked once.
    """
    kept = for_batches(slots, jitter)
    first = list(events(slots - kept)) if kept < slots else []
    crowded = len(first) == slots - kept
    left = max(soon - len(first), kept if crowded else 0)
    rest = list(batches(left)) if left else []
    more = crowded or len(rest) == left
    left = slots - len(first) - len(rest)
    if left and crowded:
        also = events(left)
        first += also
        more = len(also) == left
    return Shared(first + rest, more)
