"""Finds customers by id, email address or phone number, and reads a customer's history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Entry, note, note_alone
from onboarding_worker.core.database.database import Database, fetch, made_of
from onboarding_worker.core.database.encrypted_values import EMAIL, PHONE, Erased, read_person
from onboarding_worker.core.database.tables import Attempt, Audit, CustomerRow, SessionRow, Webhook
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.channels import CHANNELS, address_of, detail_of
from onboarding_worker.core.model.incoming import ACCOUNT
from onboarding_worker.core.model.states import DONE, NOT_SENT
from onboarding_worker.core.rows.suppressions import suppressed
from onboarding_worker.core.work.store.call_costs import not_carried_out
from onboarding_worker.features.service_desk.case import Wanted
from onboarding_worker.features.service_desk.timeline import MOST_FACTS, CallFact, History
from onboarding_worker.lists.decisions.row_addresses import is_among
from onboarding_worker.providers.values import masked_email, masked_phone
from onboarding_worker.reporting.store import ledger
from onboarding_worker.reporting.store.ledger import JobFacts, jobs_of

SEARCH = "text of a search"
MOST = 50  # customers of one search: an address may be shared by many


@dataclass(frozen=True)
class Found:
    """A customer that was found; the addresses are masked. `erased`: only the id and what happened are left.
    `unreadable`: what is stored cannot be read."""

    customer_id: str
    email: str
    phone: str
    erased: bool
    rows: Sequence[JobFacts]
    unreadable: bool = False


@dataclass(frozen=True, repr=False)
class Contact:
    """A customer's addresses in clear. Personal, so no repr."""

    email: str
    phone: str
    name: str


class Finder:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def find(self, wanted: Wanted) -> list[Found]:
        """The customers with this id, email address or phone number, at most MOST of them."""
        conditions = [CustomerRow.customer_id == wanted.customer_id] if wanted.customer_id else []
        if wanted.email:
            conditions.append(CustomerRow.email_digest.in_(self._keyring.digests(EMAIL, wanted.email)))
        if wanted.phones:
            digests = [one for phone in wanted.phones for one in self._keyring.digests(PHONE, phone)]
            conditions.append(CustomerRow.phone_digest.in_(digests))
        query = sa.select(CustomerRow.customer_id, CustomerRow.encrypted)
        with self._database.read() as connection:
            # One search for each condition, so that each uses its index.
            found = [sa.select(CustomerRow.customer_id).where(one).limit(MOST) for one in conditions]
            chosen = sorted({id_ for one in found for id_ in connection.execute(one).scalars()})[:MOST]
            theirs = query.where(CustomerRow.customer_id.in_(chosen))
            people = fetch(connection, theirs.order_by(CustomerRow.customer_id))
            rows = jobs_of(connection, chosen)
        return [_found(self._keyring, row, rows.get(row.customer_id, [])) for row in people]

    def country_of(self, customer_id: str) -> str:
        """The customer's country (alpha-2), for a phone number without a +; "" where it is not known."""
        query = sa.select(CustomerRow.country).where(CustomerRow.customer_id == customer_id)
        return self._database.value(query) or ""

    def contact(self, customer_id: str, *, now: datetime) -> Contact | None:
        """The addresses in clear; the audit log says who read them. None: nothing is stored. Raises CannotDecrypt."""
        query = sa.select(CustomerRow.encrypted).where(CustomerRow.customer_id == customer_id)
        with self._database.write() as connection:
            encrypted = connection.execute(query).scalar()
            try:
                person = read_person(self._keyring, customer_id, encrypted)
            except Erased:
                return None
            note(connection, f"customer {customer_id}", now=now, reason="contact details shown")
        name = " ".join(filter(None, (person.first_name, person.last_name))) or person.company_name
        return Contact(person.email, person.phone, name)

    def searched(self, text: str, *, now: datetime) -> None:
        """Note that a person has looked for this text. Its keyed digest shows who looked for the same one, and not what
        it is."""
        digest = self._keyring.digests(SEARCH, text.casefold())[0]
        note_alone(self._database, "customers", now=now, reason=f"searched for {digest}")

    def history(self, customer_id: str) -> History | None:
        """What has happened to a customer; None: there is no customer with that id."""
        with self._database.read() as connection:
            facts = ledger.facts_of(connection, self._keyring, customer_id)
            if facts is None:
                return None
            jobs = facts.jobs[-MOST_FACTS:]
            return History(
                facts,
                calls=_calls(connection, [job.id for job in jobs]),
                stopped=_stopped(connection, self._keyring, customer_id),
                news=_news(connection, customer_id),
                acts=_acts(connection, customer_id, jobs),
            )


