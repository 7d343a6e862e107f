"""The shelf: the whole store over one database, and the single steps of a dispatcher."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import CallResult, Flush
from onboarding_worker.core.database.tables import Base, Job
from onboarding_worker.core.messages.message_context import InvitationPolicy
from onboarding_worker.core.model.customers import Channel, Customer, Person
from onboarding_worker.core.model.endings import Done, Ending, Kind, Problem, RetryPolicy
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.core.model.states import BATCH
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.core.upkeep.expired_leases import ExpiredLeases
from onboarding_worker.core.work.store.job_context import JobPolicy
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine
from onboarding_worker.lists.store import added_lines
from onboarding_worker.lists.store.added_lines import Adding
from onboarding_worker.lists.store.batches import Batches
from onboarding_worker.lists.store.new_rows import Chunk
from onboarding_worker.reporting.store.ledger import facts_of
from onboarding_worker.reporting.store.look import Looks
from onboarding_worker.reporting.store.report_rows import Facts
from tests.stored.steps import InvitationSteps, JobSteps

WEEK = timedelta(days=7)
POLICY = RetryPolicy()
CONTACT = ContactPolicy(Caps(reissues=3, messages=100))
_OF_CONTACT = {field.name for field in fields(ContactPolicy)}


def changed(policy: Any, **changes: Any) -> Any:
    """The policy with these values, whether they are its own or of how customers are written to."""
    contact = {name: changes.pop(name) for name in _OF_CONTACT & changes.keys()}
    return replace(policy, contact=replace(policy.contact, **contact), **changes)


def customer(name: str, **changes: Any) -> Customer:
    person = Person(email=f"{name.lower()}@example.org", phone="+37060000001", first_name=name, last_name="Kazlauskas")
    plain = Customer(customer_id=name, person=person, country="LT", locale="lt", channel=Channel.EMAIL)
    return replace(plain, **changes)


def line(row: int, accepted: Customer, *, account: str = "kyc", floor: timedelta = timedelta(hours=12)) -> AcceptedLine:
    return AcceptedLine(row, accepted, account, "the first route", int(floor.total_seconds()))


def add_lines(batches: Batches, batch: int, lines: Sequence[AcceptedLine | RefusedLine], **how: Any) -> Adding:
    """Add judged lines of a list to its batch."""
    return added_lines.add_lines(batches, batch, Chunk.of(batches.keyring, batch, lines), **how)


def facts_about(of, who="Ona"):
    """The facts of a customer, of a shelf or of a process's parts."""
    with of.database.read() as connection:
        return facts_of(connection, of.keyring, who)


