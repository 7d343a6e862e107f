"""Runs at most one dispatcher for each account and channel on one asyncio loop.

Wake-ups coalesce here: one for an account whose dispatcher runs already only has that dispatcher look again. Both ways
of running use it: Celery's tasks (one loop a process, `celery_tasks`) and the worker that runs inside a command
(`embedded`).
"""

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets.backpressure import make_waiting_jobs_due
from onboarding_worker.core.database import fast
from onboarding_worker.core.database.fast import Twin
from onboarding_worker.core.database.fast.on_loop import on_loop, pause
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.dispatch.dispatcher import Dispatcher
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.garbage import tune_gc
from onboarding_worker.core.foundation.logs import about
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.metrics import CALL_SECONDS, FLUSH_SECONDS, MESSAGE_SECONDS, WorkMeter
from onboarding_worker.core.model.wakeups import NAME_UNKNOWN, WakeUp, WorkStep
from onboarding_worker.core.rules.call_outcomes import CallOutcome
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.wiring.container import DATABASE_THREADS, Parts
from onboarding_worker.wiring.work import invite_work, issue_work

log = logging.getLogger(__name__)

# Long enough that a slow account's calls overlap from one chunk to the next; short enough that other accounts get
# their turn where there are few threads.
LONGEST_DISPATCH = timedelta(seconds=60)
# How long a dispatcher stays after an event, where that keeps no other account waiting.
STAY = timedelta(seconds=1)
# How often a process that is asked to end says what it waits for.
SAY_AGAIN = timedelta(seconds=10)
# How often a process that makes calls asks whether a person has stopped everything: the stop holds within a second.
LOOK_FOR_STOP_SECONDS = 0.25
STOP_HOLDS_AFTER = timedelta(seconds=1)


