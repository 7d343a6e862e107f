"""Customers, customers who have finished, and what is known of their addresses."""

import uuid
from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.database.tables.columns import ColumnOf, column
from onboarding_worker.core.database.tables.types import Base, BigId, partial
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel, CustomerKind


class CustomerRow(Base):
    """A customer, keyed by the list owner's own id."""

    __tablename__ = "customer"

    customer_id: ColumnOf[str] = column(sa.String(100), primary_key=True)
    sender: ColumnOf[str | None] = column(
        sa.String(64),
        server_default="",
        doc='The sender whose request made the customer known, its owner; "": a list, or our own code. NULL: an event'
        " about a customer who is not known is being taken; never committed.",
    )
    kind: ColumnOf[CustomerKind]
    country: ColumnOf[str] = column(sa.String(2))
    locale: ColumnOf[str] = column(sa.String(35))
    timezone: ColumnOf[str] = column(sa.String(64))
    encrypted: ColumnOf[bytes | None] = column(doc="The Person, encrypted; NULL once erased.")
    email_digest: ColumnOf[str | None] = column(
        sa.String(64),
        doc="A keyed hash of the email address, by which a person of the service desk finds the customer; NULL: the"
        " customer has none, or is erased.",
    )
    phone_digest: ColumnOf[str | None] = column(sa.String(64), doc="As `email_digest`, of the phone number.")
    details_at: ColumnOf[datetime | None] = column(
        doc="How old the customer's details are: the time of the event, or of the list's import, that they come from."
        " NULL: the customer is known only from events without details."
    )
    created_at: ColumnOf[datetime]
    changed_at: ColumnOf[datetime]

    # Customers with personal data, oldest first. The erasure uses this index and does not read erased customers again.
    __table_args__ = (
        partial("ix_customer_kept", "changed_at", "customer_id", where="encrypted IS NOT NULL"),
        partial("ix_customer_email", "email_digest", where="email_digest IS NOT NULL"),
        partial("ix_customer_phone", "phone_digest", where="phone_digest IS NOT NULL"),
    )


class PendingDetails(Base):
    """The details of a row that is not released: its list waits for a person, for its pilot, or for its start.

    They are applied to the customer once the row is released, and go with it when it is cancelled.
    """

    __tablename__ = "pending_details"

    job_id: ColumnOf[int] = column(BigId, primary_key=True, autoincrement=False)
    customer_id: ColumnOf[str] = column(sa.String(100), index=True)
    kind: ColumnOf[CustomerKind]
    country: ColumnOf[str] = column(sa.String(2))
    locale: ColumnOf[str] = column(sa.String(35))
    timezone: ColumnOf[str] = column(sa.String(64))
    encrypted: ColumnOf[bytes | None] = column(
        doc="The Person, encrypted. NULL: the customer was not known before, and what is stored of the customer is this"
        " row's."
    )
    given_at: ColumnOf[datetime] = column(doc="When the row was imported.")
    due_at: ColumnOf[datetime | None] = column(
        doc="From when on the row is released; NULL: its batch is paused since then, or it is behind the pilot."
    )

    __table_args__ = (partial("ix_pending_details_due", "due_at", where="due_at IS NOT NULL"),)


class Tombstone(Base):
    """A customer who was erased on request: a list does not make this customer known again."""

    __tablename__ = "tombstone"

    digest: ColumnOf[str] = column(sa.String(64), primary_key=True, doc="A keyed hash of the customer_id.")
    erased_at: ColumnOf[datetime] = column(doc="As of when: the command's time, or the event's.")
    final: ColumnOf[bool] = column(
        doc="A person has erased the customer: no event makes the customer known again. Else a later request does."
    )


class Finished(Base):
    """A customer who has finished for a purpose, kept after the purge of the job."""

    __tablename__ = "finished"

    customer_id: ColumnOf[str] = column(sa.ForeignKey("customer.customer_id"), primary_key=True)
    purpose: ColumnOf[str] = column(sa.String(64), primary_key=True)
    result: ColumnOf[str] = column(sa.String(16))
    batch_id: ColumnOf[int] = column(BigId, doc="The purged job's batch, for people.")
    row: ColumnOf[int]


class AddressPlace(Base):
    """The right to send one message to an address; an address has as many as `messages_per_address` allows.

    It is taken for a job before its session is opened, and for a message before it leaves. Another takes it again when
    it no longer counts (`rules.contact`).
    """

    __tablename__ = "address_place"

    digest: ColumnOf[str] = column(
        sa.String(64), primary_key=True, doc="A keyed hash of `contact.text_of_mailbox`: which address it is."
    )
    number: ColumnOf[int] = column(sa.SmallInteger, primary_key=True)
    job_id: ColumnOf[int] = column(BigId)
    invitation_id: ColumnOf[uuid.UUID | None] = column(doc="NULL: the job's message is not written yet.")
    taken_at: ColumnOf[datetime]
    version: ColumnOf[int] = column(doc="Counts the takings: two transactions cannot take the same place.")

    __table_args__ = (sa.Index("ix_address_place_taken", "taken_at"),)


class StableLink(Base):
    """Our own link for one customer and purpose: it leads to the session that lives, whichever that is."""

    __tablename__ = "stable_link"

    id: ColumnOf[uuid.UUID] = column(primary_key=True)
    customer_id: ColumnOf[str] = column(sa.String(100))
    purpose: ColumnOf[str] = column(sa.String(64))
    digest: ColumnOf[str] = column(sa.String(64), doc="A keyed hash of the link's secret part, which finds it.")
    encrypted: ColumnOf[bytes] = column(doc="The link's secret part, encrypted: it is sent again in reminders.")
    created_at: ColumnOf[datetime]
    ends_at: ColumnOf[datetime] = column(doc="It leads nowhere from then on; each first message puts it off.")
    opened_at: ColumnOf[datetime | None] = column(
        doc="The first opening that counts (the feature `stable_links`); NULL: not opened yet, as far as is known."
    )
    visited_at: ColumnOf[datetime | None] = column(
        doc="When a visitor was last led to a session. That visitor may have been a scanner."
    )
    visited_session: ColumnOf[uuid.UUID | None] = column(doc="The session that the last visitor was led to.")
    revoked_at: ColumnOf[datetime | None] = column(doc="It leads nowhere from then on, whatever its customer has.")

    __table_args__ = (sa.UniqueConstraint("customer_id", "purpose"), sa.UniqueConstraint("digest"))


class Suppression(Base):
    """An address that gets no messages, found by a keyed hash of `channels.text_of`."""

    __tablename__ = "suppression"

    digest: ColumnOf[str] = column(sa.String(64), primary_key=True)
    encrypted: ColumnOf[bytes] = column(doc="The text that was hashed, encrypted: to hash it by another key.")
    channel: ColumnOf[Channel]
    reason: ColumnOf[SuppressionReason] = column(doc="bounce, manual, stop or complaint.")
    source: ColumnOf[str] = column(sa.String(80), doc="A sender's name or a person's name.")
    created_at: ColumnOf[datetime]
    manual_by: ColumnOf[str | None] = column(
        sa.String(80),
        doc="The person with a manual entry under a stronger reason, which outlives that reason; NULL: no such entry.",
    )
    manual_at: ColumnOf[datetime | None] = column(doc="When the manual entry was made.")
