"""The worker inside a command: the same dispatchers over the same rows, woken in the process, without a broker.

For a list on a laptop, or next to other workers. A wake-up is a call to the same runner that Celery's tasks use. When
the command ends is decided by `batch_run` and `onboard up`.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Literal, Self, TextIO

import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.foundation.private_files import to_append
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.wiring.background import Working
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.runner import Runner
from onboarding_worker.wiring.sweep import Sweep

log = logging.getLogger(__name__)

TICK = timedelta(milliseconds=250)
TICKING = "tick"  # a kind of step that needs the database, besides those of wake-ups
CHECK_SECONDS = 2.0  # how often the schema is checked, which may be upgraded meanwhile


class AlreadyWorking(Exception):
    """Another process works on the same SQLite database."""


class Outdated(Exception):
    """The database was upgraded to a newer release's schema; the text says so."""


@contextmanager
def sole_worker(parts: Parts, command: Literal["run", "up"]) -> Iterator[None]:
    """On SQLite, keep a second process from working. Raises AlreadyWorking. After a kill the system frees the lock.

    The lock's file names the command that holds it, for the message to the second one.
    """
    path = parts.database.engine.url.database if parts.database.is_sqlite else None
    if not path or path == ":memory:":
        yield
        return
    with os.fdopen(to_append(f"{path}.lock"), "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyWorking(_what_works(lock)) from None
        lock.truncate(0)
        lock.write(f"{command} {os.getpid()}")
        lock.flush()
        yield


def _what_works(lock: TextIO) -> str:
    """That another process works, and what to do, by what the lock's file says."""
    lock.seek(0)
    command, _, pid = lock.read(100).partition(" ")
    named = (
        f"`onboard {command}` (process {pid})" if command in ("run", "up") and pid.isdecimal() else "another process"
    )
    # `run` ends when its own list is out, and leaves other lists.
    step = "wait until it ends" if command == "run" else "`onboard import` gives it a list; or end it"
    return f"{named} is working on this database: {step}; PostgreSQL has room for several workers"


class Embedded:
    """Works what is due inside its `async with`. Belongs to the loop that runs then."""

    def __init__(
        self,
        parts: Parts,
        *,
        work: Sequence[Working] = (),
        only_batch: int | None = None,
        stay: timedelta = timedelta(0),
        open_runner: Callable[..., Awaitable[Runner]] | None = None,
    ) -> None:
        """`work` of features is done besides, and ends with this. `only_batch`: rows of other batches are not worked.
        `stay`: as for a dispatcher. `open_runner` makes another runner, for calls that are not made over HTTP."""
        self.parts = parts
        self._only_batch = only_batch
        self._open_runner = open_runner or partial(Runner.open, only_batch=only_batch, stay=stay)
        self._work = work
        self._tasks: dict[WakeUp, asyncio.Task[bool]] = {}
        self._interrupted = asyncio.Event()
        self._claim_no_more: Callable[[], object] = lambda: None  # of the runner, once it is open
        self._asked = False  # whether the senders were asked if they work; no session is opened before
        # On SQLite no other process works: at the first tick all leases belong to processes that are gone.
        self._all_of_them = parts.database.is_sqlite
        self._database = Outage(log, logging.WARNING)
        self._exits = AsyncExitStack()

    def interrupt(self) -> None:
        """Claim no more rows; end once the results of the calls in flight are written. On the loop."""
        self._interrupted.set()
        # At once: the tick under way waits for its turns at the database, behind the dispatchers, which would go on.
        self._claim_no_more()

    @property
    def interrupted(self) -> bool:
        return self._interrupted.is_set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._check_at = loop.time() + CHECK_SECONDS
        self._exits.push_async_callback(self._gather)
        wake: Callable[..., object] = self.wake
        self._wake_soon = partial(loop.call_soon_threadsafe, wake)  # also called from the database's threads
        self.runner = await self._open_runner(self.parts, wake_invite=self._wake_soon)
        self._claim_no_more = self.runner.stop
        self._exits.push_async_callback(self.runner.close)
        for one in self._work:
            self._exits.push_async_callback(asyncio.to_thread, one.close)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._exits.aclose()

    async def _gather(self) -> None:
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def tick(self) -> bool:
        """Start what is due; whether the database could be reached. Raises Outdated."""
        try:
            await self._tick()
            if (now := asyncio.get_running_loop().time()) >= self._check_at:
                self._check_at = now + CHECK_SECONDS
                if outdated := await self.runner.in_thread(schema.outdated, self.parts.database):
                    raise Outdated(outdated)
        except sa.exc.OperationalError as error:
            self.log_unreachable(error)
            return False
        return True

    async def finish(self) -> list[str]:
        """The run is over: let features do what they can within some seconds. What is left, in words."""
        return [left for one in self._work if (left := await asyncio.to_thread(one.finish))]

    def log_unreachable(self, error: sa.exc.OperationalError, step: str = TICKING) -> None:
        what = "the database cannot be used; trying again"
        self._database.lasts(what, monotonic(), why=reason(error), step=step)

    @property
    def outage(self) -> Outage:
        """The outage of the database that has lasted longest, of the ticks, of claims or of results."""
        return max([self._database, *self.runner.outages], key=lambda outage: outage.lasted)

    def log_back(self, step: str = TICKING) -> None:
        """A step has reached the database: log the end of an outage if no other kind of step still fails."""
        self._database.over("the database is back", monotonic(), step=step)

    async def rest(self) -> None:
        """Wait for the next tick, or for an interrupt."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK.total_seconds()):
                await self._interrupted.wait()

    async def _tick(self) -> None:
        if not self._asked:
            await self.runner.prove_senders()
            self._asked = True
        once = partial(Sweep(self.parts).once, only_batch=self._only_batch, all_leases=self._all_of_them)
        await self.runner.in_thread(once, self._wake_soon, *(one.step for one in self._work))
        self._all_of_them = False

    def wake(self, wake_up: WakeUp, for_events: bool = True) -> None:
        """Start the dispatcher of an account or channel, or have it look again. On the loop; returns at once.

        `for_events`: as for `Runner.serve`.
        """
        running = self._tasks.get(wake_up)
        if running is not None and not running.done():
            self.runner.wake(wake_up, for_events=for_events)
            return
        self._tasks[wake_up] = asyncio.ensure_future(self.runner.serve(wake_up))
        self._tasks[wake_up].add_done_callback(lambda task: self._ended(wake_up, task))

    def _ended(self, wake_up: WakeUp, task: "asyncio.Task[bool]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, sa.exc.OperationalError):
            self.log_unreachable(error, str(wake_up))
            return
        self.log_back(str(wake_up))
        if error is not None:
            log.error("%s ended with %s; the next tick tries again", wake_up, type(error).__name__)
        elif task.result():
            self.wake(wake_up)
