"""The audit log, processes, who is logged in, and whether a person stopped everything.

The budgets of accounts and senders, the permits of dispatchers, and the count of reissues.
"""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.core.database.tables.types import Base, BigId, index, partial


class Audit(Base):
    """An audit entry: who did what. The database refuses to change or delete it (migration 0001, its triggers).

    The feature `audit` gives it its place in the chain, once: `number` and `hash`.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, doc="Numbers of transactions that failed are left out.")
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(sa.String(200))
    action: Mapped[str] = mapped_column(sa.String(64), doc="The command's words, or the event's type.")
    subject: Mapped[str] = mapped_column(sa.String(200), doc="A customer's id at most: nothing else of a person.")
    count: Mapped[int]
    reason: Mapped[str] = mapped_column(sa.String(200))
    number: Mapped[int | None] = mapped_column(BigId, doc="Its place in the chain; NULL: not sealed yet.")
    hash: Mapped[str | None] = mapped_column(sa.String(64), doc="Its hash in the chain.")

    __table_args__ = (
        partial("uq_audit_number", "number", where="number IS NOT NULL", unique=True),
        partial("ix_audit_unsealed", "id", where="number IS NULL"),
        # Entries are stored in the order of their times, so an index of PostgreSQL's pages is enough, and costs little.
        index("ix_audit_at", "at", postgresql_using="brin"),
        sa.Index("ix_audit_subject", "subject", "id"),
        {"sqlite_autoincrement": True},
    )


class AuditHead(Base):
    """The end of the audit log's chain, and its beginning once old entries were removed. One row, which is signed."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, doc="Always 1.")
    number: Mapped[int] = mapped_column(BigId, doc="The number of the newest sealed entry; 0: there is none.")
    hash: Mapped[str] = mapped_column(sa.String(64))
    removed_to: Mapped[int] = mapped_column(BigId, doc="Entries up to this number were removed by retention.")
    removed_hash: Mapped[str] = mapped_column(sa.String(64), doc="The hash of the newest removed entry.")
    digest: Mapped[str | None] = mapped_column(
        sa.String(64), doc="Its signature: a keyed hash of its numbers and hashes; NULL: not signed yet."
    )


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


class EmergencyStop(Base):
    """A person has stopped everything. While the row is there, no process claims a row or begins a call."""

    __tablename__ = "emergency_stop"

    id: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False, doc="Always 1.")
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(sa.String(200), doc="The person who stopped everything.")
    reason: Mapped[str] = mapped_column(sa.String(200), doc="Why, in the person's words; empty: none was given.")


class Timer(Base):
    """When something that workers share last happened."""

    __tablename__ = "timer"

    name: Mapped[str] = mapped_column(
        sa.String(16),
        primary_key=True,
        doc="sweep: a worker looked for due work; beat: the scheduler's wake-up came; wake: another wake-up came;"
        " mark: the journal said how far the database has come (`reporting.store.processes`);"
        " refused: a process refused to seal the audit log.",
    )
    at: Mapped[datetime]


