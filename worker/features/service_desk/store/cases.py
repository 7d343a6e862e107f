"""Reads what is stored for the decisions of the service desk: the case of one customer; and of the customers of a
report that comes back their details, and where each stands."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.customers.customers import Details, Person
from onboarding_worker.core.customers.store import usage
from onboarding_worker.core.customers.store.in_review import OTHER_IN_REVIEW
from onboarding_worker.core.customers.store.suppressions import reachable
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch, known, made_of
from onboarding_worker.core.database.encrypted_values import ERASED, Erased, read_person
from onboarding_worker.core.database.job_ids import AS_THEY_CAME
from onboarding_worker.core.database.tables import Batch, CustomerRow, Finished, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.lifecycle.reissue import asked_since_end
from onboarding_worker.core.messages.text_numbers import why_not_texted
from onboarding_worker.core.model.channels import CHANNELS, detail_of
from onboarding_worker.core.model.states import OPEN_INVITATIONS, OPEN_JOBS, PRIORITIES, JobState, Result, SessionState
from onboarding_worker.core.unknown.reconciliation import OrphanRule
from onboarding_worker.features.service_desk.case import Case, DeskRules, Link, Message, Row
from onboarding_worker.lists.decisions.store.emergency_stop import stop_there
from onboarding_worker.lists.known_customers import Standing, standing_of
from onboarding_worker.lists.store.admission import OF_PRESENT_PERSON, finished_in_purged, lock_customers, lock_serving
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
    rows = _rows(connection, customer_id)
    purged = {row.purpose: row.result for row in finished_in_purged(connection, [customer_id])}
    purpose = _purpose(rows, purged, purpose)
    if lock:
        lock_serving(connection, lambda: _serving(_of(purpose, _rows(connection, customer_id))))
        rows = _rows(connection, customer_id)  # as they are under the lock
    rows = _of(purpose, rows)
    finished = _finished(rows, purged.get(purpose))
    serving = _serving(rows)
    if serving is None:
        return Case(customer_id=customer_id, erased=customer.person is None, finished=finished)
    known(serving)
    link = _session(connection, serving.session_id, lock=lock)
    person = customer.person or Person()
    country, timezone = customer.row.country, customer.row.timezone
    stopped = stop_there(connection)
    return Case(
        customer_id=customer_id,
        erased=customer.person is None,
        stopped=stopped.in_words if stopped is not None else "",
        finished=finished,
        row=made_of(
            Row,
            serving,
            number=serving.row,
            floor=timedelta(seconds=serving.floor_seconds),
            cancelled=serving.over_at is not None,
            paused=bool(serving.pause_cause) or serving.priority not in PRIORITIES,
            pausing=bool(serving.pause_cause) and serving.paused_at is None,
            outcome_unknown=serving.unknown_attempt is not None,
            settled_by=settled_by(connection, serving, rules.orphans.get(serving.account, OrphanRule()), now=now),
            pressed=serving.link_requested_at is not None,
        ),
        link=made_of(
            Link,
            link,
            asked=asked_since_end(link.asked_at, link.expires_at),
            in_review=link.result == Result.REVIEW or link.in_review_before,
            readable=link.state is SessionState.DEFERRED or bytes(link.encrypted) != ERASED,
            given_away=bool(link.given_away) and not link.same_link,
        )
        if link is not None
        else None,
        sessions=usage.sessions_of(connection, [customer_id])[customer_id, serving.purpose],
        messages=usage.messages_of(connection, [customer_id])[customer_id].all,
        reissued_today=usage.reissues_today(connection, serving.account, lock=lock, now=now),
        of_link=[] if link is None else _messages(connection, link.id),
        ways=_ways(connection, keyring, rules, customer_id, person) if customer.person is not None else {},
        zones=rules.contact.hours.zones_of(timezone=timezone, phone=person.phone, country=country)
        if rules.contact.hours.concern([*CHANNELS])
        else (),
    )


def _rows(connection: sa.Connection, customer_id: str) -> list[Any]:
    over_at = sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).label("over_at")
    query = sa.select(Job.__table__, over_at, Batch.pause_cause, Batch.paused_at).join(Batch, Batch.id == Job.batch_id)
    return fetch(connection, query.where(Job.customer_id == customer_id).order_by(*AS_THEY_CAME))


def _purpose(rows: list[Any], purged: Collection[str], purpose: str | None) -> str:
    """The purpose that is asked about. `purged`: those for which the customer finished in batches that are gone."""
    if purpose is not None:
        return purpose
    purposes = sorted({row.purpose for row in rows} or purged)
    still = sorted({row.purpose for row in rows if row.state in OPEN_JOBS})
    if len(purposes) > 1 and len(still) != 1:
        raise SeveralPurposes(", ".join(purposes))
    return next(iter(still or purposes), "")


def _of(purpose: str, rows: list[Any]) -> list[Any]:
    return [row for row in rows if row.purpose == purpose]


def _serving(rows: list[Any]) -> Any | None:
    """The row that serves the customer: the leading one, else the newest that led."""
    led = [row for row in rows if row.leader_id is None]
    leading = [row for row in led if row.state in OPEN_JOBS]
    return next(iter(leading), None) or (led[-1] if led else None)


def _finished(rows: list[Any], purged: str | None) -> str | None:
    """The result, if the customer has finished for this purpose; a row of a new list would be skipped, too."""
    if any(row.state in OPEN_JOBS for row in rows):
        return None
    done: list[str] = [row.result for row in rows if row.state is JobState.COMPLETED and not row.cancelled_at]
    return done[-1] if done else purged


def _session(connection: sa.Connection, session_id: Any, *, lock: bool) -> Any | None:
    if session_id is None:
        return None
    query = sa.select(
        *(SessionRow.id, SessionRow.account, SessionRow.state, SessionRow.result, SessionRow.expires_at),
        *(SessionRow.asked_at, SessionRow.encrypted, SessionRow.given_away, SessionRow.same_link),
        OTHER_IN_REVIEW.label("in_review_before"),
    ).where(SessionRow.id == session_id)
    found = fetch(connection, query.with_for_update(key_share=True) if lock else query)
    return known(found[0]) if found else None


def _messages(connection: sa.Connection, session_id: Any) -> list[Message]:
    query = sa.select(InvitationRow.__table__).where(InvitationRow.session_id == session_id)
    return [
        made_of(Message, row, unknown=row.unknown_attempt is not None)
        for row in map(known, fetch(connection, query.order_by(InvitationRow.created_at, InvitationRow.id)))
    ]


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