def _found(keyring: Keyring, row: Any, rows: Sequence[JobFacts]) -> Found:
    try:
        person = read_person(keyring, row.customer_id, row.encrypted)
    except (CannotDecrypt, Erased) as error:
        return Found(row.customer_id, "", "", row.encrypted is None, rows, isinstance(error, CannotDecrypt))
    return Found(row.customer_id, masked_email(person.email), masked_phone(person.phone), False, rows)


def _calls(connection: sa.Connection, job_ids: Sequence[int]) -> list[CallFact]:
    """Calls that ended otherwise than well: a good one is seen by its session or message. One that was written down and
    not made is none: a busy account's row may have a dozen of them."""
    made = sa.or_(Attempt.outcome.is_(None), Attempt.outcome != NOT_SENT)
    failed = sa.or_(Attempt.outcome.is_(None), Attempt.outcome != DONE, Attempt.reconciles.is_not(None))
    call = aliased(Attempt)
    found_nothing = sa.and_(
        Attempt.outcome == DONE, Attempt.found == "", Attempt.invitation_id.is_(None), not_carried_out(call)
    )
    channel = sa.case((Attempt.invitation_id.is_not(None), Attempt.account), else_="")
    query = (
        sa.select(
            *(Attempt.opened_at, Attempt.account, channel),
            *(sa.func.coalesce(Attempt.outcome, ""), Attempt.status, Attempt.detail, Attempt.reconciles.is_not(None)),
            sa.func.coalesce(found_nothing, sa.false()),
        )
        .join(call, call.id == Attempt.reconciles, isouter=True)
        .where(Attempt.job_id.in_(job_ids), made, failed)
        .order_by(Attempt.opened_at.desc(), Attempt.id.desc())
        .limit(MOST_FACTS)
    )
    return [CallFact(*row) for row in connection.execute(query)]


def _stopped(connection: sa.Connection, keyring: Keyring, customer_id: str) -> dict[str, str]:
    """By channel, why the customer's address gets no messages."""
    encrypted = sa.select(CustomerRow.encrypted).where(CustomerRow.customer_id == customer_id)
    try:
        person = read_person(keyring, customer_id, connection.execute(encrypted).scalar())
    except (CannotDecrypt, Erased):
        return {}
    addresses = [(channel, address_of(person, channel)) for channel in CHANNELS]
    found = suppressed(connection, keyring, addresses, renew=False)
    return {channel: detail_of(reason) for (channel, _), reason in found.items()}


def _news(connection: sa.Connection, customer_id: str) -> Sequence[Any]:
    # The session's account: accounts that share a key for webhooks are stored under one name.
    query = (
        sa.select(Webhook.received_at.label("at"), SessionRow.account, Webhook.event, Webhook.state)
        .join(SessionRow, SessionRow.id == Webhook.session_id)
        .where(SessionRow.customer_id == customer_id)
        .order_by(Webhook.received_at.desc())
        .limit(MOST_FACTS)
    )
    return fetch(connection, query)


def _acts(connection: sa.Connection, customer_id: str, jobs: Sequence[JobFacts]) -> list[Entry]:
    """What people did for the customer, and to the batches of its rows or to these rows."""
    subjects = {f"customer {customer_id}"}
    several: dict[str, int] = {}  # the row by the subject of a decision about some rows, which its reason names
    for job in jobs:
        batch = f"batch {job.batch}"
        for place in (batch, f"{batch} row {job.row}"):
            subjects |= {place, f"{place} of {job.own_account}"}
        several |= {f"{batch} rows": job.row, f"{batch} rows of {job.own_account}": job.row}
    query = sa.select(Audit.at, Audit.actor, Audit.action, Audit.subject, Audit.reason)
    # The moments of webhooks, and the session's own, show what a webhook changed.
    query = query.where(Audit.subject.in_(sorted(subjects | several.keys())), Audit.actor.not_like(f"{ACCOUNT}%"))
    query = query.order_by(Audit.id.desc())
    return [
        made_of(Entry, row)
        for row in fetch(connection, query.limit(MOST_FACTS))
        if row.subject not in several or is_among(several[row.subject], row.reason.partition(";")[0])
    ]