class LogIn(Base):
    """A person who is logged in to the dashboard. The row is removed when the person logs out, or is away too long."""

    __tablename__ = "log_in"

    digest: Mapped[str] = mapped_column(
        sa.String(64), primary_key=True, doc="SHA-256 of the random text in the cookie."
    )
    name: Mapped[str] = mapped_column(
        sa.String(80), doc="Of the file of users, or oidc:NAME of the issuer; empty: came with the key to look."
    )
    entry: Mapped[str] = mapped_column(
        sa.String(64),
        doc="SHA-256 over the role and the password's hash, or [oidc]: once they change, the row counts no more.",
    )
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class Budget(Base):
    """What an account or a sender may still do. Accounts that the provider counts together share one row."""

    __tablename__ = "budget"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    next_at: Mapped[datetime | None] = mapped_column(doc="From here on all slots are free; NULL: none was reserved.")
    left_at: Mapped[datetime | None] = mapped_column(
        doc="From here to `next_at` every other slot is free: it was left out for other workers. NULL: none is."
    )
    even_at: Mapped[datetime | None] = mapped_column(
        doc="Where the next slot would be if no call had gone ahead of the even pace; NULL: none may."
    )
    ahead_at: Mapped[datetime | None] = mapped_column(doc="From here on the next call may go ahead; NULL: none may.")
    last_at: Mapped[datetime | None] = mapped_column(doc="The last slot, where calls may go ahead; NULL: not known.")
    blocked_until: Mapped[datetime | None] = mapped_column(doc="End of the pause: the budget was rate-limited.")
    pause_reason: Mapped[str] = mapped_column(sa.String(400))
    paused_at: Mapped[datetime | None] = mapped_column(doc="When the last pause began; older calls change nothing.")
    pauses: Mapped[int] = mapped_column(doc="Pauses in a row without a success; each doubles the next pause.")
    probe_until: Mapped[datetime | None] = mapped_column(
        doc="Until then a single call is in flight that finds out whether the pause is over."
    )
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str] = mapped_column(sa.String(400))
    asks_again_at: Mapped[datetime | None] = mapped_column(
        doc="When one call finds out whether the stop is over (refused credentials); NULL: a person must act."
    )
    credits_used: Mapped[int] = mapped_column(doc="Calls that cost a credit, or may have cost one.")
    credits_day: Mapped[date | None] = mapped_column(doc="The UTC day of the last of them; NULL: there was none.")
    credits_today: Mapped[int] = mapped_column(server_default="0", doc="How many of them on that day.")
    credits_week: Mapped[int] = mapped_column(server_default="0", doc="How many in its week so far, from Monday.")
    credits_month: Mapped[int] = mapped_column(server_default="0", doc="How many in its month so far.")
    failures: Mapped[int] = mapped_column(doc="Failed calls in a row, over all rows.")
    opened_at: Mapped[datetime | None] = mapped_column(
        doc="When the breaker opened, after too many failures in a row; NULL: the breaker is closed."
    )
    unproven: Mapped[bool] = mapped_column(
        doc="The sender did not answer, or was not tried since a start: no session is opened for its messages."
    )
    ramp_from: Mapped[datetime | None] = mapped_column(
        doc="When the first message left under a ramp ([email] ramp), which counts its days from then; NULL: none has."
    )
    pace_rate: Mapped[float | None] = mapped_column(
        sa.Double, doc="Calls per second that the provider was found to allow; NULL: as configured."
    )
    pace_good: Mapped[float | None] = mapped_column(sa.Double)
    pace_refused_from: Mapped[float | None] = mapped_column(sa.Double)
    pace_granted: Mapped[float] = mapped_column(sa.Double, doc="Recent calls; older calls weigh less.")
    pace_refused: Mapped[float] = mapped_column(sa.Double)
    pace_counted_at: Mapped[datetime | None]
    pace_refused_at: Mapped[datetime | None]
    pace_lowered_at: Mapped[datetime | None]
    pace_raised_at: Mapped[datetime | None]
    pace_trial_rate: Mapped[float | None] = mapped_column(sa.Double)
    pace_trial_share: Mapped[float] = mapped_column(sa.Double)
    pace_habit: Mapped[float] = mapped_column(sa.Double)
    pace_habit_at: Mapped[datetime | None]
    measured_calls: Mapped[float] = mapped_column(sa.Double, doc="Calls that ended while rows waited, for forecasts.")
    measured_seconds: Mapped[float] = mapped_column(sa.Double, doc="The busy time of these calls; it fades.")
    measured_until: Mapped[datetime | None]


class Permit(Base):
    """How many calls in flight one dispatcher may have on one budget, and until when it need not renew this."""

    __tablename__ = "permit"

    budget: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(160), primary_key=True, doc="The process and its account.")
    permits: Mapped[int]
    until: Mapped[datetime]


class ReissueCount(Base):
    """How many sessions an account opened on a UTC day for customers whose previous session ended unused."""

    __tablename__ = "reissue_count"

    account: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    count: Mapped[int]


class TextCount(Base):
    """How many texts left to a country in an hour, and how often one had to wait because of the cap."""

    __tablename__ = "text_count"

    country: Mapped[str] = mapped_column(sa.String(8), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    count: Mapped[int]
    refused: Mapped[int]
