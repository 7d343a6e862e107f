"""The tables. What must happen next, and when, is a row with `due_at`: the database is the truth and the schedule.

Three promises are held by unique indexes here, not by care elsewhere: one leading job and one live session for
each customer and purpose, and one invitation for each session, channel and kind.
"""

import uuid
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from worker.columns import NAMING, BigId, UtcDateTime, partial, words
from worker.customers import Channel, CustomerKind
from worker.events import EventKind, Outcome
from worker.sessions import ExpirySource
from worker.states import LIVE_SESSIONS, InvitationState, JobState, SessionState

_TO_TAKE = "state = 'waiting' AND joins IS NULL"


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 -- read by SQLAlchemy when the classes are made
        datetime: UtcDateTime(),
        dict[str, Any]: sa.JSON(),
        list[dict[str, Any]]: sa.JSON(),
        bytes: sa.LargeBinary(),
        uuid.UUID: sa.Uuid(),
        JobState: words(JobState),
        InvitationState: words(InvitationState),
        SessionState: words(SessionState),
        CustomerKind: words(CustomerKind),
        Channel: words(Channel, 8),
        ExpirySource: words(ExpirySource),
        EventKind: words(EventKind, 32),
        Outcome: words(Outcome),
    }


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


class Refusal(Base):
    """A line that became no job: refused with its problems, or the same customer as an earlier line."""

    __tablename__ = "refusal"

    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    duplicate_of: Mapped[int | None] = mapped_column(doc="The earlier row, for a duplicate; NULL: rejected.")
    customer_id: Mapped[str | None] = mapped_column(sa.String(100))
    problems: Mapped[list[dict[str, Any]]]


class CustomerRow(Base):
    """A customer, keyed by the list owner's own id."""

    __tablename__ = "customer"

    customer_id: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    kind: Mapped[CustomerKind]
    country: Mapped[str] = mapped_column(sa.String(2))
    locale: Mapped[str] = mapped_column(sa.String(35))
    timezone: Mapped[str] = mapped_column(sa.String(64))
    sealed: Mapped[bytes | None] = mapped_column(doc="The Person, encrypted; NULL once erased.")
    details_at: Mapped[datetime | None] = mapped_column(
        doc="Of when the whole row is that they were last taken from: an event's own time, or that of a list's import."
        " NULL: before such times were kept."
    )
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    # Those whose personal data is there, oldest first: for its erasure, which must not look at the erased ones again.
    __table_args__ = (partial("ix_customer_kept", "changed_at", "customer_id", where="sealed IS NOT NULL"),)


