"""What is done for a customer: the job, its calls, the session that they open, the messages with its link."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.domain.model.customers import Channel
from worker.domain.model.sessions import ExpirySource
from worker.domain.model.states import LIVE_SESSIONS, InvitationState, JobState, SessionState
from worker.store.tables.base import Base
from worker.store.tables.types import BigId, partial

_CLAIMABLE = "state = 'waiting' AND joins IS NULL"


class Job(Base):
    """One customer's onboarding in one batch."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"))
    row: Mapped[int]
    customer_id: Mapped[str] = mapped_column(sa.ForeignKey("customer.customer_id"))
    purpose: Mapped[str] = mapped_column(sa.String(64))
    channel: Mapped[Channel]
    template: Mapped[str] = mapped_column(sa.String(64))
    entity_id: Mapped[str] = mapped_column(sa.String(100))
    consent: Mapped[bool | None]
    encrypted: Mapped[bytes | None] = mapped_column(
        doc="external_ref, tags and parameters, encrypted; NULL: none; empty once erased."
    )

    account: Mapped[str] = mapped_column(sa.String(64))
    route: Mapped[str] = mapped_column(sa.String(200), doc="Why this account.")
    floor_seconds: Mapped[int] = mapped_column(doc="The least life a link may leave with.")

    state: Mapped[JobState]
    due_at: Mapped[datetime | None]
    priority: Mapped[int] = mapped_column(
        sa.SmallInteger, doc="Lower goes first: 0 an event's, 10 a batch's; 100 more: paused."
    )
    lease_until: Mapped[datetime | None]
    lease_owner: Mapped[str] = mapped_column(sa.String(64), doc="host:process, for the person who looks.")
    fence: Mapped[int] = mapped_column(doc="Counts the claims; a result written under an older one is refused.")
    attempts: Mapped[int] = mapped_column(
        doc="Calls that ended, waits apart, for this session; a person's retry begins anew."
    )
    waits: Mapped[int] = mapped_column(doc="How often it was told to wait; never counted as a failure.")
    reissues: Mapped[int] = mapped_column(doc="Sessions opened after the first.")
    reason: Mapped[str] = mapped_column(sa.String(40))
    detail: Mapped[str] = mapped_column(sa.String(400))
    result: Mapped[str] = mapped_column(sa.String(16), doc="What the provider decided about the customer.")
    session_id: Mapped[uuid.UUID | None]
    unknown_attempt: Mapped[uuid.UUID | None] = mapped_column(
        doc="The attempt whose outcome nobody knows. Where such a job waits, what is due is to look that attempt up at"
        " the provider, not to call again; it stays with one that is held, or given up, for as long as the doubt does."
    )
    fallback_accounts: Mapped[str] = mapped_column(
        sa.String(400),
        doc="The accounts that could serve it besides its own, in order of preference, with commas between; its own is"
        " among them once it was taken over.",
    )
    freshness_seconds: Mapped[int | None] = mapped_column(
        doc="The least life of a link that its route asks for; NULL: that of whichever account serves it."
    )
    invite_at: Mapped[datetime | None] = mapped_column(
        doc="Not to be invited before then: the customer is in the app, and has the link there. NULL: at once."
    )
    cancelled_at: Mapped[datetime | None] = mapped_column(
        doc="Since when it is to end, by an event: at once, or when whoever was working it then is done."
    )
    joins: Mapped[int | None] = mapped_column(
        sa.ForeignKey("job.id"), doc="The job of another list that this customer is served by; its state is this one's."
    )
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    __table_args__ = (
        sa.UniqueConstraint("batch_id", "row"),
        partial("ix_job_due", "account", "priority", "due_at", "id", where=_CLAIMABLE),
        # While an account cannot work, the timer looks again and again for what others could do of it. Of a million
        # rows that wait there, those that nobody else can serve must cost nothing then.
        partial(
            "ix_job_backed", "account", "priority", "due_at", "id", where=f"{_CLAIMABLE} AND fallback_accounts <> ''"
        ),
        partial("ix_job_lease", "lease_until", where="state = 'working'"),
        partial(
            "uq_job_leads",
            "customer_id",
            "purpose",
            where="joins IS NULL AND state IN ('waiting', 'working', 'issued', 'invited', 'held')",
            unique=True,
        ),
        sa.Index("ix_job_customer", "customer_id"),
        partial("ix_job_joins", "joins", where="joins IS NOT NULL"),
    )


class Attempt(Base):
    """One call to a provider or sender, written down before it is made.

    `closed_at` NULL means that nobody knows yet what came of it; once its lease has run out, nobody will.
    """

    __tablename__ = "attempt"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"))
    job_id: Mapped[int] = mapped_column(sa.ForeignKey("job.id"), index=True)
    invitation_id: Mapped[uuid.UUID | None] = mapped_column(doc="NULL: the call asked for a session.")
    account: Mapped[str] = mapped_column(sa.String(64), doc="The provider account, or the channel of the sender.")
    fence: Mapped[int]
    repeatable: Mapped[bool] = mapped_column(doc="Whether it may be made again should its outcome stay unknown.")
    reconcile_at: Mapped[datetime | None] = mapped_column(
        doc="When it may be looked up at the other side should its outcome stay unknown; NULL: it cannot be."
    )
    reconciles: Mapped[uuid.UUID | None] = mapped_column(
        doc="The attempt that this one looks up, by a call that asks for nothing new; NULL: it asks for something."
    )
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(
        sa.String(16),
        doc="done, not_sent, unreachable, late, more (a look-up's: there is another page), or a Kind; NULL: open.",
    )
    status: Mapped[int | None] = mapped_column(doc="HTTP or SMTP status.")
    code: Mapped[str | None] = mapped_column(sa.String(64))
    detail: Mapped[str] = mapped_column(sa.String(400))
    found: Mapped[str] = mapped_column(
        sa.String(400),
        server_default="",
        doc="References of what the other side has from us and we do not hold, with spaces between.",
    )

    # No index on what closing changes (closed_at, outcome, ...), not even as a predicate: the row is then changed in
    # its own page and no index is written. A job has few attempts, so those that are open are found by it as well.
    __table_args__ = (
        # Both as small as what was ever in doubt.
        partial("ix_attempt_reconciles", "reconciles", where="reconciles IS NOT NULL"),
        partial("ix_attempt_found", "job_id", where="found <> ''"),
    )


