"""Working inside a command: the same shifts over the same rows, rung in the process, no broker.

For a list on a laptop, or beside other workers. A bell is a call to the same runner that Celery's tasks use.
"""

import asyncio
import fcntl
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

import sqlalchemy as sa

from worker.beside import Beside
from worker.bootstrap import Parts
from worker.budgets import BudgetState
from worker.clock import monotonic
from worker.lookups import lost_answers
from worker.outage import Outage
from worker.retention import Retention
from worker.runner import Runner
from worker.store import schema
from worker.store.counts import BatchCounts
from worker.store.database import reason
from worker.store.facts import Outlook
from worker.substitutes import take_overs
from worker.sweep import return_leases, ringable, take_over
from worker.targets.contract import Target

log = logging.getLogger(__name__)

TICK = timedelta(milliseconds=250)
# Counting a batch costs its rows (a million: about a second): no more often than this, nor for more than a share of
# the time. What it delays is the display, and by as much the end.
COUNT_EVERY = timedelta(seconds=1)
LOOK_EVERY = timedelta(seconds=2)  # at the schema, which somebody may upgrade meanwhile
COUNT_SHARE = 0.1


class AlreadyWorking(Exception):
    """Another process works on the same SQLite database."""


class Stand(Enum):
    """Why working on a batch ended."""

    DONE = "done"
    LATER = "later"  # what is left waits longer than the patience, or for a paused batch, or for its customers
    STOPPED = "stopped"  # what is left waits for a person: its accounts are stopped
    INTERRUPTED = "interrupted"
    OUTDATED = "outdated"  # somebody upgraded the database to a newer release's schema


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

    def __init__(self, parts: Parts, targets: Mapping[str, Target] | None = None) -> None:
        """`targets` are those who are told of what happens; none: what is to be told waits for somebody who does."""
        self._parts = parts
        self._targets = targets or {}
        self._retention = Retention(parts)
        self._tasks: dict[str, asyncio.Task[bool]] = {}
        self._interrupted = asyncio.Event()
        self.untold = 0  # events that were left when the work ended

    def interrupt(self) -> None:
        """Take no more rows; end once the calls in flight are written."""
        self._interrupted.set()

    async def work(
        self,
        batch_id: int,
        *,
        is_done: Callable[[BatchCounts], bool],
        patience: timedelta,
        show: Callable[[BatchCounts, str], None],
    ) -> Stand:
        """Work until the batch is done, or what is left of it waits for longer than `patience`, or for a person.

        A database that goes away meanwhile is waited for. `show` is given the counts, and what is waited for.
        """
        parts = self._parts
        loop = asyncio.get_running_loop()

        def ring_invite(channel: str) -> None:  # called from the database's threads
            loop.call_soon_threadsafe(self._start, runner, f"invite:{channel}")

        runner = await Runner.open(parts, ring_invite=ring_invite)
        beside = Beside(parts, self._targets)
        # On SQLite nobody else can be working: at the first tick, the leases of a process that died are nobody's.
        all_of_them = parts.database.is_sqlite
        counted_at = parts.clock() - COUNT_EVERY
        looked_at = parts.clock()
        took = rest = timedelta()
        progress = _Progress(parts.clock())
        away = Outage(log, logging.WARNING)
        try:
            while not self._interrupted.is_set():
                try:
                    await self._tick(runner, all_of_them=all_of_them)
                    await beside.tick()
                    all_of_them = False
                    now = parts.clock()
                    if now - looked_at >= LOOK_EVERY:
                        looked_at = now
                        if await runner.in_thread(schema.outdated, parts.database):
                            return Stand.OUTDATED
                    # With nothing to work on, a batch is counted as soon as that may be, to end at once.
                    if now - counted_at >= (max(COUNT_EVERY, rest) if runner.busy else rest):
                        counts = await runner.in_thread(parts.facts.counts, batch_id)
                        progress.see(counts, now)
                        stand: Stand | None = Stand.DONE if await runner.in_thread(is_done, counts) else None
                        waits_for = ""
                        if stand is None and not runner.busy:
                            stand, waits_for = await runner.in_thread(self._stand, batch_id, patience, progress.at, now)
                            if stand is not None:  # another worker may have done the rest since it was counted
                                counts = await runner.in_thread(parts.facts.counts, batch_id)
                                stand = Stand.DONE if await runner.in_thread(is_done, counts) else stand
                        # The shorter of the last two: that it was held up once says nothing about its size.
                        counted_at, before, took = now, took, parts.clock() - now
                        rest = min(before, took) / COUNT_SHARE
                        show(counts, waits_for)
                        if stand is not None:
                            self.untold = await beside.last_words()
                            return stand
                    away.over("the database is there again")
                except sa.exc.OperationalError as error:
                    away.lasts(f"the database is away; trying again: {reason(error)}", monotonic())
                try:
                    async with asyncio.timeout(TICK.total_seconds()):
                        await self._interrupted.wait()
                except TimeoutError:
                    pass
            return Stand.INTERRUPTED
        finally:
            await beside.close()
            await runner.close()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _tick(self, runner: Runner, *, all_of_them: bool) -> None:
        await runner.in_thread(lambda: return_leases(self._parts, all_of_them=all_of_them))
        await runner.in_thread(take_over, self._parts)
        for step, name in await runner.in_thread(ringable, self._parts):
            self._start(runner, f"{step}:{name}")
        await runner.in_thread(self._retention.step)

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

    def _stand(self, batch_id: int, patience: timedelta, moved_at: datetime, now: datetime) -> tuple[Stand | None, str]:
        """Why nothing more will happen soon, None when something will; and what is waited for, in words."""
        parts = self._parts
        outlook = parts.facts.outlook(batch_id)
        if outlook.under_way:
            return None, ""
        found = next_move(parts, outlook, batch_id)
        if found is None:
            # What is left belongs to accounts that are stopped or gone; or it is paused, or the customers' turn.
            return (Stand.STOPPED if outlook.accounts or outlook.channels else Stand.LATER), ""
        soonest, state = found
        waits_for = (
            f"waits until {soonest:%H:%M:%S} UTC: {self._why(batch_id, state, soonest)}" if soonest > now else ""
        )
        # An outage ends a pause only to begin the next: what has not moved for that long is not waited for either.
        too_long = soonest > now + patience or (soonest > now and now - moved_at > patience)
        return (Stand.LATER if too_long else None), waits_for

    def _why(self, batch_id: int, state: BudgetState, soonest: datetime) -> str:
        """What is waited for until then, in words: a pause, or calls that are to be looked up."""
        if state.blocked_until is not None and state.blocked_until >= soonest:
            return state.pause_reason
        not_due = state.pause_reason or "what is left is not due before then"
        doubts = self._parts.facts.in_doubt(batch_id)
        if doubts.look_up_at is None or doubts.look_up_at > soonest:
            return not_due
        return f"{lost_answers(sum(doubts.calls.values()), doubts.messages)}, then to be looked up"


