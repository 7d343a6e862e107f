"""A worker process without a network: real parts over a real database, providers and senders that are fakes."""

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from onboarding_testing.fakes import FakeHttp, FakeProvider, FakeSender
from onboarding_worker.core.database.tables import Attempt, Base, Batch, InvitationRow, Job
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.model.customers import Channel, Customer, Person
from onboarding_worker.core.model.states import BATCH
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.work.kinds import FirstLinks
from onboarding_worker.events.event_receiver import Receiver
from onboarding_worker.lists.known_customers import KnownChoices
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.providers.contract import HttpAnswer
from onboarding_worker.runtime.embedded import Embedded
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.runner import Runner
from onboarding_worker.wiring.sweep import Sweep
from onboarding_worker.wiring.sweep_steps import each_alone
from tests.simulated.virtual_time import VirtualClock
from tests.stored.shelf import add_lines
from tests.suite.databases import not_synced

SETTINGS = """
[database]
url = "{url}"
[encryption]
keys = [{{ env = "KEY" }}]
[accounts.kyc]
provider = "idenfy-kyc"
api_key = {{ env = "SECRET" }}
api_secret = {{ env = "SECRET" }}
limits = {limits}
concurrency = {concurrency}
on_unknown = "{on_unknown}"
{more}
[accounts.au]
provider = "frankieone-v2"
api_key = {{ env = "SECRET" }}
customer_id = {{ env = "SECRET" }}
link = "https://verify.example.com/start#token={{token}}"
limits = {limits}
{more_of_au}
[[routes]]
accounts = {route}
[email]
url = "smtp://127.0.0.1:1"
from = "Example Bank <verify@example.com>"
connections = 4
{sender}
[invitations]
{templates}
[follow_up]
{follow_up}
"""
DEFAULTS: Mapping[str, Any] = {
    "limits": [],
    "concurrency": 10,
    "on_unknown": "reconcile",
    "more": "",
    "more_of_au": "",
    "route": ["kyc"],
    "sender": "",
    "templates": "",
    "follow_up": "most = 2",
}
KEY = new_key()  # the same in each world: several may share a database
LIMITED = HttpAnswer(429, {"retry-after": "30"})
REFUSED = HttpAnswer(401, {})
FAILED = HttpAnswer(500, {})


def customer(name: str, **changes: Any) -> Customer:
    person = Person(email=f"{name.lower()}@example.org", phone="+37060000001", first_name=name)
    return replace(Customer(name, person=person, country="LT", locale="en", channel=Channel.EMAIL), **changes)


def configuration(url: str, **given: Any) -> str:
    """The configuration of a world, or of a process that a test starts. `given`: in place of DEFAULTS."""
    values = {**DEFAULTS, **given}
    lists = {name: json.dumps(values[name]) for name in ("limits", "route")}
    return SETTINGS.format(url=url, **values | lists)


