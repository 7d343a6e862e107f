"""The month itself: the worker, its timer and its web application in one process, over a real database.

    import the list → work everything that is due → move the clock to the next due time → …

Time stands still while work is done. It passes by itself only while all coroutines wait (for a paced call or an
answer); otherwise it jumps. The database and the customers' agenda give the next due time.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.orm import aliased

from tests.simulated.virtual_time import START
from tests.trials.month.model import DAY, ENDPOINTS, MINUTE, Customer, Rules
from trials.kept_counts import untrue_counts
from trials.month.agenda import Agenda
from trials.month.people import Mailman, People
from trials.month.post import Post
from trials.month.providers import Providers
from trials.month.setting import configured, id_of, number_of, write_list
from trials.month.visitors import Visitors
from worker.domain.contact.caps import COUNTED
from worker.domain.model.states import InvitationState, JobState, SessionState
from worker.engine.container import Parts
from worker.engine.runner import LONGEST_DISPATCH, Runner
from worker.inbound.judging import options_of
from worker.inbound.list_import import ImportChoices, import_list
from worker.inbound.web import app
from worker.runtime.embedded import Embedded
from worker.runtime.rehearsal.stepped_loop import SteppedLoop
from worker.store.base import schema
from worker.store.tables import Attempt, Budget, InvitationRow, Job, ReissueCount, SessionRow, Webhook

STEP = MINUTE  # work that is due within one step is done together
ROUNDS = 30  # the most rounds at the same time; after them, due work is stuck
# Time passes only while all coroutines wait, so a wait this long ends when all started work is done.
UNTIL_ALL_WAIT = 0.001


@dataclass(frozen=True)
class Plan:
    """The month's plan. Endpoints with the same name are the same. `database` is the URL of an empty database, "" for a
    SQLite file in the folder. `stable`: messages have our own links, whose sessions are bought "ahead" or "on-click";
    "": the providers' links."""

    customers: tuple[Customer, ...]
    rules: Rules
    days: float = 30
    seed: int = 1
    fallback: bool = False
    database: str = ""
    stable: str = ""


@dataclass(frozen=True)
class Lived:
    """One customer's month, as far as the model covers it: counts from outside, the ending from the database."""

    sessions: int
    invitations: int
    reminders: int
    ending: str
    why: str


@dataclass(frozen=True)
class Times:
    """The times at which a customer's sessions were opened and its messages arrived."""

    sessions: tuple[datetime, ...]
    invitations: tuple[datetime, ...]
    reminders: tuple[datetime, ...]


@dataclass
class Month:
    """The result. `complaints` are things that must not happen, whatever the counts are."""

    start: datetime
    until: datetime
    lived: dict[int, Lived] = field(default_factory=dict)
    times: dict[int, Times] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    asked: int = 0
    reports: int = 0
    looks: int = 0
    seconds: float = 0.0
    cpu: float = 0.0  # processor seconds


def play(plan: Plan, folder: Path, *, show: Callable[[str], None] = lambda _line: None) -> Month:
    """Run the month. The folder gets the configuration, the list, and the database if the plan names none.

    Raises NotEmpty.
    """
    loop = SteppedLoop(START)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_Playing(plan, folder, loop, show).live())


class NotEmpty(Exception):
    """The database is not empty."""


class _Stuck(Exception):
    """Due work is not done."""


