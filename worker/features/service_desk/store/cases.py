"""Reads what is stored for the decisions of the service desk: the case of one customer; and of the customers of a
report that comes back their details, and where each stands."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch, known
from onboarding_worker.core.database.encrypted_values import Erased, read_person
from onboarding_worker.core.database.job_ids import AS_THEY_CAME
from onboarding_worker.core.database.tables import CustomerRow, Finished, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.channels import CHANNELS, detail_of
from onboarding_worker.core.model.customers import Details, Person
from onboarding_worker.core.model.states import OPEN_INVITATIONS, OPEN_JOBS, JobState
from onboarding_worker.core.rows import usage
from onboarding_worker.core.rows.suppressions import reachable
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.core.rules.text_numbers import why_not_texted
from onboarding_worker.features.service_desk.case import Case, DeskRules
from onboarding_worker.lists.decisions.store.emergency_stop import stop_there
from onboarding_worker.lists.known_customers import Standing, standing_of
from onboarding_worker.lists.store.admission import OF_PRESENT_PERSON, lock_customers, lock_serving
from onboarding_worker.reporting.store.ledger import JobFacts, SessionFacts, jobs_of, sessions_of
from onboarding_worker.reporting.store.outlook import settled_by
from onboarding_worker.reporting.store.report_rows import Stored, details_of_customers


class SeveralPurposes(Exception):
    """The customer is onboarded for several purposes, and none was named. Its text has them."""


@dataclass(frozen=True, repr=False)
class FoundCustomer:
    """A customer's row, with the person (personal, so no repr); `person` None: erased."""

    row: Any
    person: Person | None

    @property
    def details(self) -> Details | None:
        """What is stored about the customer, apart from rows; None: erased."""
        row, person = self.row, self.person
        return None if person is None else Details(person, row.country, row.locale, row.timezone, row.kind)


def customer_of(connection: sa.Connection, keyring: Keyring, customer_id: str, *, lock: bool) -> FoundCustomer | None:
    """The customer; None: there is none with this id. Raises keyring.CannotDecrypt. `lock`: as an import and a retry
    lock customers, so that none of them makes another row lead meanwhile. Then the messages that are not settled, as a
    dispatcher locks them before their rows."""
    if lock:
        lock_customers(connection, [customer_id])
        sessions = sa.select(SessionRow.id).where(SessionRow.customer_id == customer_id)
        theirs = (InvitationRow.session_id.in_(sessions), InvitationRow.state.in_(OPEN_INVITATIONS))
        unsettled = sa.select(InvitationRow.id).where(*theirs)
        fetch(connection, unsettled.order_by(InvitationRow.id).with_for_update())
    found = fetch(connection, sa.select(CustomerRow.__table__).where(CustomerRow.customer_id == customer_id))
    if not found:
        return None
    (row,) = found
    try:
        return FoundCustomer(row, read_person(keyring, customer_id, row.encrypted))
    except Erased:
        return FoundCustomer(row, None)


def case_of(
    connection: sa.Connection,
    keyring: Keyring,
    rules: DeskRules,
    customer: FoundCustomer,
    purpose: str | None,
    *,
    lock: bool,
    now: datetime,
) -> Case:
    """The case of a customer. Raises SeveralPurposes, types.NotKnown. `lock`: the row and its session are locked, in
    this order, as the check of ended sessions locks them."""
    customer_id = customer.row.customer_id

    def jobs() -> list[JobFacts]:
        return jobs_of(connection, [customer_id]).get(customer_id, [])

    of = purpose_of(jobs(), purpose)
    if lock:
        lock_serving(connection, lambda: _serving(_of(of, jobs())))
    every = jobs()  # as they are under the lock
    finished = _finished(_of(of, every))
    serving = _serving(_of(of, every))
    if serving is None:
        return Case(customer_id=customer_id, erased=customer.person is None, finished=finished)
    link = _session(connection, keyring, customer_id, known(serving), every, lock=lock)
    person = customer.person or Person()
    country, timezone = customer.row.country, customer.row.timezone
    stopped = stop_there(connection)
    return Case(
        customer_id=customer_id,
        erased=customer.person is None,
        stopped=stopped.in_words if stopped is not None else "",
        finished=finished,
        row=serving,
        link=link,
        sessions=usage.sessions_of(connection, [customer_id])[customer_id, serving.purpose],
        messages=usage.messages_of(connection, [customer_id])[customer_id].all,
        reissued_today=usage.reissues_today(connection, serving.account, lock=lock, now=now),
        settled_by=settled_by(serving, rules.orphans.get(serving.account, OrphanRule()), now=now),
        ways=_ways(connection, keyring, rules, customer_id, person) if customer.person is not None else {},
        zones=rules.contact.hours.zones_of(timezone=timezone, phone=person.phone, country=country)
        if rules.contact.hours.concern([*CHANNELS])
        else (),
    )


