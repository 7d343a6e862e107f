"""A worker process: the real parts and runner on a loop of its own, with a clock that may be wrong.

It can be killed at any moment: its tasks never go on, its transaction is rolled back, and nothing of it leaves any
more. It can stand still, with its clocks or without.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.model.incoming import Outcome, Received
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rules.contracts import Sender
from onboarding_worker.events.bus.consumer import take
from onboarding_worker.events.event_receiver import Receiver
from onboarding_worker.runtime.web_application import ROUTES, Shared
from onboarding_worker.templates.values import Screen
from onboarding_worker.web.webhooks.sources import account_sources
from onboarding_worker.web.webhooks.store.webhooks import Arrived
from onboarding_worker.wiring.container import SET_CLOCK_EVERY, Parts
from onboarding_worker.wiring.runner import LONGEST_DISPATCH, STAY, Runner
from onboarding_worker.wiring.sweep import Sweep
from onboarding_worker.wiring.sweep_steps import each_alone
from trials.simulation.database import shows_time_of, strikes_at_commits
from trials.simulation.mail import SimulatedMail
from trials.simulation.plan import TIMEOUT
from trials.simulation.records import Life
from trials.simulation.setting import texting
from trials.simulation.world import ProcessLoop
from trials.web_requests import answered

if TYPE_CHECKING:
    from trials.simulation.play import Simulation

WORK_SECONDS = (0.001, 0.02)  # how long a database call waits for a thread, and how long its result takes to arrive
RESTS = 3600.0  # seconds
ROUNDS = 20  # how often a killed process's tasks are cancelled


class Killed(BaseException):
    """The process is gone: nothing of it may go on. No `except Exception` stops it."""


@dataclass(frozen=True)
class Answered:
    """What a visitor of our own link gets. `location`: the token of the session that it leads to."""

    status: int
    screen: str = ""
    form: str = ""
    cookie: str = ""
    location: str = ""
    again_after: float = 0.0


class Host:
    """A machine: its wall clock may be wrong. It runs one worker process after another."""

    def __init__(self, number: int, simulation: "Simulation", wrong_by: float) -> None:
        self.number = number
        self.wrong_by = wrong_by  # seconds
        self._simulation = simulation

    def wall_clock(self) -> datetime:
        return self._simulation.world.clock() + timedelta(seconds=self.wrong_by)


class WorkerProcess:
    def __init__(self, simulation: "Simulation", host: Host, number: int) -> None:
        self.simulation, self.host, self.number = simulation, host, number
        self.dead = False
        # What to call if the process dies before it has stored a webhook.
        self._unanswered: list[Callable[[], None]] = []
        self.breaks = False  # the connection breaks at this commit
        self._still_until: float | None = None
        self._clocks_behind = 0.0  # how long this machine was paused with its clocks, so far
        self._clocks_stand = 0.0  # … and in the pause that has not ended yet
        self._clocks_go_on_at = 0.0  # the end of that pause
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock_set_at = 0.0
        self.loop = _Loop(self)
        self.clock = simulation.make_clock(self)
        world = simulation.world
        senders: dict[str, Sender] = {
            "email": SimulatedMail(simulation.wire, self),
            "sms": texting(simulation.wire.http_of(self), self.clock),
        }
        self.parts = Parts(
            simulation.settings,
            clock=self.clock,
            database_clock=world.clock,  # replaced below by the database's own
            jitter=world.chance.random,
            senders=senders,
        )
        self.parts.__dict__["templates"] = simulation.templates
        self.parts.__dict__["link_pages"] = {"": BarePages()}
        self.parts.database_clock = self.database_clock
        self.parts._timekeeper = None  # `keep_time` does its work, without a thread
        strikes_at_commits(self, self.parts.database.engine)
        shows_time_of(world, self.parts.database, self.clock)
        self._receiver = Receiver(self.parts.intake, self.parts.inboxes, self.parts.keyring)
        self._sources = account_sources(self.parts.accounts, self.parts.keyring, self.clock)
        self._web = self._application() if simulation.plan.stable else None
        self.runner: Runner | None = None
        self._post(self._begin)

    # Time and steps.

    @property
    def database_clock(self) -> Callable[[], datetime]:
        return self.parts.database.now

    def steady(self) -> float:
        """The seconds of this process's monotonic clock."""
        return self.simulation.world.elapsed - self._clocks_behind

    @property
    def wakes_at(self) -> float | None:
        if self.dead or self.loop.next_at is None:
            return None
        return max(self.loop.next_at + self._clocks_behind, self._still_until or 0.0)

    def step(self) -> None:
        self._still_until = None
        self._clocks_behind += self._clocks_stand
        self._clocks_stand = 0.0
        self.loop.run_ready()

    def freeze(self, seconds: float, *, clocks_too: bool) -> None:
        now = self.simulation.world.elapsed
        self._still_until = max(now + seconds, self._still_until or 0.0)
        if clocks_too:
            # A pause that begins in another one only makes it longer.
            self._clocks_stand += max(now + seconds - max(now, self._clocks_go_on_at), 0.0)
            self._clocks_go_on_at = max(now + seconds, self._clocks_go_on_at)
            self.life.paused.append((now, now + seconds))
        self.life.still.append((now, now + seconds))

    @property
    def is_still(self) -> bool:
        return (self._still_until or 0.0) > self.simulation.world.elapsed

    @property
    def life(self) -> Life:
        return self.simulation.record.lives[self.number]

    # The end.

    def must_live(self) -> None:
        if self.dead:
            raise Killed

    def strike(self, point: str, call: Any = None) -> None:
        self.simulation.strike(point, self, call)
        if self.breaks:
            self.breaks = False
            driver: Any = self.parts.database.engine.dialect.dbapi
            raise driver.OperationalError("the connection is broken")
        self.must_live()

    def kill(self) -> None:
        """From now on nothing of it leaves."""
        if not self.dead:
            self.dead = True
            self.simulation.died(self)
            for again in self._unanswered:
                again()
            self.simulation.world.later(0.0, self.clear_up)  # not now: its loop may be running

    def break_connection(self) -> None:
        self.breaks = True
        self.life.broken.append(self.simulation.world.elapsed)

    def _bury(self) -> None:
        """Free what it held. Its tasks run their last lines, and every door is closed to them."""
        self.loop.turn = 0.0
        for _ in range(ROUNDS):
            tasks = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.loop.run_ready()
        self.parts.database.close()
        self.loop.close()

    def clear_up(self) -> None:
        if not self.loop.is_closed():
            self.dead = True
            self._bury()

    # What reaches it.

    def serve(self, wake_up: WakeUp, for_events: bool = True) -> None:
        self._post(lambda: self._serve(wake_up, for_events))

    def sweep(self) -> None:
        self._post(lambda: self._in_thread(self._sweep))

    def receive(self, event: Any, done: Callable[[tuple[Outcome, float]], None]) -> None:
        """An event of the bus; `done` acknowledges it, and gets when it was stored."""
        self._post(lambda: self._receive(event, done))

    def webhook(self, account: str, delivery: Any, kept: Callable[[], None], again: Callable[[], None]) -> None:
        """`kept` is called once it is stored; `again` if it could not be, or if the process died before it was."""
        self._unanswered.append(again)
        self._post(lambda: self._take(account, delivery, kept, again))

    def visit(self, method: str, path: str, cookie: str, body: bytes, done: Callable[[Answered], None]) -> None:
        """A request at our own link."""
        self._post(lambda: self._visit(method, path, cookie, body, done))

    def do(self, act: Callable[[Parts], Any], done: Callable[[Any], None]) -> None:
        """An operator's command, which shares this process's parts."""

        async def do() -> None:
            done(await self._in_thread(lambda: act(self.parts)))

        self._post(do)

    def answer(self, future: "asyncio.Future[Any]", value: Any) -> None:
        """An answer arrives over a connection of this process, which may have died."""
        if self.loop.is_closed():
            return

        def deliver() -> None:
            if not future.done():
                future.set_result(value)

        self.loop.call_soon_threadsafe(deliver)

    def _post(self, make: Callable[[], Any]) -> None:
        def begin() -> None:
            task = self.loop.create_task(self._survive(make))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        if not self.dead:
            self.loop.call_soon_threadsafe(begin)

    async def _survive(self, make: Callable[[], Any]) -> None:
        try:
            await make()
        except sa.exc.OperationalError:
            pass  # the next wake-up tries again
        except Exception as error:
            self.simulation.note(f"process {self.number}: a task ended with {type(error).__name__}")

    # What it does.

    async def _begin(self) -> None:
        try:
            await self._in_thread(self._prepare)
        except sa.exc.OperationalError:
            self.kill()  # a worker that finds no database ends, and is started again
            return
        self.runner = Runner(
            self.parts,
            self.simulation.wire.http_of(self),  # type: ignore[arg-type] # it answers as Http does
            AsyncExitStack(),
            wake_invite=self.simulation.broker.wake,
            longest=LONGEST_DISPATCH,
            stay=STAY,
        )
        while True:
            # Over days of calm, a timer each ten seconds would be most of the history.
            rests = self.simulation.plan.renews_for and not self.simulation.is_stormy and not self.runner.busy
            await asyncio.sleep(RESTS if rests else SET_CLOCK_EVERY.total_seconds())
            if self.runner.busy:
                await self._survive(lambda: self._in_thread(self._set_clock))

    def _prepare(self) -> None:
        self._set_clock()
        self.parts.ready()

    def _set_clock(self) -> None:
        self._clock_set_at = self.steady()
        self.parts.database.set_clock(self.clock)

    async def _serve(self, wake_up: WakeUp, for_events: bool) -> None:
        if self.runner is None:
            return
        await self._set_clock_if_old()
        if await self.runner.serve(wake_up, for_events=for_events):
            self.simulation.broker.wake(wake_up, True)

    async def _set_clock_if_old(self) -> None:
        """A process that did nothing has no timer here: its clock is set when it begins again."""
        if self.steady() - self._clock_set_at > SET_CLOCK_EVERY.total_seconds():
            await self._in_thread(self._set_clock)

    def _sweep(self) -> None:
        if self.runner is None:
            return
        sweep = Sweep(self.parts)
        looked = sweep.look()

        def wake_for_due() -> None:
            for wake_up in sweep.due_wake_ups(looked):
                self.simulation.broker.wake(wake_up, True)

        each_alone(wake_for_due, *sweep.steps(looked))

    async def _receive(self, event: Any, done: Callable[[tuple[Outcome, float]], None]) -> None:
        taken, stored_at = await self._in_thread(lambda: self._stored(event))
        for wake_up in taken.due:
            self.simulation.broker.wake(wake_up, True)
        done((taken.receipts[0].outcome, stored_at))

    def _stored(self, event: Any) -> tuple[Received, float]:
        return take(self._receiver, [event], lambda one: one), self.simulation.world.elapsed  # type: ignore

    async def _take(self, account: str, delivery: Any, kept: Callable[[], None], again: Callable[[], None]) -> None:
        source = self._sources[account]
        arrived = source.refuses(delivery, "") or source.read(delivery)
        if not isinstance(arrived, Arrived):
            raise TypeError(arrived)  # the sandbox's own webhooks are read
        try:
            await self._in_thread(lambda: self.parts.webhooks.keep([arrived], now=self.database_clock()))
        except sa.exc.OperationalError:
            again()
        else:
            kept()
        self._unanswered.remove(again)

    async def _visit(self, method: str, path: str, cookie: str, body: bytes, done: Callable[[Answered], None]) -> None:
        if self._web is None or self.runner is None:
            return
        await self._set_clock_if_old()
        headers = {"User-Agent": "Mozilla/5.0", "Cookie": cookie}
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            answer = await answered(self._web, method, path, headers, body)
            self.must_live()
            done(_read(answer))
        except Exception as error:
            self.simulation.record.complaints.append(f"a visit ended with {type(error).__name__}")
            raise

    def _application(self) -> web.Application:
        """The web application's routes of our own links. It shares this process's parts."""
        made = web.Application()

        def wake(wake_up: WakeUp) -> None:
            self.simulation.broker.wake(wake_up, True)

        shared = Shared(self.parts, IsReady(), self._in_thread, wake, TIMEOUT)  # type: ignore[arg-type]
        for routes in ROUTES.offered():
            routes.add(made, shared)
        made.freeze()
        return made

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self.loop.run_in_executor(None, function, *arguments)


