"""Which rows get an account's slots when events and batches both wait: events first, but batches keep a share.

Pure. Without the share, a stream of sign-ups would delay a list for ever. With the share, an event waits for a batch's
call in at most one slot of five. The slots that one side does not use go to the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
BATCH_SHARE = 0.2


@dataclass(frozen=True)
class Shared(Generic[T]):
    """The rows that get slots, events first; `more`: more rows of either kind may wait.

    `share`: how many batch rows get slots whatever events wait; zero if few events do.
    """

    rows: list[T]
    more: bool
    share: int = 0


def for_batches(slots: int, jitter: float) -> int:
    """How many of these slots go to batches before events. `jitter` in [0, 1) rounds, so that few slots add up too."""
    return min(int(slots * BATCH_SHARE + jitter), slots)


def share_out(
    slots: int,
    jitter: float,
    *,
    soon: int,
    events: Callable[[int], Sequence[T]],
    batches: Callable[[int], Sequence[T]],
) -> Shared[T]:
    """The rows that get the slots. `events` and `batches` return at most the given number of rows of their kind.

    Batches get the slots among the first `soon` that events do not use. Later slots go to events, except the share.
    If only batches wait, or events use no more than their part, each function is called once.
    """
    kept = for_batches(slots, jitter)
    first = list(events(slots - kept)) if kept < slots else []
    crowded = len(first) == slots - kept
    share = kept if crowded else 0
    left = max(soon - len(first), share)
    rest = list(batches(left)) if left else []
    more = crowded or len(rest) == left
    left = slots - len(first) - len(rest)
    if left and crowded:
        also = events(left)
        first += also
        more = len(also) == left
    return Shared(first + rest, more, share)
