"""How many of an account's calls each dispatcher may have in flight, so that all together never pass its concurrency.

Pure: `store.limits.concurrency` keeps a row for each dispatcher, and applies this under the lock on the account's
budget row. A dispatcher that more share with than before opens no more calls until it is down to its share; what it has
in flight meanwhile stays counted as its own, and becomes another's only as it ends. Nobody holds many more than it
fills: a dispatcher that waits for one slow call must not keep the others' customers waiting.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ROWS_PER_PERMIT = 2  # rows taken at once: more would wait with their worker until their leases were over
ASK_AGAIN = timedelta(milliseconds=200)  # how soon a dispatcher looks at what the others hold
# How old what a dispatcher holds may become before it is renewed. A call under the lease of a row taken then is over
# this long before that lease is (`FLUSH_MARGIN`), so its permit is never another's while it is out, however long it
# takes.
RENEW_AFTER = timedelta(seconds=5)
# A dispatcher begins with a fourth of all permits, or so many, and doubles what it has once that is nearly filled.
BEGINS_WITH = 8
# Where there are more dispatchers than permits, each has a turn: accounts that share a budget must all get on.
TURN = timedelta(seconds=5)
_DAY_ONE = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Held:
    """What one dispatcher holds; nothing after `until`, unless it says so again."""

    owner: str
    permits: int
    until: datetime


@dataclass(frozen=True)
class Share:
    """`use` bounds the calls that may be in flight before another is opened; `keep` is what counts as the owner's.

    `alone`: no other dispatcher holds any.
    """

    use: int
    keep: int
    alone: bool = False


def share(cap: int, held: Iterable[Held], owner: str, *, busy: int, now: datetime) -> Share:
    """What `owner`, with `busy` calls in flight, may use and keeps of `cap` permits, given what all hold."""
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
