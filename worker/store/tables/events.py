"""What others tell us, and what they are told."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.domain.events.incoming import EventKind, Outcome
from worker.store.tables.base import Base
from worker.store.tables.types import BigId, partial


class Inbox(Base):
    """An event of another system that was taken, so that it is taken once, and older ones can be told from newer."""

    __tablename__ = "inbox"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, doc="Its address: GET /events/ID.")
    source: Mapped[str] = mapped_column(sa.String(200))
    event_id: Mapped[str] = mapped_column(sa.String(200))
    digest: Mapped[str] = mapped_column(
        sa.String(64), doc="A keyed hash of what it said: the same source and id with other content is no duplicate."
    )
    kind: Mapped[EventKind]
    customer_id: Mapped[str] = mapped_column(sa.String(100))
    purpose: Mapped[str] = mapped_column(sa.String(64))
    occurred_at: Mapped[datetime] = mapped_column(doc="By the producer's clock, and never after it was received.")
    received_at: Mapped[datetime]
    outcome: Mapped[Outcome] = mapped_column(doc="taken or ignored.")
    detail: Mapped[str] = mapped_column(sa.String(400))
    # No foreign key: it outlives its job when the batch is purged.
    job_id: Mapped[int | None] = mapped_column(BigId, doc="The job that it made, or joined, or ended.")
    encrypted: Mapped[bytes | None] = mapped_column(
        doc="Of customer.updated, the new columns, encrypted: an older request that comes later must not undo them."
        " NULL: nothing is kept; empty once erased."
    )

    __table_args__ = (
        sa.UniqueConstraint("source", "event_id"),
        sa.Index("ix_inbox_customer", "customer_id", "occurred_at"),
        sa.Index("ix_inbox_received", "received_at"),
        sa.Index("ix_inbox_job", "job_id"),
        # What is to be erased: little of what is there.
        partial("ix_inbox_encrypted", "received_at", where="length(encrypted) > 0"),
    )


class Outbox(Base):
    """A change of state that somebody is yet to be told of; written with the change, removed once it was taken there.

    Each customer's go in the order of their numbers, one after the other.
    """

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    event_id: Mapped[uuid.UUID] = mapped_column(doc="The CloudEvent's id: the same however often it is sent.")
    target: Mapped[str] = mapped_column(sa.String(64), doc="bus, or subscriber/NAME.")
    kind: Mapped[str] = mapped_column(sa.String(32), doc="The CloudEvent's type.")
    customer_id: Mapped[str] = mapped_column(sa.String(100))
    data: Mapped[dict[str, Any]] = mapped_column(doc="Nothing personal, no token and no link.")
    occurred_at: Mapped[datetime]
    due_at: Mapped[datetime | None] = mapped_column(doc="NULL: given up.")
    since: Mapped[datetime] = mapped_column(doc="When it was written, put back by a person, or given up.")
    attempts: Mapped[int]
    detail: Mapped[str] = mapped_column(sa.String(400), doc="Why it was not taken there.")

    __table_args__ = (
        # By number, since that is the order they go in.
        partial("ix_outbox_target", "target", "id", where="due_at IS NOT NULL"),
        sa.Index("ix_outbox_customer", "customer_id", "target", "id"),
        # Those that are given up, or whose target is nobody's any more, go after their time; mostly there are none.
        partial("ix_outbox_given_up", "since", where="due_at IS NULL"),
        # A number is never given out twice, though all rows before it are gone: receivers order by it.
        {"sqlite_autoincrement": True},
    )


class Webhook(Base):
    """What a provider or a sender told us: taken once by its digest, answered, and worked off afterwards."""

    __tablename__ = "webhook"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(sa.String(80), doc="account/NAME or sender/NAME.")
    digest: Mapped[str] = mapped_column(sa.String(64), doc="A keyed hash of its bytes.")
    event: Mapped[str] = mapped_column(sa.String(64), doc="What the other side calls it.")
    received_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(
        sa.String(16),
        doc="waiting, applied, ignored (nothing new), unknown (nobody's), alert (a person should look), or broken (a"
        " bug of ours).",
    )
    due_at: Mapped[datetime | None] = mapped_column(doc="When to work it off; NULL: it is done with.")
    attempts: Mapped[int]
    detail: Mapped[str] = mapped_column(sa.String(400))
    encrypted: Mapped[bytes | None] = mapped_column(
        doc="What was read of it, encrypted: ids, state, result, time, nothing personal else. NULL once it is let go."
    )
    session_id: Mapped[uuid.UUID | None] = mapped_column(doc="The session that it was about, once that is known.")
    invitation_id: Mapped[uuid.UUID | None] = mapped_column(doc="The message that it was about, once that is known.")

    __table_args__ = (
        sa.UniqueConstraint("source", "digest"),
        partial("ix_webhook_due", "due_at", "id", where="due_at IS NOT NULL"),
        # What a person should look at: few.
        partial("ix_webhook_listed", "received_at", where="state IN ('unknown', 'alert', 'broken')"),
        sa.Index("ix_webhook_received", "received_at"),
    )
