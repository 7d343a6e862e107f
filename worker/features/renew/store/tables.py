"""The table of renewals."""

import uuid
from datetime import datetime

import sqlalchemy as sa

from worker.core.database.tables.columns import ColumnOf, column
from worker.core.database.tables.types import NAMING, Base, partial

TABLES = sa.MetaData(naming_convention=NAMING)


class RenewalRow(Base):
    """A customer's newest approval for a purpose, and whether it was asked to be renewed."""

    metadata = TABLES
    __tablename__ = "renewal"

    customer_id: ColumnOf[str] = column(sa.String(100), primary_key=True)
    purpose: ColumnOf[str] = column(sa.String(64), primary_key=True)
    session_id: ColumnOf[uuid.UUID] = column(doc="The session in which the customer was approved.")
    approved_at: ColumnOf[datetime]
    over_at: ColumnOf[datetime | None] = column(doc="When it was asked for, or given up; NULL: neither.")
    why: ColumnOf[str] = column(sa.String(40), server_default="", doc="Why it was given up, or put off.")
    job_id: ColumnOf[int | None] = column(sa.BigInteger(), doc="The job that asks again.")
    next_at: ColumnOf[datetime | None] = column(doc="It is not looked at again before then.")

    __table_args__ = (
        partial("ix_renewal_due", "approved_at", "customer_id", where="over_at IS NULL"),
        partial("ix_renewal_over", "over_at", where="over_at IS NOT NULL"),
    )
