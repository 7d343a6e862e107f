"""The rehearsal itself: everything that is due is worked, and then time is stepped to the next due time.

    import the list → work what is due → step to the next row that is due, or to the next webhook → …

The engine, the store and the adapters are those of every run; so are the sweep and the reading of webhooks. Time stands
still while work is done, and passes where a call waits for its slot.
"""

import asyncio
import random
import selectors
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from aiohttp import web

from onboarding_sandbox.options import Share
from onboarding_worker.cli.lists.listed import Listed
from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.job_ids import guessable_ids
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.features.rehearsal.stand_ins import (
    EMAIL,
    MailWire,
    Wire,
    opened_page,
    page_of,
    sandbox_options,
    stood_in,
)
from onboarding_worker.features.rehearsal.store.happenings import Happenings, happenings, next_due
from onboarding_worker.http import event_loop
from onboarding_worker.http.client import Http
from onboarding_worker.lists.formats.opening import Content
from onboarding_worker.lists.importing.list_import import ImportChoices, import_list
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.traces import NO_TRACES
from onboarding_worker.runtime.embedded import Embedded
from onboarding_worker.runtime.web_application import ROUTES, Shared
from onboarding_worker.settings.model import Settings
from onboarding_worker.web.readiness import Readiness
from onboarding_worker.web.webhooks.sources import account_sources, sender_sources
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.runner import LONGEST_DISPATCH, Runner
from onboarding_worker.wiring.senders import build_senders

# What becomes due within one step is worked together.
STEP = timedelta(minutes=5)
# Work that is due and cannot be done now (its account is stopped) is looked at again, at the latest after this.
LONGEST_WAIT = timedelta(hours=1)
# Time passes only while all tasks wait, so that this wait ends when all work that was begun is done, or waits too.
UNTIL_ALL_WAIT = 0.001
FAR = timedelta(days=366)


class _Stepping(selectors.DefaultSelector):
    loop: "SteppedLoop"

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if timeout is None:
            raise RuntimeError("every task waits, and nothing will ever happen")
        self.loop.elapsed += timeout
        return []


class SteppedLoop(asyncio.SelectorEventLoop):
    """`start` is the time of its beginning, aware UTC; `elapsed` are the seconds since then."""

    def __init__(self, start: datetime) -> None:
        self.start, self.elapsed = start, 0.0
        selector = _Stepping()
        selector.loop = self
        super().__init__(selector)
        # Timers within this time are due. A year ahead, the step between two floats is larger than asyncio's default.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.elapsed

    def now(self) -> datetime:
        """The time of the clock on this loop's wall."""
        return self.start + timedelta(seconds=self.elapsed)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


