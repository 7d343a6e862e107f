"""How many calls each dispatcher may have in flight, so that all together never exceed the account's concurrency.

Pure: `limits.store.concurrency` keeps a row for each dispatcher, and applies this under the lock on the account's
budget row. When more dispatchers share the account, a dispatcher opens no call until it is down to its new share. Its
calls in flight stay counted as its own until they end. No dispatcher holds many more permits than it uses: a dispatcher
that waits for one slow call must not delay the customers of the other dispatchers.

Also which rows get an account's slots when events and batches both wait: events first, but batches keep a share.
Without the share, a stream of sign-ups would delay a list for ever. With the share, an event waits for a batch's
call in at most one slot of five. The slots that one side does not use go to the other.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

# The most rows claimed at once: more would wait in the worker until their leases end, if the calls become slow.
MOST_PER_PERMIT = 60
ASK_AGAIN = timedelta(milliseconds=200)  # how soon a dispatcher reads the permits of the other dispatchers again
# How old a dispatcher's permits may become before it renews them. A call for a row claimed then ends this long before
# that row's lease ends (`FLUSH_MARGIN`), so no other dispatcher gets its permit while the call is in flight.
RENEW_AFTER = timedelta(seconds=5)
# A dispatcher begins with a fourth of all permits, at least this many, and doubles them when it nearly uses them all.
BEGINS_WITH = 8
# With more dispatchers than permits, each dispatcher has a turn: all accounts that share a budget must go on.
TURN = timedelta(seconds=5)
_DAY_ONE = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Held:
    """The permits of one dispatcher; they end at `until` unless it renews them."""

    owner: str
    permits: int
    until: datetime


@dataclass(frozen=True)
class Share:
    """`use` bounds the calls in flight before another call is opened; `keep` permits count as the owner's.

    `alone`: no other dispatcher holds permits.
    """

    use: int
    keep: int
    alone: bool = False


def share(cap: int, held: Iterable[Held], owner: str, *, busy: int, now: datetime) -> Share:
    """The share of `cap` permits for `owner`, which has `busy` calls in flight, given the permits that all hold."""
    live = {item.owner: item.permits for item in held if item.until > now}
    mine = live.pop(owner, 0)
    free = cap - sum(live.values())
    use = max(min(_fair(cap, [*live, owner], owner, now), _wanted(cap, mine, busy), free), 0)
    return Share(use, max(use, min(busy, mine)), alone=not live)


def _wanted(cap: int, mine: int, busy: int) -> int:
    least = min(max(-(-cap // 4), BEGINS_WITH), cap)
    if mine < least:
        return least
    if 4 * busy >= 3 * mine:
        return 2 * mine
    return max(mine // 2, least) if 4 * busy < mine else mine


def _fair(cap: int, owners: list[str], owner: str, now: datetime) -> int:
    each, rest = divmod(cap, len(owners))
    turn = (now - _DAY_ONE) // TURN if each == 0 else 0
    rank = (sorted(owners).index(owner) + turn) % len(owners)
    return each + (rank < rest)


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
