"""Events that arrive together are committed together: one lot is on its way to the database, the next one gathers.

A commit's cost is then shared by all who wait, and one that comes alone does not wait for others.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import sqlalchemy as sa

from worker.events import Event, Receipt, Received

log = logging.getLogger(__name__)

MOST = 100  # events of one transaction
MOST_WAITING = 2000  # events; beyond that the database is not keeping up, and their senders should try later

Receive = Callable[[Sequence[Event]], Received]  # blocking; raises sqlalchemy's OperationalError while it is away
Ring = Callable[[str, str], object]  # (step, name), as `bells.ring_soon`; must return at once
InThread = Callable[..., Awaitable[Any]]  # (function, *arguments)


class TooMany(Exception):
    """More events wait than are taken in."""


class Lots:
    """Takes in one lot after the other. Belongs to one loop."""

    def __init__(self, receive: Receive, ring: Ring, in_thread: InThread) -> None:
        self._receive = receive
        self._ring = ring
        self._in_thread = in_thread
        self._waiting: deque[tuple[Event, asyncio.Future[Receipt]]] = deque()
        self._working: asyncio.Task[None] | None = None

    @property
    def gathered(self) -> int:
        """How many events wait for the lot before them."""
        return len(self._waiting)

    async def take_in(self, event: Event) -> Receipt:
        """What became of the event, once it is committed and those who work it were rung for.

        Raises TooMany, and what the receiving raises.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise TooMany
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, receipt))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await receipt

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._settle([self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))])
        finally:
            self._working = None

    async def _settle(self, lot: list[tuple[Event, "asyncio.Future[Receipt]"]]) -> None:
        try:
            received = await self._in_thread(self._receive, [event for event, _ in lot])
        except Exception as error:
            if len(lot) > 1 and not isinstance(error, sa.exc.OperationalError):
                # A bug that one of them uncovers must not refuse the others.
                for one in lot:
                    await self._settle([one])
                return
            for _, receipt in lot:
                if not receipt.done():
                    receipt.set_exception(error)
            return
        for step, name in received.due:
            self._ring(step, name)
        for (_, receipt), became in zip(lot, received.receipts, strict=True):
            if not receipt.done():
                receipt.set_result(became)
