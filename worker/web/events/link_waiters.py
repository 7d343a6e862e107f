"""Lets requests wait for a link: one query for all of them, some dozens of times a second, only while requests wait."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from worker.core.database.outages import reason
from worker.core.foundation.clock import monotonic
from worker.core.foundation.outage_log import Outage
from worker.events.store.event_status import LinkStatus
from worker.web.events.batching import InThread

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.03
MOST = 1000  # further requests are answered at once, without the link

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
        """The job's link status once it is decided; None when it is not decided within so many seconds.

        `caller` is who gets the link, for the audit log.
        """
        if self._closed or len(self._waiters) >= MOST:
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

    def close(self) -> None:
        """Answer all waiting requests now."""
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
