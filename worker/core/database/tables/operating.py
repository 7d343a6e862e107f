"""The audit log, processes, who is logged in, and whether a person stopped everything.

The budgets of accounts and senders, the permits of dispatchers, and the count of reissues.
"""

from datetime import date, datetime

import sqlalchemy as sa

from onboarding_worker.core.database.tables.columns import ColumnOf, column
from onboarding_worker.core.database.tables.types import Base, BigId, index, partial


class Audit(Base):
    """An audit entry: who did what. The database refuses to change or delete it (migration 0001, its triggers).

    The feature `audit` gives it its place in the chain, once: `number` and `hash`.
    """

    __tablename__ = "audit"

    id: ColumnOf[int] = column(BigId, primary_key=True, doc="Numbers of transactions that failed are left out.")
    at: ColumnOf[datetime]
    actor: ColumnOf[str] = column(sa.String(200))
    action: ColumnOf[str] = column(sa.String(64), doc="The command's words, or the event's type.")
    subject: ColumnOf[str] = column(sa.String(200), doc="A customer's id at most: nothing else of a person.")
    count: ColumnOf[int]
    reason: ColumnOf[str] = column(sa.String(200))
    number: ColumnOf[int | None] = column(BigId, doc="Its place in the chain; NULL: not sealed yet.")
    hash: ColumnOf[str | None] = column(sa.String(64), doc="Its hash in the chain.")

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

    id: ColumnOf[int] = column(sa.SmallInteger, primary_key=True, doc="Always 1.")
    number: ColumnOf[int] = column(BigId, doc="The number of the newest sealed entry; 0: there is none.")
    hash: ColumnOf[str] = column(sa.String(64))
    removed_to: ColumnOf[int] = column(BigId, doc="Entries up to this number were removed by retention.")
    removed_hash: ColumnOf[str] = column(sa.String(64), doc="The hash of the newest removed entry.")
    digest: ColumnOf[str | None] = column(
        sa.String(64), doc="Its signature: a keyed hash of its numbers and hashes; NULL: not signed yet."
    )


class ProcessRow(Base):
    """A process that runs on this database. It writes `seen_at` every few seconds, and removes the row at its end."""

    __tablename__ = "process"

    id: ColumnOf[str] = column(sa.String(64), primary_key=True, doc="host:pid:random, as in `lease_owner`.")
    kind: ColumnOf[str] = column(sa.String(16), doc="The command: run, up, worker, web or bus.")
    host: ColumnOf[str] = column(sa.String(64))
    pid: ColumnOf[int]
    release: ColumnOf[str] = column(sa.String(32))
    batch_id: ColumnOf[int | None] = column(BigId, doc="The one batch that it works; NULL: all.")
    first_keys: ColumnOf[str] = column(
        sa.String(32), doc="The ids of the keys with which it encrypts and hashes, separated by a space."
    )
    started_at: ColumnOf[datetime]
    seen_at: ColumnOf[datetime]


class RetiredKey(Base):
    """A key that must encrypt and hash nothing any more: no process with it in the first place starts."""

    __tablename__ = "retired_key"

    key_id: ColumnOf[str] = column(sa.String(8), primary_key=True)
    at: ColumnOf[datetime]


class EmergencyStop(Base):
    """A person has stopped everything. While the row is there, no process claims a row or begins a call."""

    __tablename__ = "emergency_stop"

    id: ColumnOf[int] = column(sa.SmallInteger, primary_key=True, autoincrement=False, doc="Always 1.")
    at: ColumnOf[datetime]
    by: ColumnOf[str] = column(sa.String(200), doc="The person who stopped everything.")
    reason: ColumnOf[str] = column(sa.String(200), doc="Why, in the person's words; empty: none was given.")


class Timer(Base):
    """When something that workers share last happened."""

    __tablename__ = "timer"

    name: ColumnOf[str] = column(
        sa.String(16),
        primary_key=True,
        doc="sweep: a worker looked for due work; beat: the scheduler's wake-up came; wake: another wake-up came;"
        " mark: the journal said how far the database has come, accepted: a person went on with an older copy;"
        " refused: a process refused to seal the audit log.",
    )
    at: ColumnOf[datetime]


class LogIn(Base):
    """A person who is logged in to the dashboard. The row is removed when the person logs out, or is away too long."""

    __tablename__ = "log_in"

    digest: ColumnOf[str] = column(sa.String(64), primary_key=True, doc="SHA-256 of the random text in the cookie.")
    name: ColumnOf[str] = column(
        sa.String(80), doc="Of the file of users, or oidc:NAME of the issuer; empty: came with the key to look."
    )
    entry: ColumnOf[str] = column(
        sa.String(64),
        doc="SHA-256 over the role and the password's hash, or [oidc]: once they change, the row counts no more.",
    )
    started_at: ColumnOf[datetime]
    seen_at: ColumnOf[datetime]