class _Loop(ProcessLoop):
    """Runs the work for threads in the loop, after a delay from the seed: one piece after the other."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        super().__init__(process.steady, process.simulation.plan.turn)

    def run_in_executor(self, _executor: Any, function: Callable[..., Any], *arguments: Any) -> Any:  # type: ignore[override]
        done = self.create_future()
        if self._process.dead:
            done.cancel()
        else:
            self.call_later(self._delay(), self._work, done, function, arguments)
        return done

    def _delay(self) -> float:
        return self._process.simulation.world.chance.uniform(*WORK_SECONDS)

    def _work(self, done: "asyncio.Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        if self._process.dead or done.cancelled():
            return
        try:
            result = function(*arguments)
        except Killed:
            return
        except BaseException as error:
            self.call_later(self._delay(), _settle, done, None, error)
        else:
            self.call_later(self._delay(), _settle, done, result, None)


def _settle(done: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)


class IsReady:
    """In place of the web application's `Readiness`, which looks at the database again and again."""

    why_not: str | None = None


class BarePages:
    """In place of the pages' templates: which page it is, and what its form holds."""

    logo = style = ""
    shows_codes = False

    def render(self, screen: Screen, *, token: str = "", **_values: str) -> str:
        return f"{screen} {token}"

    def locale_of(self, _accepts: str) -> str:
        return "en"


def _read(answer: web.StreamResponse) -> Answered:
    from trials.simulation.wire import token_in

    screen, _, form = (getattr(answer, "text", None) or "").partition(" ")
    return Answered(
        answer.status,
        screen,
        form,
        "; ".join(f"{name}={morsel.value}" for name, morsel in answer.cookies.items()),
        token_in(answer.headers.get("Location", "")),
        float(answer.headers.get("Refresh", 0)),
    )


def process_clock(process: WorkerProcess) -> ProcessClock:
    return ProcessClock(process.host.wall_clock, process.steady)
