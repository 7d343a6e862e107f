"""A dispatcher's taking that is made in another's transaction: the one that makes its rows due.

So the mail to somebody who has just signed up needs neither a transaction of its own nor a bell before it leaves. The
dispatcher that lends takes nothing meanwhile; what was taken comes to it as if it had taken it itself.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.engine.dispatch.contract import ClaimedRows, Room, Unsure

# In a transaction that is the caller's: (connection, room, now).
ClaimWithin = Callable[[sa.Connection, Room, datetime], ClaimedRows]


class SharedClaim:
    """A `contract.ClaimsInTransaction`. Made on the loop, and ended there."""

    def __init__(self, claim: ClaimWithin, room: Room, *, item: Callable[[Any], Any]) -> None:
        """`item` gives the row of one whose attempt is written down."""
        self._claim = claim
        self._room = room
        self._item = item
        self._claimed = ClaimedRows([])
        self._end: asyncio.Future[ClaimedRows] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self._claimed = ClaimedRows([])

    def claim(self, connection: sa.Connection, now: datetime) -> None:
        self._claimed = self._claim(connection, self._room, now)

    def end(self, *, kept: bool) -> None:
        """The transaction is over. Where it failed nobody may know whether it was kept all the same."""
        maybe_ours = [*map(self._item, self._claimed.opened), *self._claimed.items]
        if kept:
            self._end.set_result(self._claimed)
        elif maybe_ours:
            self._end.set_exception(Unsure(maybe_ours))
        else:
            self._end.set_result(ClaimedRows([]))

    async def claimed(self) -> ClaimedRows:
        """What was taken, once that is known. Raises Unsure, as `Work.claim` does."""
        return await self._end


@contextmanager
def ending(shared_claims: Mapping[str, SharedClaim]) -> Iterator[None]:
    """Give back what was lent for a transaction, however it ends: the lenders wait for it."""
    kept = False
    try:
        yield
        kept = True
    finally:
        for shared in shared_claims.values():
            shared.end(kept=kept)