@dataclass
class Steps:
    """`arrived` is set when something comes from outside. `done`: a value that changes with each call and message."""

    embedded: Embedded
    database: Database
    loop: SteppedLoop
    arrived: asyncio.Event
    done: Callable[[], object]
    _wait: timedelta = STEP
    _before: object = None

    async def until(self, end: datetime, *, show: Callable[[datetime], None]) -> None:
        """`show` is called with the time after each step."""
        while self.loop.now() < end:
            self.arrived.clear()
            await self.embedded.tick()
            await asyncio.sleep(UNTIL_ALL_WAIT)
            await self.embedded.runner.wait_until_idle()
            await self._rest(min(self._next(), end))
            show(self.loop.now())

    def _next(self) -> datetime:
        """When there is work again: at once while work gets done, and more and more rarely while none does."""
        now = self.loop.now()
        overdue, next_at = next_due(self.database, now=now)
        if overdue is None:
            return next_at or now + FAR
        done = (overdue, self.done())
        self._wait = STEP if done != self._before else min(self._wait * 2, LONGEST_WAIT)
        self._before = done
        return min(next_at or now + FAR, now + self._wait)

    async def _rest(self, until: datetime) -> None:
        """Let time pass until then, or until something arrives; then to the end of the step that has begun."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max((until - self.loop.now()).total_seconds(), 0.0)):
                await self.arrived.wait()
        await asyncio.sleep(-self.loop.elapsed % STEP.total_seconds())


@dataclass(frozen=True)
class Asked:
    """What is rehearsed. `acts` is when customers act, after their message has arrived. `most`: further rows of the
    list are left out."""

    listed: Listed
    start: datetime
    days: int
    seed: int
    customers: tuple[Share, ...]
    acts: tuple[timedelta, timedelta]
    most: int


@dataclass(frozen=True)
class Rehearsed:
    """What has happened. `status` has the facts of `onboard status`; `made` the times of calls and messages."""

    happenings: Happenings
    status: Mapping[str, Any]
    is_cut: bool  # the list has more rows than were rehearsed
    rules: Mapping[str, BudgetRule]
    made: Mapping[str, list[datetime]]
    templates: Mapping[str, str] = field(default_factory=dict)  # of reminders that have their own, by kind
    of_brands: Mapping[str, str] = field(default_factory=dict)  # the templates of brands that have their own


Show = Callable[[float], None]  # how many days have passed


def rehearse(settings: Settings, asked: Asked, *, show: Show = lambda _days: None) -> Rehearsed:
    """Raises SettingsError, and what an import raises."""
    content = asked.listed.content  # before the loop runs: an address is fetched on a loop of its own
    # Closed here, since settings that are refused end the rehearsal before the loop has run.
    with closing(SteppedLoop(asked.start)) as loop, TemporaryDirectory(prefix="onboarding-rehearsal-") as folder:
        does = {"customers": asked.customers, "customers_keep": True, "customers_after": asked.acts}
        options = sandbox_options(settings, loop.now, {"seed": asked.seed, **does})
        played, wire = stood_in(settings, Path(folder)), Wire(options, settings.accounts)
        # Rows of one moment are worked in the order of their ids.
        with guessable_ids(random.Random(f"{asked.seed}/ids").randbytes):
            return event_loop.run(_played(played, asked, content, loop, wire, show), lambda: loop)


async def _played(
    settings: Settings, asked: Asked, content: Content, loop: SteppedLoop, wire: Wire, show: Show
) -> Rehearsed:
    jitter = random.Random(f"{asked.seed}/jitter").random

    async def runner(parts: Parts, *, wake_invite: Callable[[WakeUp, bool], None]) -> Runner:
        return Runner(parts, cast(Http, wire), AsyncExitStack(), wake_invite=wake_invite, longest=LONGEST_DISPATCH)

    async with AsyncExitStack() as exits:
        senders = build_senders(settings, loop.now, texting=wire)
        if settings.email is not None:
            senders[EMAIL] = MailWire(wire, settings.email.from_, loop.now)
        parts = Parts(settings, clock=loop.now, jitter=jitter, senders=senders, traces=NO_TRACES)
        exits.callback(parts.close)
        parts.database.need_not_last()
        schema.upgrade(parts.database)
        parts.ready()
        options = replace(asked.listed.options(parts), most=asked.most)
        is_cut = sum(1 for _ in open_list(content, replace(options, most=asked.most + 1))) > asked.most
        choices = ImportChoices(strict=asked.listed.strict)
        imported = import_list(
            parts.intake.of(), parts.batches, content, options, name=asked.listed.name, choices=choices
        )
        wire.sources = account_sources(parts.accounts, parts.keyring, loop.now)
        texting = settings.model_copy(update={"email": None})  # no report of a mail is played
        wire.senders = sender_sources(texting, parts.keyring, loop.now)
        wire.keep = lambda arrived: parts.webhooks.keep(arrived, now=loop.now())
        exits.push_async_callback(wire.sandbox.stop)
        embedded = await exits.enter_async_context(Embedded(parts, open_runner=runner))
        arrived = asyncio.Event()
        wire.told = arrived.set
        if page_of(settings) is not None:
            application = web.Application()
            add_page(application, parts, embedded, arrived)
            wire.page = await exits.enter_async_context(opened_page(application))
        steps = Steps(embedded, parts.database, loop, arrived=arrived, done=wire.counts)
        day, until = timedelta(days=1), asked.start + timedelta(days=asked.days)
        await steps.until(until, show=lambda now: show((now - asked.start) / day))
        batch = parts.batches.find(str(imported.batch.id)) or imported.batch
        after, ladder = parts.contact.reminders, parts.contact.ladder
        kinds = [f"reminder-{number}" for number in range(1, len(set(after)) + 1)]
        return Rehearsed(
            happenings(parts.database, batch.id),
            parts.reporting.status(batch),
            is_cut,
            parts.budget_rules.all(),
            wire.made,
            {kind: template for kind in kinds if (template := ladder.step_of(kind, after).template)},
            {name: brand.template for name, brand in settings.brands.items() if brand.template},
        )


def add_page(application: web.Application, parts: Parts, embedded: Embedded, arrived: asyncio.Event) -> None:
    """Add the page of our own links to a web application without timers. A press wakes the worker, and sets `arrived`:
    the session that is bought will end, so that the next due time may be another."""

    def wake(wake_up: WakeUp) -> None:
        embedded.wake(wake_up)
        arrived.set()

    readiness = Readiness(parts.database, prepare=lambda: None)
    readiness.look()
    for routes in ROUTES.offered():
        routes.add(application, Shared(parts, readiness, embedded.runner.in_thread, wake))
