"""The month itself: the worker, its timer and its web application in one process, over a real database.

    import the list → let everything happen that is due → move the clock to what is due next → …

Time stands still while anything is worked on and goes on by itself only while everybody waits (a paced call, an
answer); between that it jumps. What is due next is asked of the database and of the customers.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.simulated.virtual_time import VirtualLoop
from tests.trials.month.model import DAY, ENDPOINTS, MINUTE, Customer, Rules
from trials.month.agenda import Agenda
from trials.month.people import Mailman, People
from trials.month.post import Post
from trials.month.providers import Providers
from trials.month.setting import configured, id_of, number_of, write_list
from worker.domain.contact.caps import COUNTED
from worker.domain.model.states import InvitationState, JobState
from worker.engine.container import Parts
from worker.engine.runner import LONGEST_DISPATCH, Runner
from worker.inbound.list_import import import_list, options_of
from worker.inbound.web import app
from worker.runtime.embedded import Embedded
from worker.store.base import schema
from worker.store.tables import Attempt, InvitationRow, Job, ReissueCount, SessionRow, Webhook

STEP = MINUTE  # nothing is looked at more often: what comes within it is worked on together
ROUNDS = 30  # at one and the same time; then something is due that nobody works
# Time passes only while everybody waits: so a wait this long ends when all that was begun has come to rest.
UNTIL_ALL_WAIT = 0.001


@dataclass(frozen=True)
class Plan:
    """What is played. Endpoints of one name are the same. `database` is the URL of an empty one, "" for a SQLite file
    in the folder."""

    customers: tuple[Customer, ...]
    rules: Rules
    days: float = 30
    seed: int = 1
    fallback: bool = False
    database: str = ""


@dataclass(frozen=True)
class Lived:
    """What became of one customer, as far as the model tells: counts from outside, the end from the database."""

    sessions: int
    invitations: int
    reminders: int
    ending: str
    why: str


@dataclass(frozen=True)
class Times:
    """When a customer's sessions were opened, and when its messages arrived."""

    sessions: tuple[datetime, ...]
    invitations: tuple[datetime, ...]
    reminders: tuple[datetime, ...]


@dataclass
class Month:
    """What came of it. `complaints` are what must not have happened, whatever the counts are."""

    start: datetime
    until: datetime
    lived: dict[int, Lived] = field(default_factory=dict)
    times: dict[int, Times] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    asked: int = 0
    told: int = 0
    looks: int = 0
    seconds: float = 0.0
    cpu: float = 0.0  # seconds of a core


def play(plan: Plan, folder: Path, *, show: Callable[[str], None] = lambda _line: None) -> Month:
    """Live through it. The folder is for the configuration, the list, and the database where none is named.

    Raises NotEmpty.
    """
    loop = _OneThread()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_Playing(plan, folder, loop, show).live())


