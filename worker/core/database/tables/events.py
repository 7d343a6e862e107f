"""Events that come in (inbox, webhooks) and events that go out (outbox)."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.tables.columns import ColumnOf, column
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH, Base, BigId, partial
from onboarding_worker.core.model.incoming import EventKind, Outcome


class Inbox(Base):
    """An event from another system, kept so that it is applied once and an older event cannot undo a newer one."""

    __tablename__ = "inbox"

    id: ColumnOf[uuid.UUID] = column(primary_key=True, doc="The id in GET /events/ID.")
    sender: ColumnOf[str] = column(sa.String(64), doc='Who sent it, as [web.senders.NAME]; "": our own code.')
    every_customer: ColumnOf[bool] = column(doc="Whether its sender reached every customer when it came.")
    source: ColumnOf[str] = column(sa.String(200))
    event_id: ColumnOf[str] = column(sa.String(200))
    digest: ColumnOf[str] = column(
        sa.String(64),
        doc="A keyed hash of the event's content: the same sender, source and id with other content is no duplicate.",
    )
    kind: ColumnOf[EventKind]
    customer_id: ColumnOf[str] = column(sa.String(100))
    purpose: ColumnOf[str] = column(sa.String(64))
    occurred_at: ColumnOf[datetime] = column(doc="By the producer's clock, but never later than received_at.")
    received_at: ColumnOf[datetime]
    signed_at: ColumnOf[datetime | None] = column(
        doc="When the newest signed message with this event was signed, by its sender's clock: a copy of that, or of an"
        " older one, gets no link. NULL: none was signed."
    )
    outcome: ColumnOf[Outcome] = column(doc="taken or ignored.")
    detail: ColumnOf[str] = column(sa.String(DETAIL_LENGTH))
    # No foreign key: the event outlives its job when the batch is purged.
    job_id: ColumnOf[int | None] = column(BigId, doc="The job that the event created, joined or ended.")
    encrypted: ColumnOf[bytes | None] = column(
        doc="The new columns of customer.updated, encrypted: an older request that arrives later must not undo them."
        " NULL: no columns; empty: erased."
    )

    __table_args__ = (
        sa.UniqueConstraint("sender", "source", "event_id"),
        sa.Index("ix_inbox_customer", "customer_id", "occurred_at"),
        sa.Index("ix_inbox_received", "received_at"),
        sa.Index("ix_inbox_job", "job_id"),
        # The rows that must be erased, a small part of all rows.
        partial("ix_inbox_encrypted", "received_at", where="length(encrypted) > 0"),
    )


class RefusedEvent(Base):
    """A message of the bus that was refused. The dead queue has its id and the reason, and nothing else of it."""

    __tablename__ = "refused_event"

    id: ColumnOf[uuid.UUID] = column(
        primary_key=True, doc="Made of a keyed hash of the message: what is refused again has the same id."
    )
    queue: ColumnOf[str] = column(sa.String(255), doc="The queue that it came from, and is put back into.")
    reason: ColumnOf[str] = column(sa.String(400), doc="In our own words; names no value of the message.")
    kind: ColumnOf[str] = column(sa.String(32), doc="The type of the event; empty: none that we know.")
    event: ColumnOf[str] = column(
        sa.String(64), doc="The event's own id, if it is plain and could be no address and no number; else empty."
    )
    size: ColumnOf[int] = column(doc="Bytes of its body.")
    customer_digest: ColumnOf[str | None] = column(
        sa.String(64), doc="A keyed hash of the customer_id that it names, to erase it; NULL: it names none."
    )
    refusals: ColumnOf[int] = column(doc="How often it was refused; who has seen an older one must not remove it.")
    refused_at: ColumnOf[datetime]
    due_at: ColumnOf[datetime] = column(doc="When it is removed.")
    encrypted: ColumnOf[bytes | None] = column(
        doc="The message and what is wrong with it, encrypted; NULL: it is too large, or its customer was erased."
    )

    __table_args__ = (
        sa.Index("ix_refused_event_refused", "refused_at"),
        sa.Index("ix_refused_event_due", "due_at"),
        partial("ix_refused_event_customer", "customer_digest", where="customer_digest IS NOT NULL"),
    )


class Outbox(Base):
    """A change of state that is not yet published to one target.

    The row is written in the transaction of the change and removed once the target has accepted the event. The events
    of one customer are published in the order of their numbers, one after the other.
    """

    __tablename__ = "outbox"

    id: ColumnOf[int] = column(BigId, primary_key=True)
    event_id: ColumnOf[uuid.UUID] = column(doc="The CloudEvent's id; it stays the same in each try.")
    target: ColumnOf[str] = column(sa.String(64), doc="bus, or subscriber/NAME.")
    kind: ColumnOf[str] = column(sa.String(32), doc="The CloudEvent's type.")
    customer_id: ColumnOf[str] = column(sa.String(100))
    data: ColumnOf[dict[str, Any]] = column(doc="No personal data, no token and no link.")
    occurred_at: ColumnOf[datetime]
    due_at: ColumnOf[datetime | None] = column(doc="NULL: given up.")
    since: ColumnOf[datetime] = column(doc="When it was written, retried by an operator, or given up.")
    attempts: ColumnOf[int]
    detail: ColumnOf[str] = column(sa.String(DETAIL_LENGTH), doc="Why the target did not accept it.")

    __table_args__ = (
        # By number, because events are published in this order.
        partial("ix_outbox_target", "target", "id", where="due_at IS NOT NULL"),
        sa.Index("ix_outbox_customer", "customer_id", "target", "id"),
        # Rows that are given up, or whose target is no longer configured, are removed later; mostly there are none.
        partial("ix_outbox_given_up", "since", where="due_at IS NULL"),
        # A number is never used twice, even if all earlier rows are removed: receivers order events by it.
        {"sqlite_autoincrement": True},
    )


class Webhook(Base):
    """A webhook of a provider or a sender: stored once by its digest, answered, and processed afterwards."""

    __tablename__ = "webhook"

    id: ColumnOf[uuid.UUID] = column(primary_key=True)
    source: ColumnOf[str] = column(sa.String(80), doc="account/NAME or sender/NAME.")
    digest: ColumnOf[str] = column(sa.String(64), doc="A keyed hash of the webhook's bytes.")
    event: ColumnOf[str] = column(sa.String(64), doc="The other side's name for the event.")
    received_at: ColumnOf[datetime]
    state: ColumnOf[str] = column(
        sa.String(16),
        doc="waiting, applied, ignored (nothing new), unknown (unmatched), alert (a person should look), broken (a bug"
        " of ours), or seen (a person has looked).",
    )
    due_at: ColumnOf[datetime | None] = column(doc="When to process it; NULL: it is processed.")
    attempts: ColumnOf[int]
    detail: ColumnOf[str] = column(sa.String(DETAIL_LENGTH))
    encrypted: ColumnOf[bytes | None] = column(
        doc="The parsed update, encrypted: ids, state, result and time, no other personal data. NULL once removed."
    )
    session_id: ColumnOf[uuid.UUID | None] = column(doc="The session that it is about, once known.")
    invitation_id: ColumnOf[uuid.UUID | None] = column(doc="The message that it is about, once known.")

    __table_args__ = (
        sa.UniqueConstraint("source", "digest"),
        partial("ix_webhook_due", "due_at", "id", where="due_at IS NOT NULL"),
        # The webhooks that a person should look at; few.
        partial("ix_webhook_listed", "received_at", where="state IN ('unknown', 'alert', 'broken')"),
        sa.Index("ix_webhook_received", "received_at"),
        # What came about a customer's sessions, for people. A webhook gets its session when it is processed, which
        # changes `due_at` and its index too.
        partial("ix_webhook_session", "session_id", where="session_id IS NOT NULL"),
    )