class Shelf:
    def __init__(self, database, keyring, clock, *, credits=None, limits=()):
        self.database, self.keyring, self.clock = database, keyring, clock
        self.jobs = JobSteps(database, keyring, jitter=lambda: 0.0)
        self.invitations = InvitationSteps(database, keyring, jitter=lambda: 0.0)
        self.batches, self.facts = Batches(database, keyring, wide=()), Facts(database, keyring)
        self.budgets, self.expired_leases = Budgets(database), ExpiredLeases(database, jitter=lambda: 0.5)
        self.looks = Looks(database)
        self.policy = JobPolicy(
            account="kyc",
            provider="idenfy-kyc",
            rule=BudgetRule("kyc", limits, 400, credits, POLICY),
            lease=timedelta(seconds=60),
            owner="here:1",
            contact=CONTACT,
            reissue_at=lambda expires_at: expires_at,
        )
        self.message_policy = InvitationPolicy(
            channel="email",
            rule=BudgetRule("sender/email", (), 4, None, POLICY, opens_after=None, each_process=True),
            lease=timedelta(seconds=60),
            owner="here:1",
            contact=CONTACT,
        )
        self.budgets.ensure(["kyc", "sender/email", "sender/sms", "sender/whatsapp"])
        self._sessions = 0

    def ruled(self, **changes):
        """The account's policy with a changed budget rule."""
        return replace(self.policy, rule=replace(self.policy.rule, **changes))

    # A list is imported.

    def batch(self, name: str = "list.csv") -> int:
        """A batch of a list of its own, whatever its name is: lines may be added."""
        return self.batches.open(name=name, digest=uuid4().hex, again=False, now=self.clock())[0].id

    def add(self, *customers, batch=None, first_row=2, priority=BATCH, refused=(), **how) -> int:
        """Add the customers as lines of one batch. Returns the batch."""
        batch = batch or self.batch()
        lines = [line(first_row + index, accepted, **how) for index, accepted in enumerate(customers)]
        add_lines(self.batches, batch, [*lines, *refused], priority=priority, now=self.clock())
        return batch

    # Sessions are opened for its customers.

    def claim(self, most=100, policy=None):
        """The claimed jobs. `slots` has the seconds from now to their slots."""
        claimed = self.jobs.claim(policy or self.policy, most=most, now=self.clock())
        self.slots = [(slot - self.clock()).total_seconds() for slot in claimed.slots]
        return claimed.jobs

    def open(self, jobs, *, repeatable=False, policy=None):
        policy = replace(policy or self.policy, row_is_repeatable=lambda _: repeatable)
        with self.database.write() as connection:
            return self.jobs.open(Flush(connection, self.keyring, policy, self.clock()), jobs)

    def session(self, *, lifetime=WEEK, **changes):
        self._sessions += 1
        token = f"token-{self._sessions:04}"
        session = Session(
            token=token,
            link=f"https://verify.test/{token}",
            reference=f"scan-{self._sessions}",
            expires_at=self.clock() + lifetime,
            expiry_source=ExpirySource.ANSWER,
        )
        return replace(session, **changes)

    def got(self, opened, session=None):
        """The result of a call that opened a session."""
        return CallResult(opened, self.clock(), Done(), session=session or self.session())

    def failed(self, opened, kind: Kind, ending: Ending, detail="HTTP 500", **problem):
        return CallResult(opened, self.clock(), ending, problem=Problem(kind, detail, **problem))

    def finish(self, *results, policy=None):
        with self.database.write() as connection:
            flush = Flush(connection, self.keyring, policy or self.policy, self.clock())
            return self.jobs.record(flush, results)

    def flush(self, *results, most=100, policy=None):
        """Write results, and claim and open due jobs: one transaction, as a dispatcher's."""
        return self.jobs.flush(policy or self.policy, results, Room(most, 0), clock=self.clock)

    def issue(self, *, policy=None, **session):
        """Claim all due jobs and open a session for each. Returns the jobs."""
        jobs = self.claim(policy=policy)
        opened = self.open(jobs, policy=policy)
        self.finish(*(self.got(item, self.session(**session)) for item in opened), policy=policy)
        return jobs

    # Their invitations are sent.

    def claim_messages(self, most=100, channel="email"):
        return self.invitations.claim(self.on(channel), most=most, now=self.clock()).invitations

    def on(self, channel):
        rule = replace(self.message_policy.rule, name=f"sender/{channel}")
        return replace(self.message_policy, channel=channel, rule=rule)

    def open_messages(self, messages, *, policy=None, repeatable=True):
        policy = replace(policy or self.message_policy, all_are_repeatable=repeatable)
        with self.database.write() as connection:
            return self.invitations.open(Flush(connection, self.keyring, policy, self.clock()), messages)

    def finish_messages(self, *results, policy=None):
        with self.database.write() as connection:
            flush = Flush(connection, self.keyring, policy or self.message_policy, self.clock())
            self.invitations.record(flush, results)

    def flush_messages(self, *results, most=100, policy=None):
        """As `flush`, for messages."""
        return self.invitations.flush(policy or self.message_policy, results, Room(most, 0), clock=self.clock)

    def put_off_as_stale(self, *, policy=None, due_at=None):
        """All due messages turn out to have stale links. Their jobs wait for new sessions, which make sense then."""
        floors = {row.id: row.floor_seconds for row in self.rows(Job)}
        self.set(Job, floor_seconds=60 * WEEK.total_seconds())
        due_at = due_at or self.clock()
        policy = replace(policy or self.message_policy, reissue_at=lambda *_: due_at)
        assert self.flush_messages(policy=policy).opened == []
        for job_id, floor_seconds in floors.items():
            self.set(Job, Job.id == job_id, floor_seconds=floor_seconds)

    def hand_over(self, messages, ending=None, channel="email", problem=None):
        opened = self.open_messages(messages, policy=self.on(channel))
        results = [CallResult(item, self.clock(), ending or Done(), problem=problem) for item in opened]
        self.finish_messages(*results, policy=self.on(channel))

    def send(self, **how):
        """Claim all due invitations and send them. Returns the invitations."""
        messages = self.claim_messages(**how)
        self.hand_over(messages, **how)
        return messages

    # The rows of the tables.

    def rows(self, model: type[Base], **values: Any) -> list[sa.Row]:
        table = model.__table__
        query = sa.select(table).order_by(*table.primary_key).filter_by(**values)
        with self.database.read() as connection:
            return list(connection.execute(query))

    def row(self, model: type[Base], **values: Any) -> sa.Row:
        (only,) = self.rows(model, **values)
        return only

    def job(self, customer_id: str, **values: Any) -> sa.Row:
        return self.row(Job, customer_id=customer_id, **values)

    def set(self, model: type[Base], *where: Any, **values: Any) -> None:
        with self.database.write() as connection:
            connection.execute(sa.update(model).where(*where).values(values))