class Budget(Base):
    """What an account or a sender may still do. Accounts that the provider counts together share one row."""

    __tablename__ = "budget"

    name: ColumnOf[str] = column(sa.String(64), primary_key=True)
    counted_in: ColumnOf[str | None] = column(sa.String(64), doc="The budget of the account `name`; NULL: this one.")
    next_at: ColumnOf[datetime | None] = column(doc="From here on all slots are free; NULL: none was reserved.")
    left_at: ColumnOf[datetime | None] = column(
        doc="From here to `next_at` every other slot is free: it was left out for other workers. NULL: none is."
    )
    even_at: ColumnOf[datetime | None] = column(
        doc="Where the next slot would be if no call had gone ahead of the even pace; NULL: none may."
    )
    ahead_at: ColumnOf[datetime | None] = column(doc="From here on the next call may go ahead; NULL: none may.")
    last_at: ColumnOf[datetime | None] = column(doc="The last slot, where calls may go ahead; NULL: not known.")
    blocked_until: ColumnOf[datetime | None] = column(doc="End of the pause: the budget was rate-limited.")
    pause_reason: ColumnOf[str] = column(sa.String(400))
    paused_at: ColumnOf[datetime | None] = column(doc="When the last pause began; older calls change nothing.")
    pauses: ColumnOf[int] = column(doc="Pauses in a row without a success; each doubles the next pause.")
    probe_until: ColumnOf[datetime | None] = column(
        doc="Until then a single call is in flight that finds out whether the pause is over."
    )
    stopped_at: ColumnOf[datetime | None]
    stop_reason: ColumnOf[str] = column(sa.String(400))
    asks_again_at: ColumnOf[datetime | None] = column(
        doc="When one call finds out whether the stop is over (refused credentials); NULL: a person must act."
    )
    credits_used: ColumnOf[int] = column(doc="Calls that cost a credit, or may have cost one.")
    credits_day: ColumnOf[date | None] = column(doc="The UTC day of the last of them; NULL: there was none.")
    credits_today: ColumnOf[int] = column(server_default="0", doc="How many of them on that day.")
    credits_week: ColumnOf[int] = column(server_default="0", doc="How many in its week so far, from Monday.")
    credits_month: ColumnOf[int] = column(server_default="0", doc="How many in its month so far.")
    failures: ColumnOf[int] = column(doc="Failed calls in a row, over all rows.")
    lost: ColumnOf[int] = column(
        server_default="0",
        doc="How a sender's reports of losses in a row weigh: 4 each that is about us, 1 if unknown.",
    )
    lost_since: ColumnOf[datetime | None] = column(
        doc="From when on lost messages weigh: a resume, or the first of the row; NULL: nothing was reported yet."
    )
    opened_at: ColumnOf[datetime | None] = column(
        doc="When the breaker opened, after too many failures in a row; NULL: the breaker is closed."
    )
    unproven: ColumnOf[bool] = column(
        doc="The sender did not answer, or was not tried since a start: no session is opened for its messages."
    )
    ramp_from: ColumnOf[datetime | None] = column(
        doc="When the first message left under a ramp ([email] ramp), which counts its days from then; NULL: none has."
    )
    pace_rate: ColumnOf[float | None] = column(
        sa.Double, doc="Calls per second that the provider was found to allow; NULL: as configured."
    )
    pace_good: ColumnOf[float | None] = column(sa.Double)
    pace_refused_from: ColumnOf[float | None] = column(sa.Double)
    pace_granted: ColumnOf[float] = column(sa.Double, doc="Recent calls; older calls weigh less.")
    pace_refused: ColumnOf[float] = column(sa.Double)
    pace_counted_at: ColumnOf[datetime | None]
    pace_refused_at: ColumnOf[datetime | None]
    pace_lowered_at: ColumnOf[datetime | None]
    pace_raised_at: ColumnOf[datetime | None]
    pace_trial_rate: ColumnOf[float | None] = column(sa.Double)
    pace_trial_share: ColumnOf[float] = column(sa.Double)
    pace_habit: ColumnOf[float] = column(sa.Double)
    pace_habit_at: ColumnOf[datetime | None]
    measured_calls: ColumnOf[float] = column(sa.Double, doc="Calls that ended while rows waited, for forecasts.")
    measured_seconds: ColumnOf[float] = column(sa.Double, doc="The busy time of these calls; it fades.")
    measured_until: ColumnOf[datetime | None]


class Permit(Base):
    """How many calls in flight one dispatcher may have on one budget, and until when it need not renew this."""

    __tablename__ = "permit"

    budget: ColumnOf[str] = column(sa.String(64), primary_key=True)
    owner: ColumnOf[str] = column(sa.String(160), primary_key=True, doc="The process and its account.")
    permits: ColumnOf[int]
    until: ColumnOf[datetime]


class ReissueCount(Base):
    """How many sessions an account opened on a UTC day for customers whose previous session ended unused."""

    __tablename__ = "reissue_count"

    account: ColumnOf[str] = column(sa.String(64), primary_key=True)
    day: ColumnOf[date] = column(primary_key=True)
    count: ColumnOf[int]


class TextCount(Base):
    """How many texts left to a country in an hour, and how often one had to wait because of the cap."""

    __tablename__ = "text_count"

    country: ColumnOf[str] = column(sa.String(8), primary_key=True)
    hour: ColumnOf[datetime] = column(primary_key=True)
    count: ColumnOf[int]
    refused: ColumnOf[int]


class UnreadCode(Base):
    """How often a provider or sender gave a code, in an answer or a report, that our tables do not have."""

    __tablename__ = "unread_code"

    budget: ColumnOf[str] = column(sa.String(64), primary_key=True)
    code: ColumnOf[str] = column(sa.String(48), primary_key=True)
    count: ColumnOf[int]
    first_at: ColumnOf[datetime]
    last_at: ColumnOf[datetime]
