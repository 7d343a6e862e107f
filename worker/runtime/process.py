"""One asyncio loop for each worker process, and a runner on it: the only link between Celery's tasks and coroutines.

Made at the process's first need, and kept by the process's id: a loop, a connection or a lock from before a fork would
hang the child for ever.
"""

import asyncio
import logging
import mmap
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.model.wakeups import WakeUp, WorkStep
from onboarding_worker.http import event_loop
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.background import opened_woken, opened_work
from onboarding_worker.wiring.opening import opened
from onboarding_worker.wiring.runner import Runner

log = logging.getLogger(__name__)
T = TypeVar("T")
# How long to wait for a task that is ended by force: an abandoned coroutine would go on sending.
CANCEL_SECONDS = 10.0
# How often a process checks whether the database was upgraded: one small query.
CHECK_SECONDS = 5.0
# How soon a child of the prefork pool, which gets no signal, notices that its worker ends.
NOTICE_SECONDS = 0.25
# One byte, shared with the children forked from this process: whether the worker ends.
_ending = mmap.mmap(-1, 1)


class Process:
    def __init__(
        self,
        *,
        wake_invite: Callable[[WakeUp, bool], None],
        longest: timedelta,
        stay: timedelta,
        wake_others: Callable[[WakeUp], object],
        on_outdated: Callable[[str], None] = lambda _reason: None,
        look: Callable[["Process"], object] = lambda _process: None,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        """Raises NotReady, SettingsError. The next wake-up tries again: an error leaves nothing open.

        `longest`, `stay` and `wake_others`: as for a dispatcher.
        `on_outdated(reason)` is called once, from another thread, after the database was upgraded to a newer release's
        schema: by then the process claims no more rows, and finishes its calls. `look(process)` is called, also from
        another thread, every `check_seconds`.
        """
        with ExitStack() as exits:
            self.parts = parts = exits.enter_context(opened(load()))
            exits.enter_context(parts.heartbeat("worker"))
            self.work = opened_work(parts, in_worker=True)
            self.woken = opened_woken(parts, lambda: self.runner.stopping)
            for close in [*(one.close for one in self.work), *(one.close for one in self.woken)]:
                exits.callback(close)
            self._loop = event_loop.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
            self._thread.start()
            exits.callback(self._end_loop)
            opening = Runner.open(parts, wake_invite=wake_invite, longest=longest, stay=stay, wake_others=wake_others)
            self.runner = asyncio.run_coroutine_threadsafe(opening, self._loop).result()
            self._look, self._longest = look, longest
            self._working: set[asyncio.Future[bool]] = set()
            watching = self._watch(on_outdated, check_seconds)
            self._watching = asyncio.run_coroutine_threadsafe(watching, self._loop)
            self._exits = exits.pop_all()

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it in this thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def serve(self, wake_up: WakeUp, *, at_most: timedelta) -> bool:
        """Work what is due for a wake-up; whether there was more. Occupies this thread for `at_most`.

        A dispatcher that needs longer goes on without the thread: it keeps results until the database is back, and
        the sweep sends the next wake-up. If the thread is interrupted (Celery ends a child of prefork), the dispatcher
        is cancelled, and this waits a bounded time for its end.
        """
        future = asyncio.run_coroutine_threadsafe(self.runner.serve(wake_up), self._loop)
        try:
            ended, _ = wait_for_futures([future], at_most.total_seconds())
            if ended:
                return future.result()
        except BaseException:
            if future.cancel():
                idle = asyncio.run_coroutine_threadsafe(self.runner.wait_until_idle(), self._loop)
                try:
                    idle.result(CANCEL_SECONDS)
                except TimeoutError:
                    log.error("a dispatcher did not end within %g s after it was cancelled", CANCEL_SECONDS)
            raise
        future.add_done_callback(partial(_log_late_failure, wake_up))
        return False

    def serve_woken(self, name: str) -> bool:
        """Do the work of features that is due for a name; whether there was more. Blocks."""
        return any([one.serve(name, longest=self._longest) for one in self.woken])

    def wake_here(self, wake_up: WakeUp, *, for_events: bool = True) -> bool:
        """Have a dispatcher of this process look again; False where the dispatcher does not run."""
        if not self.runner.is_working(wake_up):
            return False
        self._loop.call_soon_threadsafe(partial(self.runner.wake, wake_up, for_events=for_events))
        return True

    def begin(self, wake_up: WakeUp) -> None:
        """Work what is due for a wake-up, without a thread that waits. Safe for threads."""
        asyncio.run_coroutine_threadsafe(self._begun(wake_up), self._loop)

    async def _begun(self, wake_up: WakeUp) -> None:
        if wake_up.step is WorkStep.PUBLISH:
            working: Coroutine[Any, Any, bool] = asyncio.to_thread(self.serve_woken, wake_up.name)
        else:
            working = self.runner.serve(wake_up)
        task = asyncio.ensure_future(working)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        task.add_done_callback(partial(_log_late_failure, wake_up))

    def stop(self) -> None:
        """Begin to end: dispatchers claim no more rows."""
        self._loop.call_soon_threadsafe(self.runner.stop)

    def close(self) -> None:
        """End dispatchers, connections and the loop."""
        with self._exits:
            self.wait_for(self._end_work())
            self._watching.result()

    async def _end_work(self) -> None:
        await self.runner.close()
        if self._working:
            await asyncio.wait(self._working)

    async def _watch(self, on_outdated: Callable[[str], None], check_seconds: float) -> None:
        check_at = monotonic() + check_seconds
        while not await self.runner.is_ending_within(min(NOTICE_SECONDS, check_seconds)):
            if _ending[0]:
                self.runner.stop()
            elif monotonic() >= check_at:
                check_at = monotonic() + check_seconds
                await self._check_schema(on_outdated)
                with suppress(sa.exc.SQLAlchemyError):  # the work logs it
                    if not self.runner.stopping:
                        await self.runner.in_thread(self._look, self)

    async def _check_schema(self, on_outdated: Callable[[str], None]) -> None:
        try:
            outdated = await self.runner.in_thread(schema.outdated, self.parts.database)
        except sa.exc.OperationalError:
            return  # the work logs it
        if outdated:
            self.runner.stop()
            await self.runner.in_thread(on_outdated, outdated)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _log_late_failure(wake_up: WakeUp, ended: "Future[bool] | asyncio.Future[bool]") -> None:
    """Log why a dispatcher failed that no thread waits for. An outage of the database is logged elsewhere."""
    error = None if ended.cancelled() else ended.exception()
    if error is not None and not isinstance(error, sa.exc.OperationalError):
        log.error("%s ended with %s; the sweep tries again", wake_up, type(error).__name__)


_processes: dict[int, Process] = {}
_making = threading.Lock()


def current(make: Callable[[], Process]) -> Process:
    """This process's Process, made by `make` at the first call."""
    with _making:
        process = _processes.get(os.getpid())
        if process is None:
            process = _processes[os.getpid()] = make()
    return process


def existing() -> Process | None:
    """This process's Process, if it was made."""
    return _processes.get(os.getpid())


def forget() -> Process | None:
    """Remove and return this process's Process; the caller closes it."""
    return _processes.pop(os.getpid(), None)


def is_ending() -> bool:
    """Whether this process, or the worker that it was forked from, ends."""
    return _ending[0] == 1


def end_dispatchers() -> None:
    """Have this process and the children forked from it claim no more rows. Safe in a signal handler."""
    _ending[0] = 1
    here = existing()
    if here is not None:
        here.stop()