class SessionRow(Base):
    """A verification opened at a provider."""

    __tablename__ = "session"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(sa.ForeignKey("customer.customer_id"))
    purpose: Mapped[str] = mapped_column(sa.String(64))
    job_id: Mapped[int] = mapped_column(sa.ForeignKey("job.id"), index=True, doc="The job it was opened for.")
    account: Mapped[str] = mapped_column(sa.String(64))
    reference: Mapped[str] = mapped_column(sa.String(100))
    references: Mapped[dict[str, Any]] = mapped_column(doc="The provider's other ids, by its own names.")
    vendor: Mapped[str] = mapped_column(sa.String(64))
    encrypted: Mapped[bytes] = mapped_column(
        doc="token, link, digit string and vendor parameters, encrypted; empty once erased."
    )
    sms_sent: Mapped[bool]
    state: Mapped[SessionState]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    expiry_source: Mapped[ExpirySource]
    replaces: Mapped[uuid.UUID | None]
    check_at: Mapped[datetime | None] = mapped_column(
        doc="When to look whether it ended unused; NULL: it is over, nobody could be told of a new link, or something"
        " else is waited for: a result, a person."
    )
    # What was heard of it last, from the provider, and how much that weighs (`session_updates.KnownSession`).
    result: Mapped[str] = mapped_column(sa.String(16), server_default="", doc="What the provider decided.")
    update_rank: Mapped[int] = mapped_column(sa.SmallInteger, server_default="0")
    update_at: Mapped[datetime | None]
    update_weight: Mapped[int] = mapped_column(server_default="0")
    note: Mapped[str] = mapped_column(sa.String(400), server_default="", doc="Our own words on it, for people.")
    company_id: Mapped[str] = mapped_column(
        sa.String(100), doc="iDenfy's id of the company, by which its later events name the session."
    )
    token_digest: Mapped[str | None] = mapped_column(
        sa.String(64), doc="A keyed hash of the token, where an event may name the session by nothing else."
    )

    __table_args__ = (
        partial("uq_session_live", "customer_id", "purpose", where="state IN ('waiting', 'started')", unique=True),
        # What is due to be looked at, and nothing else: of ten million sessions that are over none is in it.
        partial("ix_session_check", "check_at", "id", where="check_at IS NOT NULL"),
        sa.Index("ix_session_reference", "account", "reference"),
        sa.Index("ix_session_customer", "customer_id"),
        partial("ix_session_company", "company_id", where="company_id <> ''"),
        partial("ix_session_token", "token_digest", where="token_digest IS NOT NULL"),
    )


class InvitationRow(Base):
    """The message with a session's link on one channel. Its id is its Message-ID's left part, for ever."""

    __tablename__ = "invitation"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("session.id"))
    job_id: Mapped[int] = mapped_column(sa.ForeignKey("job.id"), index=True)
    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"), index=True)
    channel: Mapped[str] = mapped_column(sa.String(8))
    kind: Mapped[str] = mapped_column(sa.String(16), doc="invitation, or which reminder.")
    state: Mapped[InvitationState]
    due_at: Mapped[datetime | None]
    priority: Mapped[int] = mapped_column(sa.SmallInteger)
    lease_until: Mapped[datetime | None]
    lease_owner: Mapped[str] = mapped_column(sa.String(64), doc="host:process, for the person who looks.")
    fence: Mapped[int]
    attempts: Mapped[int]
    waits: Mapped[int]
    reason: Mapped[str] = mapped_column(sa.String(40))
    detail: Mapped[str] = mapped_column(sa.String(400))
    reference: Mapped[str] = mapped_column(sa.String(100), doc="What the sender calls it.")
    unknown_attempt: Mapped[uuid.UUID | None] = mapped_column(doc="As a job's: the hand-over that is to be looked up.")
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    delivery_at: Mapped[datetime | None] = mapped_column(doc="When it was delivered or returned, as the sender told.")

    __table_args__ = (
        sa.UniqueConstraint("session_id", "channel", "kind"),
        partial("ix_invitation_due", "channel", "priority", "due_at", "id", where="state = 'waiting'"),
        partial("ix_invitation_lease", "lease_until", where="state = 'working'"),
        # Callbacks name a text by what the sender calls it; an email by its Message-ID, which is the row's own id.
        partial("ix_invitation_reference", "reference", where="channel = 'sms' AND reference <> ''"),
    )


# The index's predicate is text, because SQLite and PostgreSQL must be given the same; it says what LIVE_SESSIONS says.
assert {state.value for state in LIVE_SESSIONS} == {"waiting", "started"}  # noqa: S101 -- a wrong edit must not start