def next_move(parts: Parts, outlook: Outlook, batch_id: int) -> tuple[datetime, BudgetState] | None:
    """When the first of what is left may be worked, its own time or the end of its account's pause, and that account.

    What another account may take over waits for that one too. None when all of it belongs to accounts that are
    stopped or no longer configured, or nothing is left.
    """
    states = parts.budgets.all()
    rules = [(at, parts.budget_of(name)) for name, at in outlook.accounts.items() if name in parts.accounts]
    rules += [(at, parts.sender_budget(name)) for name, at in outlook.channels.items() if name in parts.channels]
    going = [(at, states[rule.name]) for at, rule in rules if states[rule.name].stopped_at is None]
    for what in take_overs(parts, states):
        if what.source in outlook.accounts:
            due_at = parts.failover.first_due(what, batch_id, now=parts.clock())
            going += [(due_at, states[what.rule.name])] if due_at is not None else []
    moves = [(max(at, state.blocked_until or at), state) for at, state in going]
    return min(moves, key=lambda move: move[0], default=None)


class _Progress:
    """When the batch last got on: rows done or sessions opened, not calls that were refused."""

    def __init__(self, now: datetime) -> None:
        self.at = now
        self._seen: object = None

    def see(self, counts: BatchCounts, now: datetime) -> None:
        issued = sum(facts.issued for facts in counts.accounts.values())
        seen = (dict(counts.jobs), dict(counts.invitations), issued)
        if seen != self._seen:
            self._seen, self.at = seen, now
