"""Imported lists, their skipped lines, and the counts of their messages."""

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
    digest: Mapped[str] = mapped_column(
        sa.String(64), doc="SHA-256 of the file's bytes: the same file is the same batch."
    )
    generation: Mapped[int] = mapped_column(doc="Number of the batch among those of the same bytes (--again), from 1.")
    created_at: Mapped[datetime]
    imported_at: Mapped[datetime | None] = mapped_column(
        doc="When the last line was imported; NULL: the import is not complete."
    )
    paused_at: Mapped[datetime | None] = mapped_column(
        doc="When the last row was paused. NULL while `pause_cause` is set: the sweep pauses the rest of the rows."
    )
    cancelled_at: Mapped[datetime | None]
    purged_at: Mapped[datetime | None] = mapped_column(doc="When the purge of its rows began; the totals stay.")
    totals: Mapped[dict[str, Any] | None] = mapped_column(
        sa.JSON(none_as_null=True), doc="The counts of its rows from before the purge."
    )
    pause_cause: Mapped[str] = mapped_column(
        sa.String(16), server_default="", doc="A PauseCause; empty: the batch is not paused."
    )
    pause_reason: Mapped[str] = mapped_column(
        sa.String(400), server_default="", doc="Who paused it and when, or why it paused itself; empty: not paused."
    )
    resumed_at: Mapped[datetime | None] = mapped_column(doc="When it was last resumed: bounces count from then on.")
    last_row: Mapped[int | None] = mapped_column(
        doc="The last row number that a daily batch has given out; events add rows to it all day. NULL: a list's batch."
    )

    __table_args__ = (sa.UniqueConstraint("digest", "generation"),)


class SkippedLine(Base):
    """A line that did not become a job: it was refused, or it has the same customer as an earlier line."""

    __tablename__ = "skipped_line"

    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    duplicate_of: Mapped[int | None] = mapped_column(doc="The earlier row of the same customer; NULL: refused.")
    customer_id: Mapped[str | None] = mapped_column(sa.String(100))
    problems: Mapped[list[dict[str, Any]]]


class BatchCount(Base):
    """How many rows of a batch are alike. Triggers on the tables of work keep the counts (migration 0002)."""

    __tablename__ = "batch_count"

    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(
        sa.String(8), primary_key=True, doc="job (jobs that joined no other), message (first ones), call, or look_up."
    )
    state: Mapped[str] = mapped_column(
        sa.String(16), primary_key=True, doc="A JobState, an InvitationState, or a call's outcome; empty: it is open."
    )
    channel: Mapped[str] = mapped_column(sa.String(8), primary_key=True, doc="Of jobs and messages.")
    account: Mapped[str] = mapped_column(sa.String(64), primary_key=True, doc="Of jobs and calls.")
    result: Mapped[str] = mapped_column(sa.String(16), primary_key=True, doc="Of jobs.")
    reason: Mapped[str] = mapped_column(
        sa.String(40), primary_key=True, doc="Why a row waits for a later hour; `suppressed`: of a job that failed so."
    )
    rows: Mapped[int]
    sessions: Mapped[int] = mapped_column(doc="How many of the jobs have a session.")


class BatchCountChange(Base):
    """What one statement changed of a `BatchCount`, until the sweep adds it up.

    PostgreSQL only: so no transaction waits for a count that another one changes.
    """

    __tablename__ = "batch_count_change"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    batch_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(sa.String(8))
    state: Mapped[str] = mapped_column(sa.String(16))
    channel: Mapped[str] = mapped_column(sa.String(8))
    account: Mapped[str] = mapped_column(sa.String(64))
    result: Mapped[str] = mapped_column(sa.String(16))
    reason: Mapped[str] = mapped_column(sa.String(40))
    rows: Mapped[int]
    sessions: Mapped[int]


class BounceCount(Base):
    """A batch's messages by the minute. These counts decide whether the batch pauses itself."""

    __tablename__ = "bounce_count"

    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"), primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    tried: Mapped[int]
    refused: Mapped[int]
    bounced: Mapped[int]
