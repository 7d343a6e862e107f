"""Remembers who was erased on request, by keyed hashes of their ids: no list and no event brings them back unasked. And
erases the personal data that belongs to jobs; the rest of their rows stays: ids, states, times."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import fetch, insert
from worker.core.database.encrypted_values import CUSTOMER, ERASED
from worker.core.database.journal import Happened, Note, note
from worker.core.database.tables import (
    Attempt,
    CustomerRow,
    InvitationRow,
    Job,
    Outbox,
    PendingDetails,
    SessionRow,
    Tombstone,
    Webhook,
)
from worker.core.foundation.keyring import Keyring
from worker.core.model.sessions import EXTERNAL_REF
from worker.core.model.states import SessionState

BY_EVENT = "the customer was erased on request: only `onboard import --allow-erased` brings the customer back"


@dataclass(frozen=True)
class Erasure:
    """When a customer was erased, and whether events cannot undo that."""

    at: datetime
    final: bool


def bury(connection: sa.Connection, keyring: Keyring, customer_id: str, at: datetime, *, final: bool) -> None:
    """Remember that this customer was erased. What is final stays final, and keeps the time of the first erasure.

    Of two erasures by events the later one counts: an event from between them must not bring the customer back.
    """
    digest = keyring.digests(CUSTOMER, customer_id)[0]
    note(connection, Happened.ERASED, [digest], as_of=at, final=final)
    _bury(connection, [{"digest": digest, "erased_at": at, "final": final}])


def bury_again(connection: sa.Connection, noted: Sequence[Note]) -> list[str]:
    """Remember who was erased as a journal has noted; returns the digests of those who were not known as erased."""
    if not noted:
        return []
    digests = [one.digest for one in noted]
    known = {row.digest for row in fetch(connection, _FOUND, {"digests": bulk.keys(digests)})}
    _bury(connection, [{"digest": one.digest, "erased_at": one.as_of, "final": one.final} for one in noted])
    return [digest for digest in digests if digest not in known]


def _bury(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    new = insert(Tombstone, connection.dialect.name)
    is_final = sa.or_(Tombstone.final, new.excluded.final)
    kept = {
        "erased_at": sa.case((is_final, Tombstone.erased_at), else_=new.excluded.erased_at),
        "final": is_final,
    }
    statement = new.on_conflict_do_update(index_elements=["digest"], set_=kept)
    connection.execute(statement, rows)


_FOUND = sa.select(Tombstone.digest, Tombstone.erased_at, Tombstone.final).where(
    bulk.among(Tombstone.digest, "digests")
)
_ANY = sa.select(sa.exists(sa.select(Tombstone.digest)))


def erased_among(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> Mapping[str, Erasure]:
    # Most databases have none: then nothing is hashed.
    if not customer_ids or not connection.execute(_ANY).scalar_one():
        return {}
    by_digest = {digest: one for one in customer_ids for digest in keyring.digests(CUSTOMER, one)}
    rows = fetch(connection, _FOUND, {"digests": bulk.keys(by_digest)})
    return {by_digest[row.digest]: Erasure(row.erased_at, row.final) for row in rows}


def bring_back(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> None:
    digests = [digest for one in customer_ids for digest in keyring.digests(CUSTOMER, one)]
    gone = sa.delete(Tombstone).where(bulk.among(Tombstone.digest, "digests"))
    connection.execute(gone, {"digests": bulk.keys(digests)})
    note(connection, Happened.BROUGHT_BACK, digests)


def erase_jobs(connection: sa.Connection, ids: Collection[int]) -> Counter[str]:
    """Erase the personal data of these jobs' lines, their sessions' links, what was said about their calls, and the
    copies of webhooks about them."""
    sessions = sa.select(SessionRow.id).where(SessionRow.job_id.in_(ids))
    messages = sa.select(InvitationRow.id).where(InvitationRow.job_id.in_(ids))
    links = sa.update(SessionRow).where(SessionRow.job_id.in_(ids), SessionRow.encrypted != ERASED)
    # Their own links are gone: a later list must not take their messages for its own.
    unbought = sa.update(SessionRow).where(SessionRow.job_id.in_(ids), SessionRow.state == SessionState.UNBOUGHT)
    connection.execute(unbought.values(check_at=None))
    words = sa.update(Attempt).where(Attempt.job_id.in_(ids), Attempt.encrypted.is_not(None))
    copies = sa.update(Webhook).where(
        # One that is still to be applied holds a state and a time, and is emptied as soon as it is applied.
        Webhook.due_at.is_(None),
        Webhook.encrypted.is_not(None),
        sa.or_(Webhook.session_id.in_(sessions), Webhook.invitation_id.in_(messages)),
    )
    # Only jobs that hold data: each updated job row costs writes to six indexes.
    lines = sa.update(Job).where(Job.id.in_(ids), Job.encrypted.is_not(None), Job.encrypted != ERASED)
    waiting = sa.delete(PendingDetails).where(PendingDetails.job_id.in_(ids))
    _forget_external_refs(connection, ids)
    return Counter(
        {
            "links and tokens": connection.execute(links.values(encrypted=ERASED)).rowcount,
            "words of providers and senders": connection.execute(words.values(encrypted=None)).rowcount,
            "copies of webhooks": connection.execute(copies.values(encrypted=None)).rowcount,
            "details that waited": connection.execute(waiting).rowcount,
            "values of lists": connection.execute(lines.values(encrypted=ERASED)).rowcount,
        }
    )


def _forget_external_refs(connection: sa.Connection, ids: Collection[int]) -> None:
    """Where a provider names a session by the list's external_ref, put the number of the job in its place, by which
    webhooks find the session too. So do events that are not published yet."""
    columns = (SessionRow.id, SessionRow.job_id, SessionRow.customer_id, SessionRow.reference, SessionRow.references)
    for row in connection.execute(sa.select(*columns).where(SessionRow.job_id.in_(ids))).all():
        if EXTERNAL_REF not in row.references:
            continue
        kept = {name: value for name, value in row.references.items() if name != EXTERNAL_REF}
        named = row.reference == row.references[EXTERNAL_REF]
        values = {"references": kept, "reference": str(row.job_id) if named else row.reference}
        connection.execute(sa.update(SessionRow).where(SessionRow.id == row.id).values(values))
        if named:
            _rename_in_outbox(connection, row.customer_id, row.reference, str(row.job_id))


def _rename_in_outbox(connection: sa.Connection, customer_id: str, before: str, now: str) -> None:
    waiting = sa.select(Outbox.id, Outbox.data).where(Outbox.customer_id == customer_id).order_by(Outbox.id)
    for row in connection.execute(waiting).all():
        if row.data.get("session") == before:
            renamed = sa.update(Outbox).where(Outbox.id == row.id)
            connection.execute(renamed.values(data=row.data | {"session": now}))


def erase_again(connection: sa.Connection, job_ids: Collection[int]) -> None:
    """Erase what a call has brought for customers who were erased while it was on its way."""
    erased = sa.select(Job.id, Job.customer_id).join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
    erased = erased.where(Job.id.in_(job_ids), CustomerRow.encrypted.is_(None))
    if rows := connection.execute(erased).all():
        erase_jobs(connection, [row.id for row in rows])