class World:
    def __init__(self, url: str, directory: Path, clock: VirtualClock, outcomes: Any = (), **settings: Any) -> None:
        given = {name: settings.pop(name) for name in DEFAULTS.keys() & settings.keys()}
        (directory / "onboarding.toml").write_text(configuration(url, **given))
        loaded = load(
            directory / "onboarding.toml", environ={"KEY": KEY, "SECRET": "0" * 8 + "-0000-4000-8000-" + "0" * 12}
        )
        self.clock = clock
        self.senders = settings.pop("senders", {"email": FakeSender(), "sms": FakeSender()})
        process_clock = settings.pop("process_clock", clock)  # of a machine whose clock is wrong
        self.parts = Parts(
            loaded,
            clock=process_clock,
            database_clock=clock,
            jitter=lambda: 0.5,
            senders=self.senders,
            traces=settings.pop("traces", None),
        )
        not_synced(self.parts.database)
        if not settings.pop("first_links", False):  # else the first calls are made one at a time
            self.parts.first_links |= {account: FirstLinks(seen=True) for account in loaded.accounts}
        self.provider, self.au = FakeProvider(), FakeProvider(safe_to_repeat=True)
        self.parts.providers = {"kyc": self.provider, "au": self.au}
        self._opened = itertools.count(1)
        script = [] if callable(outcomes) else list(outcomes)
        self.http = FakeHttp(outcomes if callable(outcomes) else lambda _: script.pop(0) if script else self.session())
        self.woken: list[str] = []
        self.longest = timedelta(minutes=1)
        self.parts.ready()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.parts.close()

    def start(self, **how) -> Runner:
        """A runner on the loop that is running now."""
        loop = asyncio.get_running_loop()

        def wake(wake_up: WakeUp, _for_events: bool) -> None:  # called from the database's threads
            loop.call_soon_threadsafe(self.woken.append, wake_up.name)

        return Runner(self.parts, self.http, AsyncExitStack(), wake_invite=wake, longest=self.longest, **how)

    def session(self) -> HttpAnswer:
        """The answer that opens the next session."""
        return self.http.session(next(self._opened))

    # A list comes in.

    def receiver(self) -> Receiver:
        """What takes the world's events."""
        return Receiver(self.parts.intake, self.parts.inboxes, self.parts.keyring)

    def add(
        self,
        *customers: Customer,
        account: str = "kyc",
        floor: timedelta = timedelta(hours=12),
        others: tuple[str, ...] = (),
        allow_erased: bool = False,
    ) -> int:
        now = self.clock()
        batch, _ = self.parts.batches.open(name="list.csv", digest=uuid4().hex, again=False, now=now)
        lines = [
            AcceptedLine(row, person, account, "", int(floor.total_seconds()), others)
            for row, person in enumerate(customers, 2)
        ]
        add_lines(
            self.parts.batches,
            batch.id,
            lines,
            priority=BATCH,
            choices=KnownChoices(allow_erased=allow_erased),
            now=now,
        )
        self.set(Batch, Batch.id == batch.id, imported_at=now)
        return batch.id

    def add_many(self, count: int, prefix: str = "C", **how: Any) -> int:
        return self.add(*(customer(f"{prefix}{number:03}") for number in range(count)), **how)

    # It is worked.

    async def issue(self, account: str = "kyc") -> None:
        await self.serve(WakeUp.issue(account))

    async def invite(self, channel: str = "email") -> None:
        await self.serve(WakeUp.invite(channel))

    async def serve(self, *wake_ups: WakeUp) -> None:
        runner = self.start()
        try:
            await asyncio.gather(*(runner.serve(wake_up) for wake_up in wake_ups))
        finally:
            await runner.close()

    def look_after(self) -> None:
        """Make the steps of the sweep that have something to do."""
        sweep = Sweep(self.parts)
        each_alone(*sweep.steps(sweep.look()))

    async def tick(self) -> bool:
        """What the timer does, once, and the work that it wakes; whether there was any."""
        Sweep(self.parts).end_leases()
        self.look_after()
        due = Sweep(self.parts).due_wake_ups()
        await self.serve(*due)
        return bool(due)

    async def work(self) -> None:
        """Tick until nothing is due now."""
        while await self.tick():
            pass

    async def live(self, until: Callable[[], bool]) -> timedelta:
        """Work as `onboard up` does until this is so; returns how long that took."""

        async def open_runner(parts: Parts, *, wake_invite: Any) -> Runner:
            return Runner(parts, self.http, AsyncExitStack(), wake_invite=wake_invite, longest=self.longest)

        began_at = self.clock()
        async with Embedded(self.parts, open_runner=open_runner) as embedded:
            while not until():
                await embedded.tick()
                await embedded.rest()
        return self.clock() - began_at

    # What the provider was asked, and what the tables have.

    @property
    def asked(self) -> list[str]:
        """The customers of the session calls, in order."""
        return [json.loads(request.body)["customer_id"] for request in self.http.requests if request.body]

    @property
    def reconciled(self) -> list[str]:
        """The queries of look-ups, in order."""
        return [request.url.partition("?")[2] for request in self.http.requests if request.method == "GET"]

    def rows(self, model: type[Base], **values: Any) -> list[sa.Row[Any]]:
        table = model.__table__
        with self.parts.database.read() as connection:
            return list(connection.execute(sa.select(table).filter_by(**values).order_by(*table.primary_key)))

    def row(self, model: type[Base], **values: Any) -> sa.Row[Any]:
        (only,) = self.rows(model, **values)
        return only

    def job(self, customer_id: str) -> sa.Row[Any]:
        return self.row(Job, customer_id=customer_id)

    def states(self) -> dict[str, int]:
        counted: dict[str, int] = {}
        for row in self.rows(Job):
            counted[row.state.value] = counted.get(row.state.value, 0) + 1
        return counted

    def budget(self, name: str = "kyc") -> Any:
        return self.parts.budgets.all()[name]

    def attempts(self) -> list[sa.Row[Any]]:
        return [row for row in self.rows(Attempt) if row.invitation_id is None]

    def set(self, model: type[Base], *where: Any, **values: Any) -> None:
        with self.parts.database.write() as connection:
            connection.execute(sa.update(model).where(*where).values(values))

    def message(self) -> sa.Row[Any]:
        return self.row(InvitationRow)
