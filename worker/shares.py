"""Which rows an account's slots go to where events and batches both wait: events first, but a share stays for batches.

Pure. Without the share a stream of sign-ups would keep a list waiting for ever; with it an event waits for a batch's
call in one slot of five at most. What one side does not use goes to the other.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
BATCH_SHARE = 0.2


def for_batches(slots: int, jitter: float) -> int:
    """How many of these slots batches have before events; `jitter` in [0, 1) rounds, so that few add up to them."""
    return min(int(slots * BATCH_SHARE + jitter), slots)


def share_out(
    slots: int, jitter: float, *, events: Callable[[int], Sequence[T]], batches: Callable[[int], Sequence[T]]
) -> list[T]:
    """The rows that the slots go to, events in front; each function takes at most so many rows of its kind.

    Where only batches wait, or events take no more than theirs, each is asked once.
    """
    kept = for_batches(slots, jitter)
    first = list(events(slots - kept)) if kept < slots else []
    rest = list(batches(slots - len(first))) if len(first) < slots else []
    left = slots - len(first) - len(rest)
    if left and len(first) == slots - kept:
        first += events(left)
    return first + rest
