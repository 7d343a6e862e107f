"""What senders share: how many of each may be there at a time; how much each may ask, as this process has counted it;
and the database's time.

What arrives together is committed together: one chunk is on its way to the database, the next chunk gathers. All
requests of a chunk share the cost of its commit, and a single request does not wait for more. Each sender has a line of
its own, and a chunk takes from each in turn: who sends much makes only its own requests wait. A request waits for the
database for a while only: a sender's own time-out is shorter than a worker's patience. Requests that wait for a link
share one query, some dozens of times a second.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.wakeups import Wake, WakeUp
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.events.store.event_status import LinkStatus

log = logging.getLogger(__name__)

MOST_KNOWN = 10_000  # the one that came longest ago is forgotten


class TooMany(Exception):
    """Too many of one kind are there at this moment. `seconds`: when one may come again."""

    def __init__(self, seconds: float = 1.0) -> None:
        super().__init__()
        self.seconds = seconds


class Allowance:
    """A bucket for each sender: it holds what the limit allows in one period, and fills evenly. Times are monotonic."""

    def __init__(self, limit: Limit) -> None:
        self._most = float(limit.count)
        self._per_second = limit.count / limit.period.total_seconds()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by sender: what is left, and when

    def take(self, sender: str, now: float) -> float:
        """Count one event and return zero; or return after how many seconds it may post again."""
        left = self._filled(sender, now)
        taken = left >= 1
        self._keep(sender, left - 1 if taken else left, now)
        return 0.0 if taken else (1 - left) / self._per_second

    def spend(self, sender: str, count: int, now: float) -> None:
        """Count what came together with something that was counted. It may be more than is left: then the sender may
        post again once that has filled."""
        self._keep(sender, self._filled(sender, now) - count, now)

    def _filled(self, sender: str, now: float) -> float:
        left, at = self._left.pop(sender, (self._most, now))
        return min(self._most, left + (now - at) * self._per_second)

    def _keep(self, sender: str, left: float, now: float) -> None:
        self._left[sender] = (left, now)
        if len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)


ANSWER_SECONDS = 5.0

MOST = 100  # items in one transaction
MOST_WAITING = 2000  # of one line; beyond that the database does not keep up, and its sender should try again later


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Ends the block after so long with sqlalchemy's OperationalError, as if the database could not be reached. What
    the block has begun in a thread goes on there, and may succeed."""
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


PAUSE_SECONDS = 0.03
MOST_LINKS = 1000  # further requests are answered at once, without the link

Wanted = tuple[int, str]  # a job's id, and who waits for its link
Look = Callable[[Sequence[Wanted]], dict[int, LinkStatus]]  # by job; blocking


class Waiting:
    """The requests that wait for a link. Belongs to one loop."""

    def __init__(self, look: Look, in_thread: InThread, *, pause: float = PAUSE_SECONDS) -> None:
        self._look = look
        self._in_thread = in_thread
        self._pause = pause
        self._waiters: dict[asyncio.Future[LinkStatus | None], Wanted] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False
        self._outage = Outage(log)

    async def wait(self, job_id: int, seconds: float, *, caller: str) -> LinkStatus | None:
        """The job's link status once it is decided; None when it is not decided within so many seconds. `caller` is who
        gets the link, for the audit log."""
        if self._closed or len(self._waiters) >= MOST_LINKS:
            return None
        decided: asyncio.Future[LinkStatus | None] = asyncio.get_running_loop().create_future()
        self._waiters[decided] = (job_id, caller)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_again_and_again())
        try:
            async with asyncio.timeout(seconds):
                return await decided
        except TimeoutError:
            return None
        finally:
            self._waiters.pop(decided, None)

    async def close(self, _application: object = None) -> None:
        """Answer all waiting requests now. For `Application.on_shutdown`."""
        self._closed = True
        for decided in list(self._waiters):
            if not decided.done():
                decided.set_result(None)

    async def _look_again_and_again(self) -> None:
        try:
            while self._waiters:
                await self._look_once()
                await asyncio.sleep(self._pause)
        finally:
            self._looking = None

    async def _look_once(self) -> None:
        waiters = dict(self._waiters)
        try:
            link_statuses = await self._in_thread(self._look, list(waiters.values()))
        except sa.exc.OperationalError as error:
            what = "the database cannot be used, requests wait for their links"
            self._outage.lasts(what, monotonic(), why=reason(error))
            return
        except Exception:  # waiting requests are answered without a link, and later requests wait as usual
            log.exception("looking for links ended with a bug of ours")
            link_statuses = {}
        self._outage.over("the database is back: looking for links")
        for decided, (job_id, _) in waiters.items():
            link_status = link_statuses.get(job_id)
            if not decided.done() and (link_status is None or link_status.decided):
                decided.set_result(link_status)
