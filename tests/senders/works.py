"""A worker over SQLite whose senders are the real ones: customers go in, and messages leave over the wire."""

import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from onboarding_testing.fakes import FakeHttp, FakeProvider
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.model.customers import Channel, Customer, Person
from onboarding_worker.core.model.states import BATCH
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.runner import Runner
from onboarding_worker.wiring.sweep import Sweep
from tests.stored.shelf import add_lines
from tests.suite.databases import not_synced

BASE = """
[database]
url = "{url}"
[encryption]
keys = [{{ env = "KEY" }}]
[accounts.kyc]
provider = "idenfy-kyc"
api_key = {{ env = "SECRET" }}
api_secret = {{ env = "SECRET" }}
limits = ["100000/second"]
[[routes]]
accounts = ["kyc"]
[retry]
first = "10 s"
"""


class MovableClock:
    """Real time that starts on the test's own day and can be moved ahead, so that no test waits five minutes."""

    def __init__(self) -> None:
        self._zero = datetime(2026, 11, 20, 10, 0, tzinfo=UTC) - timedelta(seconds=time.monotonic())

    def __call__(self) -> datetime:
        return self._zero + timedelta(seconds=time.monotonic())

    def advance(self, step: timedelta) -> None:
        self._zero += step


def customer(name: str, channel: Channel = Channel.EMAIL, *, number: int = 1, **changes: Any) -> Customer:
    """`number`: of the customer's own telephone, below 10,000."""
    person = Person(email=f"{name.lower()}@customer.example", phone=f"+3706000{number:04}", first_name=name)
    return replace(Customer(name, person=person, country="LT", locale="en", channel=channel), **changes)


class Works:
    """`sections` are the senders' sections of the configuration; `senders` replaces some senders."""

    def __init__(self, url: str, directory: Path, sections: str, senders: Any = None) -> None:
        config = directory / "onboarding.toml"
        config.write_text(BASE.format(url=url) + sections)
        secret = "0" * 8 + "-0000-4000-8000-" + "0" * 12
        environ = {"KEY": new_key(), "SECRET": secret, "TWILIO_TOKEN": "sandbox-token"}
        self.clock = MovableClock()
        self.parts = Parts(load(config, environ=environ), clock=self.clock, jitter=lambda: 0.0, senders=senders)
        not_synced(self.parts.database)
        self.provider = FakeProvider()
        self.parts.providers = {"kyc": self.provider}
        self.http = FakeHttp()
        self.parts.ready()

    def add(self, *customers: Customer) -> None:
        now = self.clock()
        batch, _ = self.parts.batches.open(name="list.csv", digest=uuid4().hex, again=False, now=now)
        lines = [AcceptedLine(row, who, "kyc", "", 12 * 3600) for row, who in enumerate(customers, 2)]
        add_lines(self.parts.batches, batch.id, lines, priority=BATCH, now=now)

    def runner(self) -> Runner:
        """The runner of the running event loop."""
        return Runner(
            self.parts, self.http, AsyncExitStack(), wake_invite=lambda *_: None, longest=timedelta(minutes=1)
        )

    async def work(self, *customers: Customer) -> None:
        """Add the customers, then do all due work, as the timer and its dispatchers would."""
        if customers:
            self.add(*customers)
        runner = self.runner()
        try:
            Sweep(self.parts).end_leases()
            while due := Sweep(self.parts).due_wake_ups():
                for wake_up in due:
                    await runner.serve(wake_up)
        finally:
            await runner.close()
            self.parts.__dict__.pop("senders", None)  # closed with the runner

    def rows(self, model: Any, **values: Any) -> list[sa.Row[Any]]:
        table = model.__table__
        with self.parts.database.read() as connection:
            return list(connection.execute(sa.select(table).filter_by(**values).order_by(*table.primary_key)))

    def message(self, channel: str = "email") -> sa.Row[Any]:
        (only,) = self.rows(InvitationRow, channel=channel)
        return only

    def messages(self) -> dict[str, sa.Row[Any]]:
        """The messages by customer."""
        jobs = {job.id: job.customer_id for job in self.rows(Job)}
        return {jobs[row.job_id]: row for row in self.rows(InvitationRow)}

    def job(self, customer_id: str) -> sa.Row[Any]:
        (only,) = self.rows(Job, customer_id=customer_id)
        return only

    def handovers(self) -> list[sa.Row[Any]]:
        return [row for row in self.rows(Attempt) if row.invitation_id is not None]

    def budget(self, channel: str) -> Any:
        return self.parts.budgets.all()[self.parts.budget_rules.channels[channel].name]
