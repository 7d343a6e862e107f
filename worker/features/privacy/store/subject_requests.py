"""What a person may ask for who is a customer: to be erased, with a proof, or to see what is stored. A command erases
as the event `customer.erased` does, by the same function."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import tables
from onboarding_worker.core.database.audit_entries import ACT, note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import (
    CUSTOMER,
    ERASED,
    Erased,
    context_of_refused,
    decrypt_line,
    decrypt_update,
    decrypt_words,
    person_as_json,
    read_person,
)
from onboarding_worker.core.database.job_ids import AS_THEY_CAME, batch_of, new_id, row_of
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import Attempt, CustomerRow, Inbox, Job, PendingDetails, RefusedEvent
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.foundation.notation import written, written_if_any
from onboarding_worker.core.model.channels import CHANNELS, address_of, detail_of
from onboarding_worker.core.model.incoming import OPERATOR, EventKind
from onboarding_worker.core.rows.suppressions import Address, has_address, release, suppressed
from onboarding_worker.events.standing import Arrival, EarlierEvents, NewEvent
from onboarding_worker.events.store import unmatched_webhooks
from onboarding_worker.events.store.event_customers import HeldCustomers, erase_customer
from onboarding_worker.events.store.refused_events import about
from onboarding_worker.lists.store.admission import finished_in_purged
from onboarding_worker.lists.store.new_rows import erased_among

OUTSIDE = "backups, logs of the database, reports and lists outside of the database"
# The columns of a row that are shown as they are.
_OF_JOB = (
    *("row", "purpose", "channel", "template", "brand", "account", "route", "entity_id", "consent", "state", "reason"),
    *("detail", "result", "created_at", "changed_at"),
)
_WEBHOOKS = sa.select(
    *(tables.Webhook.received_at, tables.Webhook.source, tables.Webhook.event, tables.Webhook.state)
).order_by(tables.Webhook.received_at)
UNREADABLE, ERASED_VALUE = "no key of the ring decrypts it", "erased"


@dataclass(frozen=True)
class Proof:
    """What was erased. `text` is one line of JSON; the audit log has its SHA-256."""

    facts: Mapping[str, Any]
    text: str
    sha256: str


class SubjectRequests:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def uploaded(self) -> list[int]:
        """The uploaded lists that are not imported yet: any of them may name the customer."""
        with self._database.read() as connection:
            return _uploaded(connection)

    def is_known(self, customer_id: str) -> bool:
        """True if anything is stored under this id."""
        digests = self._keyring.digests(CUSTOMER, customer_id)
        queries = (
            sa.select(CustomerRow.customer_id).where(CustomerRow.customer_id == customer_id),
            sa.select(Inbox.id).where(Inbox.customer_id == customer_id),
            # Who never became a customer: each row was left out, or the customer was erased before the first one.
            sa.select(tables.Tombstone.digest).where(tables.Tombstone.digest.in_(digests)),
            sa.select(tables.SkippedLine.row).where(tables.SkippedLine.customer_id == customer_id),
        )
        with self._database.read() as connection:
            stored = any(connection.execute(query.limit(1)).first() is not None for query in queries)
            return stored or bool(about(connection, self._keyring, digests))

    def erase(self, customer_id: str, *, reason: str, forget_suppressed: bool, now: datetime) -> Proof:
        """Erase a customer for good: no list and no event brings the customer back unasked. Safe to repeat."""
        erase = partial(self._erase, customer_id, reason=reason, forget_suppressed=forget_suppressed, now=now)
        proof = outlive_deadlocks(erase)
        with suppress(sa.exc.OperationalError):  # it is erased: the proof counts, and the timer empties the log later
            self._database.forget_erased()
        return proof

    def _erase(self, customer_id: str, *, reason: str, forget_suppressed: bool, now: datetime) -> Proof:
        with self._database.write() as connection:
            # As an event does: locks the row, or holds its place against an import of the same moment.
            arrival = Arrival(OPERATOR, "", "", EventKind.ERASED, customer_id, "", now, ())
            event = NewEvent(new_id(now), arrival)
            held = HeldCustomers(connection, self._keyring, [event], now=now)
            encrypted = held.by_id[customer_id].encrypted
            addresses = _addresses(self._keyring, customer_id, encrypted)
            counts = erase_customer(connection, self._keyring, customer_id, now, EarlierEvents(), final=True, now=now)
            kept = set(suppressed(connection, self._keyring, addresses))
            if forget_suppressed:
                forgotten = {one for one in kept if not self._has_another(connection, customer_id, one)}
                for address in sorted(forgotten):
                    release(connection, self._keyring, *address)
                counts["suppressed addresses"] = len(forgotten)
                kept -= forgotten
            held.remove_empty([event])
            facts = {
                "document": "erasure of a customer",
                "customer": customer_id,
                "erased_at": written(now),
                "by": connection.get_execution_options()[ACT].actor,
                "reason": reason,
                "erased": {name: counts[name] for name in sorted(counts)},
                "kept": {
                    "suppressed addresses found": len(kept),
                    "suppressed addresses of earlier or unreadable details": "until they are lifted",
                    "uploaded lists, until they are imported or discarded, 7 days at most": _uploaded(connection),
                    "your own id, consent, states, times and the providers' references": "in the rows of lists",
                    "hashes of addresses that had messages": "for the time in messages_per_address",
                    "a keyed hash of your own id": "so that no list and no event brings the customer back",
                    "entries of the audit log": "they name your own id at most",
                    "refused events that name no customer": "until their time is over",
                    "webhooks that match no session and have no id of yours": "until their time is over",
                    OUTSIDE: "see docs/features/privacy.md",
                },
            }
            text = json.dumps(facts, ensure_ascii=False, sort_keys=True)
            proof = Proof(facts, text, sha256(f"{text}\n".encode()).hexdigest())
            told = f"proof sha256 {proof.sha256}" + (f"; {reason}" if reason else "")
            note(connection, f"customer {customer_id}", now=now, count=sum(counts.values()), reason=told)
        return proof

    def _has_another(self, connection: sa.Connection, customer_id: str, address: Address) -> bool:
        theirs = sa.exists().where(CustomerRow.customer_id != customer_id, has_address(self._keyring, *address))
        return connection.execute(sa.select(theirs)).scalar_one()

    def export(self, customer_id: str, *, now: datetime) -> dict[str, Any]:
        """All that is stored about a customer, as JSON values, without tokens and links. Goes into the audit log."""
        with self._database.write() as connection:
            known = sa.select(CustomerRow.__table__).where(CustomerRow.customer_id == customer_id)
            customer = connection.execute(known).one_or_none()
            own = sa.select(Job.__table__).where(Job.customer_id == customer_id)
            jobs = fetch(connection, own.order_by(*AS_THEY_CAME))
            job_ids = [job.id for job in jobs]
            encrypted = None if customer is None else customer.encrypted
            erased = erased_among(connection, self._keyring, [customer_id]).get(customer_id)
            person: dict[str, Any] | None = None
            if customer is not None:
                person = {"known_since": written(customer.created_at)}
                person |= {"details_from": written_if_any(customer.details_at)} | _details(self._keyring, customer)
            kept = suppressed(connection, self._keyring, _addresses(self._keyring, customer_id, encrypted))
            unmatched = unmatched_webhooks.about(connection, self._keyring, customer_id)
            shown = {name: _shown(connection, query) for name, query in _queries(customer_id, job_ids).items()}
            facts = {
                "customer": customer_id,
                "exported_at": written(now),
                "erased": written_if_any(erased.at if erased else None),
                "person": person,
                "details_that_wait": self._waiting(connection, customer_id),
                "rows": [_job(self._keyring, job) for job in jobs],
                "finished_in_purged_batches": [
                    {"batch": row.batch_id, "row": row.row, "purpose": row.purpose, "result": row.result}
                    for row in finished_in_purged(connection, [customer_id])
                ],
                "rows_left_out": shown["rows_left_out"],
                "sessions": shown["sessions"],
                "own_links": shown["own_links"],
                "messages": shown["messages"],
                "calls": shown["calls"],
                "said_by_providers_and_senders": self._words(connection, job_ids),
                "events": self._events(connection, customer_id),
                "refused_events": self._refused(connection, customer_id),
                "webhooks": shown["webhooks"],
                "webhooks_that_match_no_session": _shown(connection, _WEBHOOKS.where(tables.Webhook.id.in_(unmatched))),
                "outgoing_events": shown["outgoing_events"],
                "uploaded_lists_not_searched": _uploaded(connection),
                "suppressed": [
                    {"channel": channel, "address": address, "why": detail_of(reason)}
                    for (channel, address), reason in kept.items()
                ],
                "audit_log": shown["audit_log"],
            }
            note(connection, f"customer {customer_id}", now=now, reason="all that is stored was shown")
        return facts

    def _waiting(self, connection: sa.Connection, customer_id: str) -> list[dict[str, Any]]:
        """The details of rows that are not released."""
        query = sa.select(PendingDetails.__table__).where(PendingDetails.customer_id == customer_id)
        rows = fetch(connection, query.where(PendingDetails.encrypted.is_not(None)).order_by(PendingDetails.job_id))
        return [
            {"batch": batch_of(row.job_id), "row": row_of(row.job_id)} | _details(self._keyring, row) for row in rows
        ]

    def _words(self, connection: sa.Connection, job_ids: Sequence[int]) -> list[dict[str, Any]]:
        query = sa.select(Attempt.__table__).where(Attempt.job_id.in_(job_ids), Attempt.encrypted.is_not(None))
        return [
            {
                "at": written_if_any(row.closed_at),
                "account": row.account,
                "words": _read(decrypt_words, self._keyring, row.id, row.encrypted),
            }
            for row in fetch(connection, query.order_by(Attempt.opened_at, Attempt.id))
        ]

    def _events(self, connection: sa.Connection, customer_id: str) -> list[dict[str, Any]]:
        query = sa.select(Inbox.__table__).where(Inbox.customer_id == customer_id).order_by(Inbox.received_at, Inbox.id)
        found = []
        for row in fetch(connection, query):
            facts = {"id": str(row.id), "type": str(row.kind), "sender": row.sender, "source": row.source}
            facts |= {"occurred_at": written(row.occurred_at), "received_at": written(row.received_at)}
            if row.encrypted and row.encrypted != ERASED:
                facts["columns"] = _read(decrypt_update, self._keyring, row.id, row.encrypted)
            found.append(facts)
        return found

    def _refused(self, connection: sa.Connection, customer_id: str) -> list[dict[str, Any]]:
        ids = about(connection, self._keyring, self._keyring.digests(CUSTOMER, customer_id))
        query = sa.select(RefusedEvent.__table__).where(RefusedEvent.id.in_(ids))
        found = []
        for row in fetch(connection, query.order_by(RefusedEvent.refused_at)):
            facts = {"id": str(row.id), "reason": row.reason, "refused_at": written(row.refused_at)}
            if row.encrypted is not None:
                facts["message"] = _read(self._keyring.decrypt, row.encrypted, context=context_of_refused(row.id))
            found.append(facts)
        return found


def _addresses(keyring: Keyring, customer_id: str, encrypted: bytes | None) -> list[tuple[str, str]]:
    """The addresses of a customer, as far as a key decrypts them."""
    try:
        person = read_person(keyring, customer_id, encrypted)
    except (CannotDecrypt, Erased):
        return []
    found = {name: address_of(person, name) for name, facts in CHANNELS.items() if facts.listed_as == name}
    return [(name, address) for name, address in found.items() if address]


def _read(decrypt: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What is decrypted, or why it cannot be."""
    try:
        return decrypt(*arguments, **options)
    except Erased:
        return ERASED_VALUE
    except CannotDecrypt:
        return UNREADABLE