class _OneThread(VirtualLoop):
    """What is handed to threads is done at once: no switching between them, and the same run for the same seed."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class NotEmpty(Exception):
    """The database has been used; the text says so."""


class _Stuck(Exception):
    """Something is due that nobody works."""


class _Playing:
    def __init__(self, plan: Plan, folder: Path, loop: VirtualLoop, show: Callable[[str], None]) -> None:
        self._plan, self._loop, self._show = plan, loop, show
        self._clock = loop.clock
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
            folder, database, plan.rules, fallback=plan.fallback, jwt_key=public.decode(), lifetimes=lifetimes
        )
        self._list = folder / "customers.csv"
        write_list(self._list, plan.customers)
        self._agenda = Agenda()
        self._providers = Providers(lifetimes, self._clock, who=number_of)
        draw = random.Random(plan.seed)
        self._people = People(list(plan.customers), plan.rules, self._providers, self._agenda, self._clock, draw)
        self._providers.opened = self._people.watch
        senders = {channel: Mailman(channel, self._people) for channel in ("email", "sms")}
        self._parts = Parts(self._settings, clock=self._clock, jitter=draw.random, senders=senders)
        self._web_parts = Parts(self._settings, clock=self._clock, jitter=draw.random, senders=senders)
        for parts in (self._parts, self._web_parts):
            if parts.database.is_sqlite:  # nothing is killed here: what is written need not have reached the disk
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
            serving = web.AppRunner(application)  # which listens nowhere
            await serving.setup()
            exits.push_async_callback(serving.cleanup)
            self._people.say_to(Post(application, self._jwt_key))
            with suppress(_Stuck):
                await self._through(embedded)
            await embedded.runner.in_thread(self._find_out)
        month = self.month
        month.complaints += self._providers.complaints + self._people.complaints
        month.asked, month.told = self._providers.asked, self._people.told
        month.seconds, month.cpu = time.monotonic() - began, time.process_time() - worked
        return month

    def _begin(self) -> None:
        self._parts.ready()
        with self._parts.database.read() as connection:
            if connection.execute(sa.select(Job.id).limit(1)).first() is not None:
                raise NotEmpty("the database holds jobs already: name an empty one")
        import_list(
            self._parts.intake,
            self._parts.batches,
            self._list,
            options_of(self._parts.intake),
            name="month.csv",
            strict=True,
        )

    async def _runner(self, parts: Parts, *, wake_invite: Callable[[str], None]) -> Runner:
        return Runner(parts, self._providers, AsyncExitStack(), wake_invite=wake_invite, longest=LONGEST_DISPATCH)  # type: ignore[arg-type]

    async def _through(self, embedded: Embedded) -> None:
        """From the beginning to the end, from one time at which something is due to the next."""
        day = 0
        while True:
            await self._work(embedded)
            due = await self._due_at(embedded)
            if due >= self.month.until:
                return
            # To the next whole step: what is due until then is worked on together.
            steps = -((self.month.start - max(due, self._clock())) // STEP)
            self._move(self.month.start + steps * STEP)
            if self._clock() - self.month.start >= (day + 1) * DAY:
                day = (self._clock() - self.month.start) // DAY
                self._show(f"day {day}: {self._providers.asked:,} sessions asked for, {self._people.told:,} told")

    async def _work(self, embedded: Embedded) -> None:
        """Let everything happen that is due now; what becomes due while that is worked on comes with the next step."""
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
        self.month.complaints.append(f"nobody works what is due at {self._clock():%d %H:%M}, so it ends there: {names}")
        raise _Stuck

    async def _due_at(self, embedded: Embedded) -> datetime:
        """When something is due next, in the database or outside."""
        due: dict[str, datetime] = await embedded.runner.in_thread(self._due_by_table)
        return min([*due.values(), self._agenda.next_at or self.month.until, self.month.until])

    def _due_by_table(self) -> dict[str, datetime]:
        with self._parts.database.read() as connection:
            found = {table: connection.execute(query).scalar() for table, query in _DUE.items()}
        return {table: due for table, due in found.items() if due is not None}

    def _move(self, to: datetime) -> None:
        self._loop.clock.elapsed += max((to - self._clock()).total_seconds(), 0)

    def _find_out(self) -> None:
        """What became of everybody; and whether the database says the same of it as the world outside."""
        with self._parts.database.read() as connection:
            jobs = {row.customer_id: row for row in connection.execute(_JOBS)}
            sessions = Counter({row.customer_id: row.number for row in connection.execute(_SESSIONS)})
            messages = Counter({row.customer_id: row.number for row in connection.execute(_MESSAGES)})
            firsts = connection.execute(_FIRSTS).scalar_one()
            counted = connection.execute(_REISSUED).scalar_one() or 0
            unanswered = connection.execute(_UNANSWERED).scalar_one()
            webhooks = Counter({row.state: row.number for row in connection.execute(_WEBHOOKS)})
        served, opened = len(sessions), sessions.total()
        strangers = self._people.strangers
        self.month.complaints += [
            complaint
            for wrong, complaint in (
                (firsts != served, f"{firsts} sessions replace none, of {served} customers"),
                (counted != opened - served, f"{counted} reissues are counted by day, of {opened - served}"),
                (unanswered, f"{unanswered} calls and messages are left whose answers nobody wrote down"),
                (webhooks["broken"] or webhooks["alert"], "a webhook could not be worked off, or is for a person"),
                (webhooks["unknown"] > strangers, f"{webhooks['unknown']} webhooks are nobody's, of {strangers}"),
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
_SESSIONS = sa.select(SessionRow.customer_id, sa.func.count().label("number")).group_by(SessionRow.customer_id)
_MESSAGES = (
    sa.select(SessionRow.customer_id, sa.func.count().label("number"))
    .join(InvitationRow, InvitationRow.session_id == SessionRow.id)
    .where(InvitationRow.state.in_(COUNTED))
    .group_by(SessionRow.customer_id)
)
_FIRSTS = sa.select(sa.func.count()).select_from(SessionRow).where(SessionRow.replaces.is_(None))
_REISSUED = sa.select(sa.func.sum(ReissueCount.count))
_UNANSWERED = sa.select(sa.func.count()).select_from(Attempt).where(Attempt.closed_at.is_(None))
_WEBHOOKS = sa.select(Webhook.state, sa.func.count().label("number")).group_by(Webhook.state)
