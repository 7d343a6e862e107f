"""A claim of one dispatcher, made in another dispatcher's transaction: the transaction that makes its rows due.

So the mail to a customer who has just signed up needs no transaction of its own, and no wake-up. The dispatcher that
shares its claim claims nothing else meanwhile; it gets the claimed rows as if it had claimed them itself.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.engine.dispatch.contract import ClaimedRows, Room, UnknownClaim

# Claims in the caller's transaction: (connection, room, now).
ClaimWithin = Callable[[sa.Connection, Room, datetime], ClaimedRows]


class SharedClaim:
    """A `contract.ClaimsInTransaction`. Create it and end it on the loop."""

    def __init__(self, claim: ClaimWithin, room: Room, *, item: Callable[[Any], Any]) -> None:
        """`item(opened)` returns the claimed row of an opened one."""
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
        """The transaction is over. If not `kept`, its outcome is unknown: perhaps only the commit's answer was lost."""
        maybe_ours = [*map(self._item, self._claimed.opened), *self._claimed.items]
        if kept:
            self._end.set_result(self._claimed)
        elif maybe_ours:
            self._end.set_exception(UnknownClaim(maybe_ours))
        else:
            self._end.set_result(ClaimedRows([]))

    async def claimed(self) -> ClaimedRows:
        """Wait for the end of the transaction; returns the claimed rows. Raises UnknownClaim, as `Work.claim` does."""
        return await self._end


@contextmanager
def closing(shared_claims: Mapping[str, SharedClaim]) -> Iterator[None]:
    """End the shared claims of a transaction, however it ends: their dispatchers wait for that."""
    kept = False
    try:
        yield
        kept = True
    finally:
        for shared in shared_claims.values():
            shared.end(kept=kept)
