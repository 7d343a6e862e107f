"""Working inside a command: the same shifts over the same rows, rung in the process, no broker.

For a list on a laptop, or beside other workers. A bell is a call to the same runner that Celery's tasks use.
"""

import asyncio
import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

import sqlalchemy as sa

from worker.bootstrap import Parts
from worker.budgets import BudgetRule
from worker.runner import Runner
from worker.store.facts import BatchCounts
from worker.sweep import return_leases, ringable

log = logging.getLogger(__name__)

TICK = timedelta(milliseconds=250)
# Counting a batch costs its rows: the display does not need it at every tick.
COUNT_EVERY = timedelta(seconds=1)


class AlreadyWorking(Exception):
    """Another process works on the same SQLite database."""


class Stand(Enum):
    """Why working on a batch ended."""

    DONE = "done"
    LATER = "later"  # what is left waits longer than the patience
    STOPPED = "stopped"  # what is left waits for a person: its accounts are stopped
    INTERRUPTED = "interrupted"


@contextmanager
def sole_worker(parts: Parts) -> Iterator[None]:
    """On SQLite, keep out a second working process. Raises AlreadyWorking. The system undoes it after a kill."""
    path = parts.database.engine.url.database if parts.database.is_sqlite else None
    if not path or path == ":memory:":
        yield
        return
    with Path(f"{path}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyWorking(
                "another process is working on this database; wait for it, or use PostgreSQL for several workers"
            ) from None
        yield


class Embedded:
    """Works what is due, for as long as a batch needs it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tasks: dict[str, asyncio.Task[bool]] = {}
        self._interrupted = asyncio.Event()

    def interrupt(self) -> None:
        """Take no more rows; end once the calls in flight are written."""
        self._interrupted.set()

    async def work(
        self,
        batch_id: int,
        *,
        is_done: Callable[[BatchCounts], bool],
        patience: timedelta,
        show: Callable[[BatchCounts], None],
    ) -> Stand:
        """Work until the batch is done, or what is left of it waits for longer than `patience`, or for a person."""
        parts = self._parts
        loop = asyncio.get_running_loop()

        def ring_invite(channel: str) -> None:  # called from the database's threads
            loop.call_soon_threadsafe(self._start, runner, f"invite:{channel}")

        runner = await Runner.open(parts, ring_invite=ring_invite)
        try:
            # On SQLite nobody else can be working: the leases of a process that died are nobody's.
            await runner.in_thread(lambda: return_leases(parts, all_of_them=parts.database.is_sqlite))
            counted_at = parts.clock() - COUNT_EVERY
            while not self._interrupted.is_set():
                await self._tick(runner)
                now = parts.clock()
                idle = not runner.busy
                if idle or now - counted_at >= COUNT_EVERY:
                    counted_at = now
                    counts = await runner.in_thread(parts.facts.counts, batch_id)
                    show(counts)
                    if is_done(counts):
                        return Stand.DONE
                    stand: Stand | None = None
                    if idle:
                        stand = await runner.in_thread(self._stand, batch_id, patience, now)
                    if stand is not None:
                        return stand
                try:
                    async with asyncio.timeout(TICK.total_seconds()):
                        await self._interrupted.wait()
                except TimeoutError:
                    pass
            return Stand.INTERRUPTED
        finally:
            await runner.close()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _tick(self, runner: Runner) -> None:
        try:
            await runner.in_thread(return_leases, self._parts)
            due = await runner.in_thread(ringable, self._parts)
        except sa.exc.OperationalError:
            log.warning("the database is away; trying again")
            return
        for step, name in due:
            self._start(runner, f"{step}:{name}")

    def _start(self, runner: Runner, key: str) -> None:
        running = self._tasks.get(key)
        if running is not None and not running.done():
            task = asyncio.ensure_future(runner.serve(key))  # only tells the shift to look again
            self._tasks[f"bell {key}"] = task
            return
        self._tasks[key] = asyncio.ensure_future(runner.serve(key))
        self._tasks[key].add_done_callback(lambda task: self._ended(runner, key, task))

    def _ended(self, runner: Runner, key: str, task: "asyncio.Task[bool]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("%s ended with %s; it is tried again at the next tick", key, type(error).__name__)
        elif task.result():
            self._start(runner, key)

    def _stand(self, batch_id: int, patience: timedelta, now: datetime) -> Stand | None:
        """Why nothing more will happen soon; None when something will."""
        parts = self._parts
        if ringable(parts):
            return None
        states = parts.budgets.all()
        counts = parts.facts.counts(batch_id)

        def can_go(rule: BudgetRule) -> bool:
            return states[rule.name].stopped_at is None

        # What is left for an account or channel that is stopped, or no longer configured, waits for a person.
        accounts = {name for name in counts.waiting if name in parts.accounts and can_go(parts.budget_of(name))}
        channels = {name for name in counts.unsent if name in parts.channels and can_go(parts.sender_budget(name))}
        if not accounts and not channels and (counts.waiting or counts.unsent):
            return Stand.STOPPED
        wake = [
            state.blocked_until
            for state in states.values()
            if state.blocked_until is not None and state.blocked_until > now and state.stopped_at is None
        ]
        next_due = parts.facts.next_due(batch_id)
        soonest = min([*wake, *([next_due] if next_due else [])], default=None)
        if soonest is None or soonest <= now + patience:
            return None
        return Stand.LATER