class _Playing:
    def __init__(self, plan: Plan, folder: Path, loop: SteppedLoop, show: Callable[[str], None]) -> None:
        self._plan, self._loop, self._show = plan, loop, show
        self._clock = loop.now
        start = self._clock()
        self.month = Month(start, start + plan.days * DAY)
        self._jwt_key = rsa.generate_private_key(65537, 2048)
        public = self._jwt_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        endpoints = [*ENDPOINTS, *(customer.endpoint for customer in plan.customers)]
        lifetimes = {endpoint.name: endpoint.lifetime for endpoint in endpoints}
        database = plan.database or f"sqlite:///{folder / 'onboarding.db'}"
        self._settings = configured(
            folder,
            database,
            plan.rules,
            fallback=plan.fallback,
            jwt_key=public.decode(),
            lifetimes=lifetimes,
            stable=plan.stable,
        )
        self._list = folder / "customers.csv"
        write_list(self._list, plan.customers)
        self._agenda = Agenda()
        self._providers = Providers(lifetimes, self._clock, customer_of=number_of)
        draw = random.Random(plan.seed)
        people = partial(Visitors, on_click=plan.stable == "on-click") if plan.stable else People
        self._people = people(list(plan.customers), plan.rules, self._providers, self._agenda, self._clock, draw)
        self._providers.opened = self._people.watch
        senders = {channel: Mailman(channel, self._people) for channel in ("email", "sms")}
        self._parts = Parts(self._settings, clock=self._clock, jitter=draw.random, senders=senders)
        self._web_parts = Parts(self._settings, clock=self._clock, jitter=draw.random, senders=senders)
        for parts in (self._parts, self._web_parts):
            if parts.database.is_sqlite:  # no process is killed here, so writes need not reach the disk
                sa.event.listen(parts.database.engine, "connect", _written_later)

    async def live(self) -> Month:
        began, worked = time.monotonic(), time.process_time()
        schema.upgrade(self._parts.database)
        async with AsyncExitStack() as exits:
            exits.callback(self._parts.close)
            exits.callback(self._web_parts.close)
            self._begin()
            embedded = await exits.enter_async_context(Embedded(self._parts, open_runner=self._runner))
            application = app(self._web_parts, wake=embedded.wake)
            serving = web.AppRunner(application)  # it listens on no port
            await serving.setup()
            exits.push_async_callback(serving.cleanup)
            self._people.send_to(Post(application, self._jwt_key))
            with suppress(_Stuck):
                await self._through(embedded)
            await embedded.runner.in_thread(self._collect)
        month = self.month
        month.complaints += self._providers.complaints + self._people.complaints
        month.asked, month.reports = self._providers.asked, self._people.reports
        month.seconds, month.cpu = time.monotonic() - began, time.process_time() - worked
        return month

    def _begin(self) -> None:
        self._parts.ready()
        with self._parts.database.read() as connection:
            if connection.execute(sa.select(Job.id).limit(1)).first() is not None:
                raise NotEmpty("the database has jobs already: name an empty one")
        import_list(
            self._parts.intake,
            self._parts.batches,
            self._list,
            options_of(self._parts.intake),
            name="month.csv",
            choices=ImportChoices(strict=True),
        )

    async def _runner(self, parts: Parts, *, wake_invite: Callable[[str], None]) -> Runner:
        return Runner(parts, self._providers, AsyncExitStack(), wake_invite=wake_invite, longest=LONGEST_DISPATCH)  # type: ignore[arg-type]

    async def _through(self, embedded: Embedded) -> None:
        """Run from the beginning to the end, from one due time to the next."""
        day = 0
        while True:
            await self._work(embedded)
            due = await self._due_at(embedded)
            if due >= self.month.until:
                return
            # To the next whole step: work that is due until then is done together.
            steps = -((self.month.start - max(due, self._clock())) // STEP)
            self._move(self.month.start + steps * STEP)
            if self._clock() - self.month.start >= (day + 1) * DAY:
                day = (self._clock() - self.month.start) // DAY
                self._show(f"day {day}: {self._providers.asked:,} calls for sessions, {self._people.reports:,} reports")

    async def _work(self, embedded: Embedded) -> None:
        """Do all work that is due now. Work that becomes due meanwhile comes with the next step."""
        began = self._clock()
        for _ in range(ROUNDS):
            self.month.looks += 1
            await self._agenda.act(self._clock())
            await asyncio.sleep(UNTIL_ALL_WAIT)
            await embedded.tick()
            await asyncio.sleep(UNTIL_ALL_WAIT)
            await embedded.runner.wait_until_idle()
            if await self._due_at(embedded) > began:
                return
        waits = await embedded.runner.in_thread(self._due_by_table)
        names = ", ".join(sorted(name for name, due in waits.items() if due <= began))
        self.month.complaints.append(f"due work was not done at {self._clock():%d %H:%M}, so the month ends: {names}")
        raise _Stuck

    async def _due_at(self, embedded: Embedded) -> datetime:
        """The next due time, in the database or outside."""
        due: dict[str, datetime] = await embedded.runner.in_thread(self._due_by_table)
        return min([*due.values(), self._agenda.next_at or self.month.until, self.month.until])

    def _due_by_table(self) -> dict[str, datetime]:
        with self._parts.database.read() as connection:
            found = {table: connection.execute(query).scalar() for table, query in _DUE.items()}
        return {table: due for table, due in found.items() if due is not None}

    def _move(self, to: datetime) -> None:
        self._loop.elapsed += max((to - self._clock()).total_seconds(), 0)

    def _collect(self) -> None:
        """Collect every customer's month, and compare the database with the world outside."""
        with self._parts.database.read() as connection:
            self.month.complaints += untrue_counts(connection)
            jobs = {row.customer_id: row for row in connection.execute(_JOBS)}
            sessions = Counter({row.customer_id: row.number for row in connection.execute(_SESSIONS)})
            messages = Counter({row.customer_id: row.number for row in connection.execute(_MESSAGES)})
            firsts = connection.execute(_FIRSTS).scalar_one()
            counted = connection.execute(_REISSUED).scalar_one() or 0
            unanswered = connection.execute(_UNANSWERED).scalar_one()
            credits = {row.name: row.credits_used for row in connection.execute(_CREDITS)}
            webhooks = Counter({row.state: row.number for row in connection.execute(_WEBHOOKS)})
        served, opened = len(sessions), sessions.total()
        strangers = self._people.strangers
        bought = Counter(held.account for sessions in self._providers.sessions.values() for held in sessions)
        self.month.complaints += [
            complaint
            for wrong, complaint in (
                (firsts != served, f"{firsts} first sessions for {served} customers"),
                (counted != opened - served, f"{counted} of {opened - served} reissues are counted by day"),
                (
                    {name: number for name, number in credits.items() if number} != bought,
                    f"the ledger has {credits} credits, and the providers {dict(bought)} sessions",
                ),
                (unanswered, f"{unanswered} calls and messages have no recorded answer"),
                (webhooks["broken"] or webhooks["alert"], "a webhook could not be processed, or needs a person"),
                (
                    webhooks["unknown"] > strangers,
                    f"{webhooks['unknown']} webhooks are unmatched, of {strangers}",
                ),
            )
            if wrong
        ]
        for customer in self._plan.customers:
            person = self._people.people[customer.number]
            job = jobs[id_of(customer.number)]
            ending, why = _ending(job)
            opened_at = tuple(held.opened.at for held in self._providers.sessions[customer.number])
            self.month.times[customer.number] = Times(opened_at, tuple(person.invitations), tuple(person.reminders))
            asked_for = len(opened_at)
            self.month.lived[customer.number] = Lived(
                asked_for, len(person.invitations), len(person.reminders), ending, why
            )
            for what, here, outside in (
                ("sessions", sessions[job.customer_id], asked_for),
                ("messages", messages[job.customer_id], person.messages),
            ):
                if here != outside:
                    self.month.complaints.append(
                        f"customer {customer.number} has {here} {what} in the database, and {outside} outside"
                    )


def _written_later(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def _ending(job: Any) -> tuple[str, str]:
    match job.state:
        case JobState.COMPLETED:
            return "completed", job.result
        case JobState.WAITING | JobState.WORKING | JobState.ISSUED | JobState.INVITED:
            return "open", ""
        case state:
            return state.value, job.reason


_DUE = {
    "job": sa.select(sa.func.min(Job.due_at)).where(Job.state == JobState.WAITING),
    "invitation": sa.select(sa.func.min(InvitationRow.due_at)).where(InvitationRow.state == InvitationState.WAITING),
    "session": sa.select(sa.func.min(SessionRow.check_at)),
    "webhook": sa.select(sa.func.min(Webhook.due_at)),
}
_JOBS = sa.select(Job.customer_id, Job.state, Job.reason, Job.result)
# A row that stands where a session will be has cost nothing.
_BOUGHT = SessionRow.state != SessionState.UNBOUGHT
_SESSIONS = (
    sa.select(SessionRow.customer_id, sa.func.count().label("number")).where(_BOUGHT).group_by(SessionRow.customer_id)
)
_CREDITS = sa.select(Budget.name, Budget.credits_used).where(~Budget.name.startswith("sender/"))
_MESSAGES = (
    sa.select(SessionRow.customer_id, sa.func.count().label("number"))
    .join(InvitationRow, InvitationRow.session_id == SessionRow.id)
    .where(InvitationRow.state.in_(COUNTED))
    .group_by(SessionRow.customer_id)
)
_BEFORE = aliased(SessionRow)
_REPLACES = sa.exists().where(_BEFORE.id == SessionRow.replaces, _BEFORE.state != SessionState.UNBOUGHT)
_FIRSTS = sa.select(sa.func.count()).select_from(SessionRow).where(_BOUGHT, ~_REPLACES)
_REISSUED = sa.select(sa.func.sum(ReissueCount.count))
_UNANSWERED = sa.select(sa.func.count()).select_from(Attempt).where(Attempt.closed_at.is_(None))
_WEBHOOKS = sa.select(Webhook.state, sa.func.count().label("number")).group_by(Webhook.state)