def _details(keyring: Keyring, row: Any) -> dict[str, Any]:
    facts = {"kind": row.kind.value, "country": row.country, "locale": row.locale, "timezone": row.timezone}
    return facts | _decrypted(lambda: person_as_json(read_person(keyring, row.customer_id, row.encrypted)))


def _job(keyring: Keyring, job: Any) -> dict[str, Any]:
    facts = {"batch": job.batch_id} | {name: _value(getattr(job, name)) for name in _OF_JOB}
    return facts | _decrypted(lambda: vars(decrypt_line(keyring, job.batch_id, job.row, job.encrypted)))


def _decrypted(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read()
    except Erased:
        return {"erased": True}
    except CannotDecrypt:
        return {"unreadable": UNREADABLE}


def _uploaded(connection: sa.Connection) -> list[int]:
    list_id = tables.UploadedPart.list_id
    return list(connection.execute(sa.select(list_id).distinct().order_by(list_id)).scalars())


def _queries(customer_id: str, job_ids: Sequence[int]) -> dict[str, sa.Select[Any]]:
    """What is shown of a customer by the names of columns alone."""
    line, session, link, message = tables.SkippedLine, tables.SessionRow, tables.StableLink, tables.InvitationRow
    call, webhook, event, entry = Attempt, tables.Webhook, tables.Outbox, tables.Audit
    sessions = sa.select(session.id).where(session.customer_id == customer_id)
    messages = sa.select(message.id).where(message.job_id.in_(job_ids))
    return {
        # The rows of lists that became no job: refused, a duplicate, or of a customer who was known.
        "rows_left_out": sa.select(line.batch_id.label("batch"), line.row, line.duplicate_of, line.known, line.problems)
        .where(line.customer_id == customer_id)
        .order_by(line.batch_id, line.row),
        "sessions": sa.select(
            *(session.purpose, session.account, session.reference, session.references, session.state),
            *(session.result, session.issued_at, session.expires_at),
        )
        .where(session.customer_id == customer_id)
        .order_by(session.issued_at, session.id),
        # Never their secret part.
        "own_links": sa.select(
            *(link.purpose, link.created_at, link.ends_at, link.opened_at, link.visited_at, link.revoked_at)
        )
        .where(link.customer_id == customer_id)
        .order_by(link.purpose),
        "messages": sa.select(
            *(message.channel, message.kind, message.state, message.reason, message.reference),
            *(message.created_at, message.sent_at),
        )
        .where(message.job_id.in_(job_ids))
        .order_by(message.created_at, message.id),
        # What was said in them is shown apart.
        "calls": sa.select(
            *(call.opened_at.label("at"), call.closed_at.label("ended_at"), call.account, call.outcome),
            *(call.status, call.code, call.detail),
        )
        .where(call.job_id.in_(job_ids))
        .order_by(call.opened_at, call.id),
        "webhooks": _WEBHOOKS.where(sa.or_(webhook.session_id.in_(sessions), webhook.invitation_id.in_(messages))),
        # That their targets have not accepted yet.
        "outgoing_events": sa.select(event.kind.label("type"), event.target, event.occurred_at, event.data)
        .where(event.customer_id == customer_id)
        .order_by(event.id),
        "audit_log": sa.select(entry.at, entry.actor, entry.action, entry.reason)
        .where(entry.subject == f"customer {customer_id}")
        .order_by(entry.id),
    }


def _shown(connection: sa.Connection, query: sa.Executable) -> list[dict[str, Any]]:
    """The rows of a query, by the names of its columns, as JSON values."""
    return [{name: _value(value) for name, value in row._asdict().items()} for row in fetch(connection, query)]


def _value(stored: Any) -> Any:
    if isinstance(stored, datetime):
        return written(stored)
    return stored.value if isinstance(stored, Enum) else stored
