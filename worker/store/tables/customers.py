"""Customers, which of them have finished, and the addresses that are not written to."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.domain.model.customers import Channel, CustomerKind
from worker.store.tables.base import Base
from worker.store.tables.types import BigId, partial


class CustomerRow(Base):
    """A customer, keyed by the list owner's own id."""

    __tablename__ = "customer"

    customer_id: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    kind: Mapped[CustomerKind]
    country: Mapped[str] = mapped_column(sa.String(2))
    locale: Mapped[str] = mapped_column(sa.String(35))
    timezone: Mapped[str] = mapped_column(sa.String(64))
    encrypted: Mapped[bytes | None] = mapped_column(doc="The Person, encrypted; NULL once erased.")
    details_at: Mapped[datetime | None] = mapped_column(
        doc="Of when the whole row is that they were last taken from: an event's own time, or that of a list's import."
        " NULL: nothing is known of the customer but events without a row."
    )
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    # Those whose personal data is there, oldest first: for its erasure, which must not look at the erased ones again.
    __table_args__ = (partial("ix_customer_kept", "changed_at", "customer_id", where="encrypted IS NOT NULL"),)


class Finished(Base):
    """A customer who has finished for a purpose, once the job that says so has been purged."""

    __tablename__ = "finished"

    customer_id: Mapped[str] = mapped_column(sa.ForeignKey("customer.customer_id"), primary_key=True)
    purpose: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    result: Mapped[str] = mapped_column(sa.String(16))
    batch_id: Mapped[int] = mapped_column(BigId, doc="Where the job was; with its row, for the person who asks.")
    row: Mapped[int]


class Suppression(Base):
    """An address that is not to be written to, as a keyed hash of `suppression.text_of`."""

    __tablename__ = "suppression"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(
        sa.String(8), doc="Which key of the ring made the digest: without that key it is never found again."
    )
    channel: Mapped[Channel]
    reason: Mapped[str] = mapped_column(sa.String(16), doc="bounce, manual, stop or complaint.")
    source: Mapped[str] = mapped_column(sa.String(80), doc="Who said so: a sender's name, or a person's.")
    created_at: Mapped[datetime]
    manual_by: Mapped[str | None] = mapped_column(
        sa.String(80),
        doc="The person whose own entry is beneath a stronger reason, and outlives it; NULL: there is none.",
    )
    manual_at: Mapped[datetime | None] = mapped_column(doc="When that entry was made.")