class Preflight:
    """Tries the senders of one process. `in_thread(function, *arguments)` awaits a blocking call."""

    def __init__(self, parts: Parts, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._parts, self._in_thread = parts, in_thread
        self._outages: dict[str, Outage] = {}

    async def prove(self, channel: str) -> None:
        """Log in to the channel's sender, if it has not answered and is neither paused nor stopped."""
        parts, rule = self._parts, self._parts.budget_rules.channels[channel]
        if not await self._in_thread(partial(parts.budgets.is_unverified, rule.name, now=parts.clock())):
            return
        began_at = parts.clock()
        problem = await parts.senders[channel].preflight()
        if problem is not None:
            outage = self._outages.setdefault(channel, Outage(log, logging.WARNING))
            outage.lasts(f"{channel} does not work", monotonic(), why=problem.detail)
        else:
            self._outages.pop(channel, None)  # the budget's line says that it answers again

        def record() -> None:
            now = parts.clock()
            parts.budgets.record_log_in(rule, CallOutcome(began_at, problem), now=now)
            if problem is None:
                make_waiting_jobs_due(parts.database, now=now)

        await self._in_thread(record)  # in one go: jobs that wait for a sender that answers would wait for minutes


# At most so many transactions wait for one budget's row, however many accounts share it: a worker that stands still may
# keep the row locked for seconds, and the other accounts go on.
CALLS_OF_A_BUDGET = 3


class StoreCalls:
    """How a loop makes blocking calls to the store: transactions on PostgreSQL on the loop, others in threads. SQLite
    has one writer: a single thread queues here instead of at the file's lock.

    For one loop, made on it. A transaction that PostgreSQL ended because of a deadlock is repeated: it has changed
    nothing."""

    def __init__(self, budgets: Iterable[str], *, threads: int, on_the_loop: int) -> None:
        """`on_the_loop`: how many transactions may run on the loop at once; 0: they run in threads."""
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="database")
        self._on_the_loop = asyncio.Semaphore(on_the_loop) if on_the_loop and Twin.ON_LOOP not in fast.plain else None
        self._turns = {name: asyncio.Semaphore(CALLS_OF_A_BUDGET) for name in budgets}

    async def in_turn(self, budget: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await a dispatcher's call, when it is the turn of this budget."""
        async with self._turns[budget]:
            if self._on_the_loop is None:
                return await self.in_thread(function, *arguments)
            async with self._on_the_loop:
                call = partial(function, *arguments)
                return await on_loop(partial(outlive_deadlocks, call, pause=pause))

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await a call that may take long, or that waits for more than the database."""
        call = partial(outlive_deadlocks, partial(function, *arguments))
        # With the caller's context: log lines have the ids of what is worked.
        here = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, here.run, call)

    def close(self) -> None:
        """End the threads, when their work is done."""
        self._threads.shutdown(wait=True)


async def prove_senders(parts: Parts) -> None:
    """Log in to the senders that have not answered, in a process that works nothing yet, and close them again."""
    preflight = Preflight(parts, asyncio.to_thread)
    try:
        await asyncio.gather(*(preflight.prove(channel) for channel in parts.channels))
    finally:
        for sender in parts.senders.values():
            await sender.close()


class Runner:
    """For one loop: open it and close it there."""

    def __init__(
        self,
        parts: Parts,
        http: Http,
        exits: AsyncExitStack,
        wake_invite: Callable[[WakeUp, bool], None],
        longest: timedelta,
        stay: timedelta = timedelta(0),
        only_batch: int | None = None,
        wake_others: Callable[[WakeUp], object] = lambda _wake_up: None,
    ) -> None:
        self._parts = parts
        self._exits = exits
        self._longest, self._stay, self._wake_others = longest, stay, wake_others
        rules = parts.budget_rules
        self._budgets = {WakeUp.issue(name): rule.name for name, rule in rules.accounts.items()}
        self._budgets |= {WakeUp.invite(name): rule.name for name, rule in rules.channels.items()}
        threads = 1 if parts.database.is_sqlite else DATABASE_THREADS
        self._store = StoreCalls(self._budgets.values(), threads=threads, on_the_loop=parts.on_the_loop)
        self._stopping = asyncio.Event()
        self._dispatchers: dict[WakeUp, Dispatcher[Any]] = {}
        self._ending: asyncio.Future[None] | None = None
        self._looking_for_stop: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._preflight = Preflight(parts, self.in_thread)
        self._unknown = Outage(log, logging.WARNING)
        for channel in parts.channels:
            parts.templates.prepare(channel)
        self._invites = {
            channel: (WakeUp.invite(channel), invite_work(parts, channel, only_batch=only_batch))
            for channel in parts.channels
        }
        work: Mapping[WakeUp, Any] = {
            WakeUp.issue(name): issue_work(parts, name, http, wake_invite=wake_invite, only_batch=only_batch)
            for name in parts.accounts
        } | dict(self._invites.values())
        self._meters = {
            wake_up: WorkMeter(
                parts.meters.observer(
                    MESSAGE_SECONDS if wake_up.step is WorkStep.INVITE else CALL_SECONDS, wake_up.name
                ),
                parts.meters.observer(FLUSH_SECONDS, wake_up.step.value, "claim"),
                parts.meters.observer(FLUSH_SECONDS, wake_up.step.value, "results"),
            )
            for wake_up in work
        }
        self._work = {wake_up: parts.traces.of_work(one, wake_up, parts.clock) for wake_up, one in work.items()}

    @classmethod
    async def open(
        cls,
        parts: Parts,
        *,
        wake_invite: Callable[[WakeUp, bool], None],
        longest: timedelta = LONGEST_DISPATCH,
        stay: timedelta = timedelta(0),
        only_batch: int | None = None,
        wake_others: Callable[[WakeUp], object] = lambda _wake_up: None,
    ) -> "Runner":
        """A runner on the loop that is running now. `wake_invite(wake_up, for_events)` is called from any thread.

        `longest`, `stay` and `wake_others`: as for a dispatcher. `only_batch`: rows of other batches are not worked.
        """
        tune_gc()
        # A worker that waits longer would lose its leases, and could not end within the time that a stop has.
        parts.database.give_up_after(parts.settings.worker.lease / 2)
        exits = AsyncExitStack()
        http = Http(await exits.enter_async_context(open_http_session()), parts.trust)
        try:
            return cls(parts, http, exits, wake_invite, longest, stay, only_batch, wake_others)
        except BaseException:
            await exits.aclose()
            raise

    @property
    def busy(self) -> bool:
        return bool(self._dispatchers)

    @property
    def outages(self) -> list[Outage]:
        """The outages of the database, as the results of each dispatcher meet them."""
        return [dispatcher.outage for dispatcher in self._dispatchers.values()]

    def is_working(self, wake_up: WakeUp) -> bool:
        return wake_up in self._dispatchers

    def wake(self, wake_up: WakeUp, *, for_events: bool = True) -> None:
        """On the loop: have the dispatcher look again. If it has ended meanwhile, another wake-up is sent."""
        if wake_up in self._dispatchers:
            self._dispatchers[wake_up].wake(for_events=for_events)
        else:
            self._wake_others(wake_up)

    async def serve(self, wake_up: WakeUp, *, for_events: bool = True) -> bool:
        """Work what is due for the account or channel of this wake-up; whether there was more when that was over.

        Returns at once if this process is working it already, or does not know the name. `for_events`: an event's row
        may be due; it does not wait for more batch rows to come together.
        """
        if wake_up in self._dispatchers:
            self.wake(wake_up, for_events=for_events)
            return False
        work = self._work.get(wake_up)
        if work is None:
            self._unknown.lasts(NAME_UNKNOWN, monotonic())
            return False
        if self._stopping.is_set():
            return False
        dispatcher = Dispatcher(
            work,
            clock=self._parts.clock,
            in_turn=partial(self._store.in_turn, self._budgets[wake_up]),
            stopping=self._stopping,
            longest=self._longest,
            stay=self._stay,
            meter=self._meters[wake_up],
            wake_others=partial(self._wake_others, wake_up),
        )
        self._dispatchers[wake_up] = dispatcher
        self._idle.clear()
        if self._looking_for_stop is None or self._looking_for_stop.done():
            self._looking_for_stop = asyncio.create_task(self._look_for_stop())
        try:
            with about(**{"channel" if wake_up.step is WorkStep.INVITE else "account": wake_up.name}):
                if wake_up.step is WorkStep.INVITE:
                    await self._preflight.prove(wake_up.name)
                return await dispatcher.run()
        finally:
            del self._dispatchers[wake_up]
            if not self._dispatchers:
                self._idle.set()

    async def _look_for_stop(self) -> None:
        """While dispatchers run: halt them if a person has stopped everything.

        No claim finds a row then, but a row that was opened before may wait for its slot or for a free permit.
        """
        while self._dispatchers and not await self.is_ending_within(LOOK_FOR_STOP_SECONDS):
            try:
                stopped = await self.in_thread(self._parts.budgets.everything_is_stopped)
            except sa.exc.OperationalError:
                continue  # the dispatchers meet the same outage, and begin no call in it
            for dispatcher in tuple(self._dispatchers.values()) if stopped else ():
                dispatcher.stop_everything()

    async def prove_senders(self) -> None:
        """Log in to the senders that have not answered, before sessions are opened for their messages."""
        await asyncio.gather(*(self._preflight.prove(channel) for channel in self._parts.channels))

    async def wait_until_idle(self) -> None:
        await self._idle.wait()

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await a blocking call, made in one of the database threads."""
        return await self._store.in_thread(function, *arguments)

    def stop(self) -> None:
        """Claim no more rows: calls in flight are finished, all other claimed rows are released."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        for dispatcher in self._dispatchers.values():
            dispatcher.look_again()
        if self._dispatchers:
            self._ending = asyncio.ensure_future(self._log_what_is_waited_for())

    async def _log_what_is_waited_for(self) -> None:
        """Name the dispatchers that keep the process from ending: at once, and again and again while they do."""
        level = logging.INFO
        while self._dispatchers:
            doing = [f"{wake_up} ({dispatcher.unfinished})" for wake_up, dispatcher in self._dispatchers.items()]
            log.log(level, "ending: waits for %s", ", ".join(doing))
            level = logging.WARNING
            with suppress(TimeoutError):
                async with asyncio.timeout(SAY_AGAIN.total_seconds()):
                    await self._idle.wait()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called. Any thread may ask."""
        return self._stopping.is_set()

    async def is_ending_within(self, seconds: float) -> bool:
        """Wait for `stop`, at most for so long. Returns whether it was called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def close(self) -> None:
        """End the dispatchers, which takes at most their calls' time-outs, and then close the connections."""
        self.stop()
        await self._idle.wait()
        if self._ending is not None:
            await self._ending
        if self._looking_for_stop is not None:
            await self._looking_for_stop
        for sender in self._parts.senders.values():
            await sender.close()
        await self._exits.aclose()
        self._store.close()