class Finished(Base):
    """A customer who has finished for a purpose, once the job that says so has been purged."""

    __tablename__ = "finished"

    customer_id: Mapped[str] = mapped_column(sa.ForeignKey("customer.customer_id"), primary_key=True)
    purpose: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    result: Mapped[str] = mapped_column(sa.String(16))
    batch_id: Mapped[int] = mapped_column(BigId, doc="Where the job was; with its row, for the person who asks.")
    row: Mapped[int]


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
    sealed: Mapped[bytes | None] = mapped_column(
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
    fence: Mapped[int] = mapped_column(doc="Counts the takings; a result written under an older one is refused.")
    attempts: Mapped[int] = mapped_column(
        doc="Calls that ended, waits apart, for this session; a person's retry begins anew."
    )
    waits: Mapped[int] = mapped_column(doc="How often it was told to wait; never counted as a failure.")
    reissues: Mapped[int] = mapped_column(doc="Sessions opened after the first.")
    reason: Mapped[str] = mapped_column(sa.String(40))
    detail: Mapped[str] = mapped_column(sa.String(400))
    result: Mapped[str] = mapped_column(sa.String(16), doc="What the provider decided about the customer.")
    session_id: Mapped[uuid.UUID | None]
    in_doubt: Mapped[uuid.UUID | None] = mapped_column(
        doc="The attempt whose outcome nobody knows. Where such a job waits, what is due is to look that attempt up at"
        " the provider, not to call again; it stays with one that is held, or given up, for as long as the doubt does."
    )
    others: Mapped[str] = mapped_column(
        sa.String(400),
        server_default="",
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
        partial("ix_job_due", "account", "priority", "due_at", "id", where=_TO_TAKE),
        # While an account cannot work, the timer looks again and again for what others could do of it. Of a million
        # rows that wait there, those that nobody else can serve must cost nothing then.
        partial("ix_job_backed", "account", "priority", "due_at", "id", where=f"{_TO_TAKE} AND others <> ''"),
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
    look_up_at: Mapped[datetime | None] = mapped_column(
        doc="When it may be looked up at the other side should its outcome stay unknown; NULL: it cannot be."
    )
    looks_up: Mapped[uuid.UUID | None] = mapped_column(
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
        partial("ix_attempt_looks_up", "looks_up", where="looks_up IS NOT NULL"),
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
    sealed: Mapped[bytes] = mapped_column(
        doc="token, link, digit string and vendor parameters, encrypted; empty once erased."
    )
    sms_sent: Mapped[bool]
    state: Mapped[SessionState]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    expiry_source: Mapped[ExpirySource]
    replaces: Mapped[uuid.UUID | None]
    look_at: Mapped[datetime | None] = mapped_column(
        doc="When to look whether it ended unused; NULL: it is over, nobody could be told of a new link, or something"
        " else is waited for: a result, a person. NULL of those opened by the release before, too."
    )
    # What was heard of it last, from the provider, and how much that weighs (`news.Heard`).
    result: Mapped[str] = mapped_column(sa.String(16), server_default="", doc="What the provider decided.")
    heard_rank: Mapped[int] = mapped_column(sa.SmallInteger, server_default="0")
    heard_at: Mapped[datetime | None]
    heard_weight: Mapped[int] = mapped_column(server_default="0")
    note: Mapped[str] = mapped_column(sa.String(400), server_default="", doc="Our own words on it, for people.")
    company_id: Mapped[str] = mapped_column(
        sa.String(100), server_default="", doc="iDenfy's id of the company, by which its later events name the session."
    )
    token_digest: Mapped[str | None] = mapped_column(
        sa.String(64), doc="A keyed hash of the token, where an event may name the session by nothing else."
    )

    __table_args__ = (
        partial("uq_session_live", "customer_id", "purpose", where="state IN ('waiting', 'started')", unique=True),
        # What is due to be looked at, and nothing else: of ten million sessions that are over none is in it.
        partial("ix_session_look", "look_at", "id", where="look_at IS NOT NULL"),
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
    in_doubt: Mapped[uuid.UUID | None] = mapped_column(doc="As a job's: the hand-over that is to be looked up.")
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None] = mapped_column(doc="When it was delivered or returned, as the sender told.")

    __table_args__ = (
        sa.UniqueConstraint("session_id", "channel", "kind"),
        partial("ix_invitation_due", "channel", "priority", "due_at", "id", where="state = 'waiting'"),
        partial("ix_invitation_lease", "lease_until", where="state = 'working'"),
        # Callbacks name a text by what the sender calls it; an email by its Message-ID, which is the row's own id.
        partial("ix_invitation_reference", "reference", where="channel = 'sms' AND reference <> ''"),
    )


class Inbox(Base):
    """An event of another system that was taken, so that it is taken once, and older ones can be told from newer."""

    __tablename__ = "inbox"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, doc="Its address: GET /events/ID.")
    source: Mapped[str] = mapped_column(sa.String(200))
    event_id: Mapped[str] = mapped_column(sa.String(200))
    digest: Mapped[str] = mapped_column(
        sa.String(64), doc="A keyed hash of what it said: the same source and id with other content is no duplicate."
    )
    kind: Mapped[EventKind]
    customer_id: Mapped[str] = mapped_column(sa.String(100))
    purpose: Mapped[str] = mapped_column(sa.String(64))
    occurred_at: Mapped[datetime] = mapped_column(doc="By the producer's clock, and never after it was received.")
    received_at: Mapped[datetime]
    outcome: Mapped[Outcome] = mapped_column(doc="taken or ignored.")
    detail: Mapped[str] = mapped_column(sa.String(400))
    # No foreign key: it outlives its job when the batch is purged.
    job_id: Mapped[int | None] = mapped_column(BigId, doc="The job that it made, or joined, or ended.")
    sealed: Mapped[bytes | None] = mapped_column(
        doc="Of customer.updated, the new columns, encrypted: an older request that comes later must not undo them."
        " NULL: nothing is kept; empty once erased."
    )

    __table_args__ = (
        sa.UniqueConstraint("source", "event_id"),
        sa.Index("ix_inbox_customer", "customer_id", "occurred_at"),
        sa.Index("ix_inbox_received", "received_at"),
        sa.Index("ix_inbox_job", "job_id"),
        # What is to be erased: little of what is there.
        partial("ix_inbox_sealed", "received_at", where="length(sealed) > 0"),
    )


class Outbox(Base):
    """A change of state that somebody is yet to be told of; written with the change, removed once it was taken there.

    Each customer's go in the order of their numbers, one after the other.
    """

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    event_id: Mapped[uuid.UUID] = mapped_column(doc="The CloudEvent's id: the same however often it is sent.")
    target: Mapped[str] = mapped_column(sa.String(64), doc="bus, or subscriber/NAME.")
    kind: Mapped[str] = mapped_column(sa.String(32), doc="The CloudEvent's type.")
    customer_id: Mapped[str] = mapped_column(sa.String(100))
    data: Mapped[dict[str, Any]] = mapped_column(doc="Nothing personal, no token and no link.")
    occurred_at: Mapped[datetime]
    due_at: Mapped[datetime | None] = mapped_column(doc="NULL: given up.")
    since: Mapped[datetime] = mapped_column(doc="When it was written, put back by a person, or given up.")
    attempts: Mapped[int]
    detail: Mapped[str] = mapped_column(sa.String(400), doc="Why it was not taken there.")

    __table_args__ = (
        # By number, since that is the order they go in.
        partial("ix_outbox_target", "target", "id", where="due_at IS NOT NULL"),
        sa.Index("ix_outbox_customer", "customer_id", "target", "id"),
        # Those that are given up, or whose target is nobody's any more, go after their time; mostly there are none.
        partial("ix_outbox_given_up", "since", where="due_at IS NULL"),
        # A number is never given out twice, though all rows before it are gone: receivers order by it.
        {"sqlite_autoincrement": True},
    )


class Webhook(Base):
    """What a provider or a sender told us: taken once by its digest, answered, and worked off afterwards."""

    __tablename__ = "webhook"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(sa.String(80), doc="account/NAME or sender/NAME.")
    digest: Mapped[str] = mapped_column(sa.String(64), doc="A keyed hash of its bytes.")
    event: Mapped[str] = mapped_column(sa.String(64), doc="What the other side calls it.")
    received_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(
        sa.String(16),
        doc="waiting, applied, ignored (nothing new), unknown (nobody's), alert (a person should look), or broken (a"
        " bug of ours).",
    )
    due_at: Mapped[datetime | None] = mapped_column(doc="When to work it off; NULL: it is done with.")
    attempts: Mapped[int]
    detail: Mapped[str] = mapped_column(sa.String(400))
    sealed: Mapped[bytes | None] = mapped_column(
        doc="What was read of it, encrypted: ids, state, result, time, nothing personal else. NULL once it is let go."
    )
    session_id: Mapped[uuid.UUID | None] = mapped_column(doc="The session that it was about, once that is known.")
    invitation_id: Mapped[uuid.UUID | None] = mapped_column(doc="The message that it was about, once that is known.")

    __table_args__ = (
        sa.UniqueConstraint("source", "digest"),
        partial("ix_webhook_due", "due_at", "id", where="due_at IS NOT NULL"),
        # What a person should look at: few.
        partial("ix_webhook_listed", "received_at", where="state IN ('unknown', 'alert', 'broken')"),
        sa.Index("ix_webhook_received", "received_at"),
    )


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


class Tally(Base):
    """A batch's messages, by the minute: what its pausing itself is decided from."""

    __tablename__ = "tally"

    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batch.id"), primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    tried: Mapped[int]
    refused: Mapped[int]
    bounced: Mapped[int]


class Reissued(Base):
    """How many sessions an account has opened in a UTC day for customers whose last one ended unused."""

    __tablename__ = "reissued"

    account: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    count: Mapped[int]


class Leftover(Base):
    """What a migration has left to do with the rows that were there before it; removed once it is done."""

    __tablename__ = "leftover"

    name: Mapped[str] = mapped_column(sa.String(40), primary_key=True, doc="What is left to do.")
    since: Mapped[datetime] = mapped_column(doc="When the migration was made.")
    after: Mapped[uuid.UUID | None] = mapped_column(doc="The last row that was done; NULL: none was.")


class Budget(Base):
    """What an account, or a sender, may still do. One row for all accounts that the provider counts together."""

    __tablename__ = "budget"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    next_at: Mapped[datetime | None] = mapped_column(doc="The next free slot; NULL: none was ever reserved.")
    blocked_until: Mapped[datetime | None] = mapped_column(doc="Paused until then: it was told to wait.")
    pause_reason: Mapped[str] = mapped_column(sa.String(400))
    paused_at: Mapped[datetime | None] = mapped_column(doc="When the last pause began: older calls say nothing new.")
    pauses: Mapped[int] = mapped_column(doc="Pauses in a row without a success in between; doubles the next one.")
    probe_until: Mapped[datetime | None] = mapped_column(doc="A single call is out to find whether the pause is over.")
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str] = mapped_column(sa.String(400))
    credits_used: Mapped[int] = mapped_column(doc="Calls that cost a credit, or may have.")
    failures: Mapped[int] = mapped_column(server_default="0", doc="Calls in a row that failed, whatever their rows.")
    opened_at: Mapped[datetime | None] = mapped_column(
        doc="When its breaker opened, because so many failed in a row; NULL: it is closed."
    )
    pace_rate: Mapped[float | None] = mapped_column(
        sa.Double, doc="Calls per second that were found to be allowed; NULL: as set."
    )
    pace_good: Mapped[float | None] = mapped_column(sa.Double)
    pace_refused_from: Mapped[float | None] = mapped_column(sa.Double)
    pace_granted: Mapped[float] = mapped_column(sa.Double, server_default="0", doc="Calls of late, older ones fading.")
    pace_refused: Mapped[float] = mapped_column(sa.Double, server_default="0")
    pace_counted_at: Mapped[datetime | None]
    pace_refused_at: Mapped[datetime | None]
    pace_lowered_at: Mapped[datetime | None]
    pace_raised_at: Mapped[datetime | None]
    pace_trial_rate: Mapped[float | None] = mapped_column(sa.Double)
    pace_trial_share: Mapped[float] = mapped_column(sa.Double, server_default="0")
    pace_habit: Mapped[float] = mapped_column(sa.Double, server_default="0")
    pace_habit_at: Mapped[datetime | None]


class Place(Base):
    """How many of an account's calls one shift may have in flight, and until when it may without asking again."""

    __tablename__ = "place"

    budget: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(160), primary_key=True, doc="The process and what it works on.")
    places: Mapped[int]
    until: Mapped[datetime]


class Audit(Base):
    """Who looked at, or changed, what is not everybody's to see."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(sa.String(64))
    action: Mapped[str] = mapped_column(sa.String(40))
    subject: Mapped[str] = mapped_column(sa.String(200))


# The index's predicate is text, because SQLite and PostgreSQL must be given the same; it says what LIVE_SESSIONS says.
assert {state.value for state in LIVE_SESSIONS} == {"waiting", "started"}  # noqa: S101 -- a wrong edit must not start
