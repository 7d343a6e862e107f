"""What arrives together is committed together: one chunk is on its way to the database, the next one gathers.

A commit's cost is then shared by all who wait, and one that comes alone does not wait for others.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from worker.domain.model.wakeups import Wake, WakeUp

log = logging.getLogger(__name__)

MOST = 100  # of one transaction
MOST_WAITING = 2000  # beyond that the database is not keeping up, and their senders should try later

Given = TypeVar("Given", contravariant=True)
Became = TypeVar("Became", covariant=True)


class Taken(Protocol[Became]):
    """What became of each of a chunk, in their order; and the wake-ups for what is due by that."""

    @property
    def receipts(self) -> Sequence[Became]: ...
    @property
    def due(self) -> frozenset[WakeUp]: ...


class Receive(Protocol[Given, Became]):
    """Blocking; raises sqlalchemy's OperationalError while the database is away."""

    def __call__(self, chunk: Sequence[Given], /) -> Taken[Became]: ...


One = TypeVar("One")
Receipt = TypeVar("Receipt")
InThread = Callable[..., Awaitable[Any]]  # (function, *arguments)


class TooMany(Exception):
    """More wait than are taken in."""


class Batcher(Generic[One, Receipt]):
    """Takes in one chunk after the other. Belongs to one loop."""

    def __init__(self, receive: Receive[One, Receipt], wake: Wake, in_thread: InThread) -> None:
        self._receive = receive
        self._wake = wake
        self._in_thread = in_thread
        self._waiting: deque[tuple[One, asyncio.Future[Receipt]]] = deque()
        self._working: asyncio.Task[None] | None = None

    @property
    def gathered(self) -> int:
        """How many wait for the chunk before them."""
        return len(self._waiting)

    async def take_in(self, one: One) -> Receipt:
        """What became of it, once it is committed and the wake-ups for it are sent.

        Raises TooMany, and what the receiving raises.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise TooMany
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, receipt))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await receipt

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._settle([self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))])
        finally:
            self._working = None

    async def _settle(self, chunk: list[tuple[One, "asyncio.Future[Receipt]"]]) -> None:
        try:
            received = await self._in_thread(self._receive, [one for one, _ in chunk])
        except Exception as error:
            if len(chunk) > 1 and not isinstance(error, sa.exc.OperationalError):
                # A bug that one of them uncovers must not refuse the others.
                for each in chunk:
                    await self._settle([each])
                return
            for _, receipt in chunk:
                if not receipt.done():
                    receipt.set_exception(error)
            return
        for wake_up in received.due:
            self._wake(wake_up)
        for (_, receipt), became in zip(chunk, received.receipts, strict=True):
            if not receipt.done():
                receipt.set_result(became)
