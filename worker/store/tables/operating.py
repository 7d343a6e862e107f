"""The audit log, the processes that run, and when the last sweep began."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.tables.base import Base
from worker.store.tables.types import BigId


class Audit(Base):
    """An audit entry: a person or process that read or changed restricted data."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(sa.String(64))
    action: Mapped[str] = mapped_column(sa.String(40))
    subject: Mapped[str] = mapped_column(sa.String(200))


class ProcessRow(Base):
    """A process that runs on this database. It writes `seen_at` every few seconds, and removes the row at its end."""

    __tablename__ = "process"

    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True, doc="host:pid:random, as in `lease_owner`.")
    kind: Mapped[str] = mapped_column(sa.String(16), doc="The command: run, up, worker, web or bus.")
    host: Mapped[str] = mapped_column(sa.String(64))
    pid: Mapped[int]
    release: Mapped[str] = mapped_column(sa.String(32))
    batch_id: Mapped[int | None] = mapped_column(BigId, doc="The one batch that it works; NULL: all.")
    first_keys: Mapped[str] = mapped_column(
        sa.String(32), doc="The ids of the keys with which it encrypts and hashes, separated by a space."
    )
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class RetiredKey(Base):
    """A key that must encrypt and hash nothing any more: no process with it in the first place starts."""

    __tablename__ = "retired_key"

    key_id: Mapped[str] = mapped_column(sa.String(8), primary_key=True)
    at: Mapped[datetime]


class Timer(Base):
    """When something that workers share last happened."""

    __tablename__ = "timer"

    name: Mapped[str] = mapped_column(
        sa.String(16),
        primary_key=True,
        doc="sweep: a worker looked for due work; beat: the scheduler's wake-up came.",
    )
    at: Mapped[datetime]
