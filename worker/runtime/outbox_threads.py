"""Telling others from threads beside a loop that must not wait for them: for the worker inside a command."""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import sqlalchemy as sa

from worker.engine.outbox_publisher import OutboxPublisher
from worker.engine.outbox_targets import OutboxTargets
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage
from worker.publishers.contract import Target
from worker.store.base.database import reason
from worker.store.outbox.relay import waiting

log = logging.getLogger(__name__)
# A run that ends tells what it can within this; what is left is told by the next one.
LAST_PUBLISHING = timedelta(seconds=5)
LONGEST = timedelta(minutes=1)


class OutboxThreads:
    """A thread for each target; one that hangs holds up nobody but itself."""

    def __init__(self, outbox: OutboxTargets, targets: Mapping[str, Target]) -> None:
        self._outbox = outbox
        self._ending = False
        self._publisher = OutboxPublisher(outbox, targets, stopping=lambda: self._ending)
        self._going: dict[str, Future[bool]] = {}
        self._away = Outage(log, logging.WARNING)
        # One more, which looks for what is due.
        self._threads = ThreadPoolExecutor(max_workers=len(targets) + 1, thread_name_prefix="tell")

    async def tick(self) -> bool:
        """Begin to tell what is due; whether there was something, or somebody is at it."""
        if not self._publisher.names:
            return False
        try:
            for name in await asyncio.get_running_loop().run_in_executor(self._threads, self._outbox.due):
                going = self._going.get(name)
                if going is None or going.done():
                    self._going[name] = self._threads.submit(self._publish, name)
        except sa.exc.OperationalError as error:
            self._say_away(error)
            return False
        return any(not going.done() for going in self._going.values())

    def _publish(self, name: str) -> bool:
        try:
            more = self._publisher.publish(name, longest=LONGEST)
        except sa.exc.OperationalError as error:
            self._say_away(error)
            return False
        except Exception as error:
            log.error("%s: telling ended with %s; it is tried again at the next tick", name, type(error).__name__)
            return False
        self._away.over("the database is there again: others are told")
        return more

    def _say_away(self, error: sa.exc.OperationalError) -> None:
        self._away.lasts(f"the database is away, nobody is told: {reason(error)}", monotonic())

    async def publish_what_is_left(self, within: timedelta = LAST_PUBLISHING) -> int:
        """Tell what can be told within this time; how many events are left. Who is paused is not waited for."""
        if not self._publisher.names:
            return 0
        until = monotonic() + within.total_seconds()
        while await self.tick() and (left := until - monotonic()) > 0:
            going = [asyncio.wrap_future(one) for one in self._going.values()]
            await asyncio.wait(going, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        try:
            loop, names = asyncio.get_running_loop(), self._publisher.names
            return await loop.run_in_executor(self._threads, waiting, self._outbox.database, names)
        except sa.exc.OperationalError as error:
            self._say_away(error)
            return 0

    async def close(self) -> None:
        """End what is being told: POSTs are let go of, and told again by whoever comes next."""
        self._ending = True
        going = [asyncio.wrap_future(one) for one in self._going.values()]
        if going:
            await asyncio.wait(going)
        self._threads.shutdown()  # its threads have nothing left to do
        self._publisher.close()
