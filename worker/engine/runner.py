"""Runs at most one dispatcher for each account and channel on one asyncio loop.

Wake-ups coalesce here: one for an account whose dispatcher runs already only has that dispatcher look again. Both ways
of running use it: Celery's tasks (one loop a process, `celery_tasks`) and the worker that runs inside a command
(`embedded`).
"""

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from worker.domain.model.wakeups import WakeUp
from worker.engine.container import Parts
from worker.engine.dispatch.dispatcher import Dispatcher
from worker.engine.dispatch.shared_claim import SharedClaim
from worker.foundation.clock import SharedClock
from worker.http.client import Http, open_http_session
from worker.store.base.database import outlive_deadlocks

log = logging.getLogger(__name__)

# Long enough that a slow account's calls overlap from one chunk to the next; far shorter than a broker waits for
# an acknowledgement (RabbitMQ 30 minutes, Redis the five of `celery_settings`).
LONGEST_DISPATCH = timedelta(seconds=60)
SET_CLOCK_EVERY = timedelta(seconds=10)
# Collect garbage after this many new objects, and the older objects rarely: most objects of a chunk of rows live until
# the chunk is written, so looking for garbage among them takes time and finds nothing.
NEW_OBJECTS, YOUNG_PER_OLD, OLD_PER_OLDEST = 50_000, 20, 50
_tuned: set[int] = set()


def tune_gc() -> None:
    """Exempt the objects that exist now from garbage collection, and make collections rare. Once in each process."""
    if os.getpid() not in _tuned:
        _tuned.add(os.getpid())
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, YOUNG_PER_OLD, OLD_PER_OLDEST)


class Runner:
    """For one loop: open it and close it there."""

    def __init__(
        self,
        parts: Parts,
        http: Http,
        exits: AsyncExitStack,
        *,
        wake_invite: Callable[[str, bool], None],
        longest: timedelta,
    ) -> None:
        self._parts = parts
        self._exits = exits
        self._longest = longest
        # SQLite has one writer: a single thread queues here instead of at the file's lock.
        threads = 1 if parts.database.is_sqlite else parts.database_threads
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="database")
        self._stopping = asyncio.Event()
        self._dispatchers: dict[WakeUp, Dispatcher[Any, Any, Any]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._clock: asyncio.Task[None] | None = None
        if isinstance(parts.clock, SharedClock):
            self._clock = asyncio.create_task(self._keep_time())
        self._invites = {channel: (WakeUp.invite(channel), parts.invite_work(channel)) for channel in parts.channels}
        self._work: Mapping[WakeUp, Any] = {
            WakeUp.issue(name): parts.issue_work(name, http, wake_invite=wake_invite) for name in parts.accounts
        } | dict(self._invites.values())

    @classmethod
    async def open(
        cls, parts: Parts, *, wake_invite: Callable[[str, bool], None], longest: timedelta = LONGEST_DISPATCH
    ) -> "Runner":
        """A runner on the loop that is running now. `wake_invite(channel, for_events)` is called from other threads."""
        tune_gc()
        exits = AsyncExitStack()
        http = Http(await exits.enter_async_context(open_http_session()))
        try:
            return cls(parts, http, exits, wake_invite=wake_invite, longest=longest)
        except BaseException:
            await exits.aclose()
            raise

    @property
    def busy(self) -> bool:
        return bool(self._dispatchers)

    def is_working(self, wake_up: WakeUp) -> bool:
        return wake_up in self._dispatchers

    async def serve(self, wake_up: WakeUp, *, for_events: bool = True) -> bool:
        """Work what is due for the account or channel of this wake-up; whether there was more when that was over.

        Returns at once if this process is working it already, or does not know the name. `for_events`: an event's row
        may be due; it does not wait for more batch rows to come together.
        """
        if wake_up in self._dispatchers:
            self._dispatchers[wake_up].wake(for_events=for_events)
            return False
        work = self._work.get(wake_up)
        if work is None:
            log.warning("a wake-up for %s, which this configuration does not have", wake_up)
            return False
        if self._stopping.is_set():
            return False
        dispatcher = Dispatcher(
            work,
            clock=self._parts.clock,
            in_thread=self.in_thread,
            stopping=self._stopping,
            longest=self._longest,
            claims_to_share=self._shared_claims,
        )
        self._dispatchers[wake_up] = dispatcher
        self._idle.clear()
        try:
            return await dispatcher.run()
        finally:
            del self._dispatchers[wake_up]
            if not self._dispatchers:
                self._idle.set()

    def _shared_claims(self) -> dict[str, SharedClaim]:
        """The claims of messages, by channel, that dispatchers of this process can share now."""
        shared = {}
        for channel, (wake_up, work) in self._invites.items():
            if (
                wake_up in self._dispatchers
                and (claiming := self._dispatchers[wake_up].share_claim(work.claim_within)) is not None
            ):
                shared[channel] = claiming
        return shared

    async def wait_until_idle(self) -> None:
        """Wait until no dispatcher is running."""
        await self._idle.wait()

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await a blocking call, made in one of the database threads.

        A transaction that PostgreSQL ended because of a deadlock has changed nothing: it is repeated.
        """
        call = partial(outlive_deadlocks, partial(function, *arguments))
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def _keep_time(self) -> None:
        """Set the clock by the database's at intervals: the machine's clock drifts, or is corrected meanwhile."""
        while True:
            await asyncio.sleep(SET_CLOCK_EVERY.total_seconds())
            try:
                await self.in_thread(self._parts.set_clock)
            except sa.exc.SQLAlchemyError:
                log.debug(
                    "the clock was not set: the database cannot be reached; trying again in %d s",
                    SET_CLOCK_EVERY.seconds,
                )

    def stop(self) -> None:
        """Claim no more rows: calls in flight are finished, all other claimed rows are released."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called. Any thread may ask."""
        return self._stopping.is_set()

    async def is_stopped_within(self, seconds: float) -> bool:
        """Wait for `stop`, at most for so long. Returns whether it was called."""
        try:
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    async def close(self) -> None:
        """End the dispatchers, which takes at most their calls' time-outs, and then close the connections."""
        self.stop()
        await self._idle.wait()
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.wait([self._clock])
        for sender in self._parts.senders.values():
            await sender.close()
        await self._exits.aclose()
        self._threads.shutdown(wait=True)
