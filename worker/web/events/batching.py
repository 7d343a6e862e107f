"""Commits together what arrives together: one chunk is on its way to the database, the next chunk gathers. And how long
a request may wait for the database: a sender's own time-out is shorter than a worker's patience.

All requests of a chunk share the cost of its commit, and a single request does not wait for more. Each sender has a
line of its own, and a chunk takes from each in turn: who sends much makes only its own requests wait.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from worker.core.model.wakeups import Wake, WakeUp
from worker.web.turns import TooMany

ANSWER_SECONDS = 5.0

log = logging.getLogger(__name__)

MOST = 100  # items in one transaction
MOST_WAITING = 2000  # of one line; beyond that the database does not keep up, and its sender should try again later


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Ends the block after so long with sqlalchemy's OperationalError, as if the database could not be reached.

    What the block has begun in a thread goes on there, and may succeed.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        late = TimeoutError(f"the database has not answered for {seconds:g} s")
        raise sa.exc.OperationalError(None, None, late, hide_parameters=True) from None


One = TypeVar("One")
Receipt = TypeVar("Receipt")
# Returns a receipt for each item, in their order, and the wake-ups for what became due. Blocking; raises sqlalchemy's
# OperationalError while the database cannot be used.
Receive = Callable[[Sequence[One]], tuple[Sequence[Receipt], Iterable[WakeUp]]]
InThread = Callable[..., Awaitable[Any]]  # (function, *arguments)


class Batcher(Generic[One, Receipt]):
    """Takes in one chunk after another. Belongs to one loop."""

    def __init__(
        self, receive: Receive[One, Receipt], wake: Wake, in_thread: InThread, *, seconds: float = ANSWER_SECONDS
    ) -> None:
        """`seconds`: how long an item's receipt is waited for."""
        self._seconds = seconds
        self._receive = receive
        self._wake = wake
        self._in_thread = in_thread
        # By line, none of them empty; the line whose turn is next comes first.
        self._waiting: dict[str, deque[tuple[One, asyncio.Future[Receipt]]]] = {}
        self._working: asyncio.Task[None] | None = None

    async def take_in(self, one: One, line: str) -> Receipt:
        """The item's receipt, once it is committed and its dispatchers are woken. `line`: the name of its sender.

        Raises TooMany where too many items of the line wait, and what `receive` raises; sqlalchemy's OperationalError
        also where the receipt comes too late. The item stays in its chunk then: it may be taken in, and sending it
        again does no harm.
        """
        if len(self._waiting.get(line, ())) >= MOST_WAITING:
            raise TooMany
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(line, deque()).append((one, receipt))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        async with answered_within(self._seconds):
            return await receipt

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._settle(self._next_chunk())
        finally:
            self._working = None

    def _next_chunk(self) -> list[tuple[One, "asyncio.Future[Receipt]"]]:
        chunk: list[tuple[One, asyncio.Future[Receipt]]] = []
        while self._waiting and len(chunk) < MOST:
            line = next(iter(self._waiting))
            waiting = self._waiting.pop(line)
            chunk.append(waiting.popleft())
            if waiting:
                self._waiting[line] = waiting  # now the last one
        return chunk

    async def _settle(self, chunk: list[tuple[One, "asyncio.Future[Receipt]"]]) -> None:
        try:
            receipts, due = await self._in_thread(self._receive, [one for one, _ in chunk])
        except Exception as error:
            if len(chunk) > 1 and not isinstance(error, sa.exc.OperationalError):
                # A bug that one item triggers must not refuse the rest of the chunk.
                log.warning("a chunk of requests failed with %s; they are taken one by one", type(error).__name__)
                for each in chunk:
                    await self._settle([each])
                return
            for _, receipt in chunk:
                if not receipt.done():
                    receipt.set_exception(error)
            return
        for wake_up in due:
            self._wake(wake_up)
        for (_, receipt), became in zip(chunk, receipts, strict=True):
            if not receipt.done():
                receipt.set_result(became)
