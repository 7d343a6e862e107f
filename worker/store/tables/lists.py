"""Lists as they came in, and how their messages fare."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.tables.base import Base
from worker.store.tables.types import BigId


class Batch(Base):
    """One imported customer list."""

    __tablename__ = "batch"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(255))
    digest: Mapped[str] = mapped_column(sa.String(64), doc="SHA-256 of the bytes: the same file is the same batch.")
    generation: Mapped[int] = mapped_column(doc="Counts the batches made of the same bytes with --again, from 1.")
    created_at: Mapped[datetime]
    imported_at: Mapped[datetime | None] = mapped_column(doc="When the last line was in; NULL: the import was cut off.")
    paused_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    purged_at: Mapped[datetime | None] = mapped_column(doc="Since when its rows go, or are gone; the totals stay.")
    totals: Mapped[dict[str, Any] | None] = mapped_column(
        sa.JSON(none_as_null=True), doc="What was counted of its rows before they went."
    )
    pause_reason: Mapped[str] = mapped_column(
        sa.String(400), server_default="", doc="Why it paused itself; empty: it did not, or was resumed since."
    )
    resumed_at: Mapped[datetime | None] = mapped_column(doc="When it was resumed last: its tally is counted anew.")
    last_row: Mapped[int | None] = mapped_column(
        doc="Of a standing batch, to which events add rows all day: the last row given out; NULL: it is a list's."
    )

    __table_args__ = (sa.UniqueConstraint("digest", "generation"),)


class SkippedLine(Base):
    """A line that became no job: refused with its problems, or the same customer as an earlier line."""

    __tablename__ = "skipped_line"

    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    duplicate_of: Mapped[int | None] = mapped_column(doc="The earlier row, for a duplicate; NULL: rejected.")
    customer_id: Mapped[str | None] = mapped_column(sa.String(100))
    problems: Mapped[list[dict[str, Any]]]


class BounceCount(Base):
    """A batch's messages, by the minute: what its pausing itself is decided from."""

    __tablename__ = "bounce_count"

    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"), primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    tried: Mapped[int]
    refused: Mapped[int]
    bounced: Mapped[int]
