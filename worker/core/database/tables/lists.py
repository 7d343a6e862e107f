"""Imported lists, their skipped lines, and the counts of their messages."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.tables.columns import ColumnOf, column
from onboarding_worker.core.database.tables.types import Base, BigId, partial


class Batch(Base):
    """One imported customer list."""

    __tablename__ = "batch"

    id: ColumnOf[int] = column(BigId, primary_key=True)
    name: ColumnOf[str] = column(sa.String(255))
    digest: ColumnOf[str] = column(sa.String(64), doc="SHA-256 of the file's bytes: the same file is the same batch.")
    generation: ColumnOf[int] = column(doc="Number of the batch among those of the same bytes (--again), from 1.")
    created_at: ColumnOf[datetime]
    imported_at: ColumnOf[datetime | None] = column(
        doc="When the last line was imported; NULL: the import is not complete."
    )
    paused_at: ColumnOf[datetime | None] = column(
        doc="When the last row was paused. NULL while `pause_cause` is set: the sweep pauses the rest of the rows."
    )
    cancelled_at: ColumnOf[datetime | None]
    changing_since: ColumnOf[datetime | None] = column(
        doc="When a resume or a cancel began to change the rows, in transactions of their own. The sweep finishes it if"
        " its command died. NULL: all rows follow the batch."
    )
    purged_at: ColumnOf[datetime | None] = column(doc="When the purge of its rows began; the totals stay.")
    totals: ColumnOf[dict[str, Any] | None] = column(
        sa.JSON(none_as_null=True), doc="The counts of its rows from before the purge."
    )
    pause_cause: ColumnOf[str] = column(
        sa.String(16), server_default="", doc="A PauseCause; empty: the batch is not paused."
    )
    pause_reason: ColumnOf[str] = column(
        sa.String(400), server_default="", doc="Who paused it and when, or why it paused itself; empty: not paused."
    )
    resumed_at: ColumnOf[datetime | None] = column(doc="When it was last resumed: bounces count from then on.")
    last_row: ColumnOf[int | None] = column(
        doc="The last row number that a daily batch has given out; events add rows to it all day. NULL: a list's batch."
    )

    planned: ColumnOf[bool] = column(
        server_default=sa.false(), doc="It has a `BatchPlan`: a pilot, a start, a pace or a deadline."
    )

    __table_args__ = (sa.UniqueConstraint("digest", "generation"),)


class BatchPlan(Base):
    """How a batch goes out: its pilot, its start, its pace. A batch without these has none."""

    __tablename__ = "batch_plan"

    batch_id: ColumnOf[int] = column(sa.ForeignKey("batch.id"), primary_key=True, autoincrement=False)
    start_at: ColumnOf[datetime | None] = column(doc="No session and no message before then.")
    per_hour: ColumnOf[int | None] = column(doc="The most first invitations in an hour.")
    most_credits: ColumnOf[int | None] = column(doc="The most credits that its rows may cost; NULL: no cap.")
    deadline: ColumnOf[datetime | None] = column(doc="The rows are ordered so that most are sent by then.")
    issue_next_at: ColumnOf[datetime | None] = column(doc="The next free place of that pace, for sessions.")
    send_next_at: ColumnOf[datetime | None] = column(doc="The same, for first messages.")
    first: ColumnOf[str] = column(sa.String(16), doc="The pilot's rows, as 100 or 2%; empty: there is no pilot.")
    condition: ColumnOf[str] = column(sa.String(400), doc="When the rest goes out; empty: a person decides.")
    last_row: ColumnOf[int | None] = column(doc="The pilot's last row; NULL: the import is not complete.")
    released_at: ColumnOf[datetime | None] = column(doc="When the pilot's rows became due.")
    sent_at: ColumnOf[datetime | None] = column(
        doc="When each of the pilot's rows was out, had ended or was held: the condition's time begins."
    )
    verdict: ColumnOf[str] = column(sa.String(16), doc="met, not_met, or person; empty: not yet.")
    verdict_at: ColumnOf[datetime | None]
    numbers: ColumnOf[str] = column(sa.String(400), doc="What the verdict was taken on, for people.")
    check_at: ColumnOf[datetime | None] = column(doc="When the sweep looks again; NULL: nothing is left to do.")

    __table_args__ = (partial("ix_batch_plan_check", "check_at", where="check_at IS NOT NULL"),)


class DroppedFile(Base):
    """A file in a folder of [[intake]], and what became of it. Without a name: the folder itself, while it is away.

    A process takes a file by writing `until` and `owner`: so one process takes it, and another one after a kill.
    """

    __tablename__ = "dropped_file"

    folder: ColumnOf[str] = column(sa.String(64), primary_key=True, doc="The folder's name in the configuration.")
    name: ColumnOf[str] = column(sa.String(255), primary_key=True)
    stamp: ColumnOf[str] = column(sa.String(120), doc="Its size, times and number on its disk, as last seen.")
    seen_at: ColumnOf[datetime] = column(doc="Since when it was seen so: it has stopped growing after a while.")
    state: ColumnOf[str] = column(sa.String(16), doc="A FileState.")
    reason: ColumnOf[str] = column(sa.String(400), doc="Why it is refused or put off, without personal values.")
    digest: ColumnOf[str] = column(sa.String(64), doc="SHA-256 of what was taken; empty: nothing was.")
    batch_id: ColumnOf[int | None] = column(sa.ForeignKey("batch.id"))
    reported: ColumnOf[str] = column(sa.String(16), doc="The state in its last report: sent, finished; or empty.")
    tries: ColumnOf[int] = column(doc="How often its import was begun and neither ended nor was released.")
    until: ColumnOf[datetime | None] = column(doc="Until when no other process takes it.")
    owner: ColumnOf[str] = column(sa.String(80), doc="The process that has taken it; empty: none has.")


class UploadedList(Base):
    """A list that a person gave in the browser, until it is a batch. Its bytes are in `UploadedPart`.

    A process takes it, to check or import it, by writing `until` and `owner`.
    """

    __tablename__ = "uploaded_list"

    id: ColumnOf[int] = column(BigId, primary_key=True)
    name: ColumnOf[str] = column(sa.String(255))
    digest: ColumnOf[str] = column(sa.String(64), doc="SHA-256 of its bytes; empty: they have not all come.")
    size: ColumnOf[int] = column(doc="In bytes.")
    state: ColumnOf[str] = column(sa.String(16), doc="An UploadState.")
    uploaded_by: ColumnOf[str] = column(sa.String(200))
    uploaded_at: ColumnOf[datetime]
    version: ColumnOf[int] = column(doc="Grows when it is read in another way: people agree to one version.")
    agreed: ColumnOf[list[str]] = column(sa.JSON(), doc="Who has agreed to this version.")
    encrypted: ColumnOf[bytes] = column(doc="How it is read, its check, and proofs of who agreed; empty at the end.")
    reason: ColumnOf[str] = column(sa.String(400), doc="Why it was refused, or who agreed and counts no more.")
    batch_id: ColumnOf[int | None] = column(sa.ForeignKey("batch.id"))
    tries: ColumnOf[int] = column(doc="How often a process took it and neither ended nor released it.")
    until: ColumnOf[datetime | None] = column(doc="Until when no other process takes it.")
    owner: ColumnOf[str] = column(sa.String(80), doc="The process that has taken it; empty: none has.")


class UploadedPart(Base):
    """A part of the bytes of an uploaded list, or of the file of its problems. Gone once the list has ended."""

    __tablename__ = "uploaded_part"

    id: ColumnOf[int] = column(BigId, primary_key=True)
    list_id: ColumnOf[int] = column(sa.ForeignKey("uploaded_list.id"))
    what: ColumnOf[str] = column(sa.String(16), doc="list or problems.")
    number: ColumnOf[int] = column(doc="Its place, from 0.")
    encrypted: ColumnOf[bytes]

    __table_args__ = (sa.UniqueConstraint("list_id", "what", "number"),)


class SkippedLine(Base):
    """A line that did not become a job: refused, of the same customer as an earlier line, or of a known customer."""

    __tablename__ = "skipped_line"

    batch_id: ColumnOf[int] = column(sa.ForeignKey("batch.id"), primary_key=True)
    row: ColumnOf[int] = column(primary_key=True, autoincrement=False)
    duplicate_of: ColumnOf[int | None] = column(doc="The earlier row of the same customer; NULL: refused.")
    known: ColumnOf[str | None] = column(
        sa.String(200), doc="Of a customer who is known: what became of the row, without personal data."
    )
    customer_id: ColumnOf[str | None] = column(sa.String(100))
    problems: ColumnOf[list[dict[str, Any]]]


class BatchCount(Base):
    """How many rows of a batch are alike. Triggers on the tables of work keep the counts (migration 0002)."""

    __tablename__ = "batch_count"

    batch_id: ColumnOf[int] = column(sa.ForeignKey("batch.id"), primary_key=True)
    kind: ColumnOf[str] = column(
        sa.String(8), primary_key=True, doc="job (jobs that joined no other), message (first ones), call, or look_up."
    )
    state: ColumnOf[str] = column(
        sa.String(16), primary_key=True, doc="A JobState, an InvitationState, or a call's outcome; empty: it is open."
    )
    channel: ColumnOf[str] = column(sa.String(8), primary_key=True, doc="Of jobs and messages.")
    account: ColumnOf[str] = column(sa.String(64), primary_key=True, doc="Of jobs and calls.")
    result: ColumnOf[str] = column(sa.String(16), primary_key=True, doc="Of jobs.")
    reason: ColumnOf[str] = column(
        sa.String(40), primary_key=True, doc="Why a row waits for a later hour; `suppressed`: of a job that failed so."
    )
    rows: ColumnOf[int]
    sessions: ColumnOf[int] = column(doc="How many of the jobs have a session.")


class BatchCountChange(Base):
    """What one statement changed of a `BatchCount`, until the sweep adds it up.

    PostgreSQL only: so no transaction waits for a count that another one changes.
    """

    __tablename__ = "batch_count_change"

    id: ColumnOf[int] = column(BigId, primary_key=True)
    batch_id: ColumnOf[int] = column(BigId)
    kind: ColumnOf[str] = column(sa.String(8))
    state: ColumnOf[str] = column(sa.String(16))
    channel: ColumnOf[str] = column(sa.String(8))
    account: ColumnOf[str] = column(sa.String(64))
    result: ColumnOf[str] = column(sa.String(16))
    reason: ColumnOf[str] = column(sa.String(40))
    rows: ColumnOf[int]
    sessions: ColumnOf[int]


class BounceCount(Base):
    """A batch's messages by the minute. These counts decide whether the batch pauses itself."""

    __tablename__ = "bounce_count"

    batch_id: ColumnOf[int] = column(sa.ForeignKey("batch.id"), primary_key=True)
    minute: ColumnOf[datetime] = column(primary_key=True)
    tried: ColumnOf[int]
    refused: ColumnOf[int]
    bounced: ColumnOf[int]