def purpose_of(jobs: Sequence[JobFacts], purpose: str | None) -> str:
    """The purpose that is asked about; without any rows, that of batches that are gone. Raises SeveralPurposes."""
    if purpose is not None:
        return purpose
    purposes = sorted({job.purpose for job in jobs if not job.purged} or {job.purpose for job in jobs})
    still = sorted({job.purpose for job in jobs if job.state in OPEN_JOBS})
    if len(purposes) > 1 and len(still) != 1:
        raise SeveralPurposes(", ".join(purposes))
    return next(iter(still or purposes), "")


def _of(purpose: str, jobs: Sequence[JobFacts]) -> list[JobFacts]:
    return [job for job in jobs if job.purpose == purpose]


def _serving(jobs: Sequence[JobFacts]) -> JobFacts | None:
    """The row that serves the customer: the leading one, else the newest that led."""
    led = [job for job in jobs if not (job.joined or job.purged)]
    leading = [job for job in led if job.state in OPEN_JOBS]
    return next(iter(leading), None) or (led[-1] if led else None)


def _finished(jobs: Sequence[JobFacts]) -> str | None:
    """The result, if the customer has finished for this purpose; a row of a new list would be skipped, too."""
    if any(job.state in OPEN_JOBS for job in jobs):
        return None
    # Those of batches that are gone come first.
    done = [job.result for job in jobs if job.state is JobState.COMPLETED and not job.cancelled_at]
    return done[-1] if done else None


def _session(
    connection: sa.Connection,
    keyring: Keyring,
    customer_id: str,
    job: JobFacts,
    jobs: Sequence[JobFacts],
    *,
    lock: bool,
) -> SessionFacts | None:
    if lock and job.session_id is not None:
        locked = sa.select(SessionRow.id).where(SessionRow.id == job.session_id)
        fetch(connection, locked.with_for_update(key_share=True))
    for one in sessions_of(connection, keyring, customer_id, jobs):
        if one.id == job.session_id:
            any(map(known, one.messages))
            return known(one)
    return None


def _ways(
    connection: sa.Connection, keyring: Keyring, rules: DeskRules, customer_id: str, person: Person
) -> dict[str, str]:
    found = reachable(connection, keyring, {customer_id: person})[customer_id]
    ways = {channel: "" if reason is None else detail_of(reason) for channel, reason in found.items()}
    if ways.get("sms") == "":
        ways["sms"] = why_not_texted(person.phone, rules.contact.countries)
    return ways


class Place(NamedTuple):
    """Where a customer stands for one purpose: by the last of the rows that served the customer."""

    standing: Standing
    batch_id: int
    row: int


@dataclass(frozen=True, repr=False)
class StoredCustomer:
    """A customer. `places` by purpose; a purpose without rows is not in it."""

    details: Stored
    places: dict[str, Place]


_JOBS = (
    sa.select(Job.customer_id, Job.purpose, Job.state, Job.batch_id, Job.row)
    .where(bulk.among(Job.customer_id, "customers"), Job.leader_id.is_(None))
    .where(sa.or_(Job.state != JobState.COMPLETED, OF_PRESENT_PERSON))
    .order_by(*AS_THEY_CAME)
)
_FINISHED = sa.select(Finished.__table__).where(bulk.among(Finished.customer_id, "customers"))


def stored_customers(database: Database, keyring: Keyring, customer_ids: Collection[str]) -> dict[str, StoredCustomer]:
    """The known ones of these customers, by id."""
    if not customer_ids:
        return {}
    given = {"customers": bulk.keys(set(customer_ids))}
    with database.read() as connection:
        details = details_of_customers(connection, keyring, customer_ids)
        jobs = fetch(connection, _JOBS, given)
        finished = {(row.customer_id, row.purpose): row for row in fetch(connection, _FINISHED, given)}
    found = {customer_id: StoredCustomer(one, {}) for customer_id, one in details.items()}
    rows: dict[tuple[str, str], list[Any]] = {}
    for job in jobs:
        rows.setdefault((job.customer_id, job.purpose), []).append(job)
    for key in {*rows, *finished}:
        own = rows.get(key, [])
        last = own[-1] if own else finished[key]
        standing = standing_of([job.state for job in own], finished=key in finished)
        if key[0] in found:
            found[key[0]].places[key[1]] = Place(standing, last.batch_id, last.row)
    return found
