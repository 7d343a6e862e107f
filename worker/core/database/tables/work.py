"""The work for a customer: the job, its attempts, the session that they open, and the messages with its link.

There are no foreign keys: each would cost a look-up and a lock for each new row. No batch is ever deleted, and a job is
added under its batch's lock. A customer whom a job names, and a job that another one joins, cannot be deleted: triggers
see to it (migration 0001). A job is added by a transaction that has made or locked its customer's row, and has locked
the job that it joins: so the trigger waits for it, and sees it. A job goes with its attempts, sessions and messages,
and all of them are added under the job's lock, which the purge needs too (the feature `privacy`).
"""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.tables.columns import ColumnOf, aliased, column
from onboarding_worker.core.database.tables.types import (
    DETAIL_LENGTH,
    REFERENCE_LENGTH,
    Base,
    BigId,
    one_where,
    partial,
)
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.refusals import STORED_LENGTH
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState

_CLAIMABLE = "state = 'waiting' AND leader_id IS NULL"
# The rows that wait for a later hour: a status says from when until when (`reporting.store.counting`).
_WAITS = (
    "state = 'waiting' AND reason IN ('quiet_hours', 'waits_for_sender', 'address_spent', 'credits_spent', 'in_review')"
)
# The rows that wait for the end of a session that their customer has, or may have: the last of them ends a batch.
_WAITS_FOR_END = (
    "state = 'waiting' AND reason IN"
    " ('conflict', 'orphan', 'session_ends_first', 'session_expired', 'stale_link', 'unknown')"
)
_BRAND_MISSING = "state = 'waiting' AND reason = 'brand_missing'"
_RIGHT_MISSING = "state = 'waiting' AND reason = 'right_missing'"
_HELD = "state = 'held' AND leader_id IS NULL"
SETS_LENGTH = 1000
# The states that a row seldom ends in, or stands in.
_RARE = "state IN ('held', 'lapsed', 'failed', 'cancelled')"


class Job(Base):
    """One customer's onboarding in one batch."""

    __tablename__ = "job"

    id: ColumnOf[int] = column(
        BigId, primary_key=True, autoincrement=False, doc="Says the batch and the row (`database.job_ids`)."
    )
    batch_id: ColumnOf[int] = column(BigId)
    row: ColumnOf[int]
    customer_id: ColumnOf[str] = column(sa.String(100))
    purpose: ColumnOf[str] = column(sa.String(64))
    channel: ColumnOf[Channel]
    template: ColumnOf[str] = column(sa.String(64), server_default="")
    brand: ColumnOf[str] = column(sa.String(64), server_default="", doc="Whose messages it gets; empty: [brand].")
    entity_id: ColumnOf[str] = column(sa.String(100), server_default="")
    consent: ColumnOf[bool | None]
    encrypted: ColumnOf[bytes | None] = column(
        doc="external_ref, tags and parameters, encrypted; NULL: no values; empty: erased."
    )

    sets: ColumnOf[str] = column(
        sa.String(SETS_LENGTH),
        server_default="",
        doc="The columns by which the row sets what needs a right, spaces between; not their values.",
    )
    account: ColumnOf[str] = column(sa.String(64))
    route: ColumnOf[str] = column(sa.String(200), doc="Why this account was chosen.")
    floor_seconds: ColumnOf[int] = column(doc="The freshness floor: the least life of a link when it is sent.")

    state: ColumnOf[JobState]
    due_at: ColumnOf[datetime | None]
    priority: ColumnOf[int] = column(
        sa.SmallInteger, doc="The lower number goes first: 0 for events, 10 for batches; plus 100 while paused."
    )
    lease_until: ColumnOf[datetime | None] = column(
        doc="The end of the lease. Of an ended job whose lease has no owner: when its call, whose outcome is unknown,"
        " may be looked up (`rows.unknown_outcomes`)."
    )
    lease_owner: ColumnOf[str] = column(
        sa.String(64), server_default="", doc="host:process, for people; empty: see `lease_until`."
    )
    fence: ColumnOf[int] = column(server_default="0", doc="Counts the claims; a result of an older claim is refused.")
    attempts: ColumnOf[int] = column(
        server_default="0", doc="Calls for this session that ended, without waits; an operator's retry resets it to 0."
    )
    waits: ColumnOf[int] = column(server_default="0", doc="How often the job was snoozed; a wait is not a failure.")
    reissues: ColumnOf[int] = column(server_default="0", doc="Sessions opened after the first.")
    reason: ColumnOf[str] = column(sa.String(40), server_default="")
    detail: ColumnOf[str] = column(sa.String(DETAIL_LENGTH), server_default="")
    result: ColumnOf[str] = column(
        sa.String(16), server_default="", doc="What the provider decided about the customer."
    )
    session_id: ColumnOf[uuid.UUID | None]
    unknown_attempt: ColumnOf[uuid.UUID | None] = column(
        doc="The attempt whose outcome is unknown. A waiting job with this value is due to be reconciled, not to be"
        " called again. A held or ended job keeps the value while the outcome is unknown."
    )
    refused_session: ColumnOf[uuid.UUID | None] = column(
        doc="The session in which the customer was refused and is asked once more: its verdict stands unless the next"
        " session has another. NULL: the customer was not."
    )
    needs_status_check: ColumnOf[bool] = column(
        server_default=sa.false(),
        doc="A waiting job is due for a look-up of its session, not for a new one: its customer may have finished.",
    )
    fallback_accounts: ColumnOf[str] = column(
        sa.String(400),
        doc="Other accounts that could serve the job, in order of preference, separated by commas. After a takeover the"
        " job's own account is among them.",
    )
    freshness_seconds: ColumnOf[int | None] = column(
        doc="The freshness floor of its route; NULL: the floor of the account that serves it."
    )
    invite_at: ColumnOf[datetime | None] = column(
        doc="No invitation before then: the customer is in the app and has the link there. NULL: at once."
    )
    link_requested_at: ColumnOf[datetime | None] = column(
        doc="When the customer, standing at the stable link, asked for the session that it waits for: no message"
        " follows. NULL: a message follows."
    )
    cancelled_at: ColumnOf[datetime | None] = column(
        doc="When it was cancelled, by an event or with its batch. A job in a call ends when the call does."
    )
    leader_id: ColumnOf[int | None] = column(
        BigId, doc="The job of another list that serves this customer; this job shares its state."
    )
    traceparent: ColumnOf[str | None] = column(
        sa.String(55), doc="The span that took it in (W3C Trace Context): its steps are traced. NULL: they are not."
    )
    created_at: ColumnOf[datetime]
    changed_at: ColumnOf[datetime]
    counted: ColumnOf[int] = column(
        sa.SmallInteger, server_default="0", doc="Raised by a statement that counts its change itself (`tally`)."
    )

    __table_args__ = (
        # With `batch_id`, `run` skips the due rows of other batches without reading them.
        partial("ix_job_due", "account", "priority", "due_at", "id", "batch_id", where=_CLAIMABLE),
        # While an account cannot work, the sweep repeatedly looks for jobs that a fallback account could serve. With a
        # million waiting jobs, those without a fallback account must cost nothing.
        partial(
            "ix_job_backed", "account", "priority", "due_at", "id", where=f"{_CLAIMABLE} AND fallback_accounts <> ''"
        ),
        # Ended jobs too: a verdict may end a job during its call, and the sweep must close its attempt.
        partial("ix_job_lease", "lease_until", where="lease_until IS NOT NULL"),
        # The jobs of a customer, and among them at most one that leads.
        one_where(
            "uq_job_leading",
            "customer_id",
            "purpose",
            where="leader_id IS NULL AND state IN ('waiting', 'working', 'issued', 'invited', 'held')",
        ),
        partial("ix_job_leader", "leader_id", where="leader_id IS NOT NULL"),
        # The few rows of a batch that a status looks at one by one; all others are counted (`BatchCount`).
        partial("ix_job_followers", "id", where="leader_id IS NOT NULL"),
        partial("ix_job_waits", "batch_id", "reason", "due_at", where=_WAITS),
        partial("ix_job_waits_for_end", "batch_id", "due_at", where=_WAITS_FOR_END),
        partial(
            "ix_job_invite_at",
            "batch_id",
            "invite_at",
            where="invite_at IS NOT NULL AND state IN ('waiting', 'working', 'issued')",
        ),
        partial("ix_job_unknown", "batch_id", where="unknown_attempt IS NOT NULL"),
        partial("ix_job_asks", "account", where="needs_status_check"),  # with the above, what costs no credit at a cap
        # The rows of a batch in a state that few of its rows have: for a page of them, and for a status.
        partial("ix_job_rare", "state", "id", where=_RARE),
        # Since when the first row of a batch is held; and the rows that no key decrypts, whose reason names it.
        partial("ix_job_held", "batch_id", "changed_at", where=_HELD),
        # The rows whose brand the configuration does not have, which a status names.
        partial("ix_job_brand_missing", "brand", "batch_id", where=_BRAND_MISSING),
        # The rows that set what needs a right, for a report; and those that may not, which a status names.
        partial("ix_job_sets", "batch_id", "sets", where="sets <> ''"),
        partial("ix_job_right_missing", "account", "batch_id", where=_RIGHT_MISSING),
        partial("ix_job_undecrypted", "changed_at", where=f"{_HELD} AND reason = 'cannot_open'"),
    )


class Attempt(Base):
    """One call to a provider or sender, written down before the call is made.

    `closed_at` NULL: the outcome is not known yet. Once the lease has run out, the outcome stays unknown.
    """

    __tablename__ = "attempt"

    id: ColumnOf[uuid.UUID] = column(primary_key=True)
    batch_id: ColumnOf[int] = column(BigId)
    job_id: ColumnOf[int] = column(BigId, index=True)
    invitation_id: ColumnOf[uuid.UUID | None] = column(doc="The message of the call; NULL: a call for a session.")
    account: ColumnOf[str] = column(sa.String(64), doc="The provider account, or the channel of the sender.")
    fence: ColumnOf[int]
    repeatable: ColumnOf[bool] = column(doc="Whether the call may be repeated if its outcome is unknown.")
    reconcile_at: ColumnOf[datetime | None] = column(
        doc="When an unknown outcome may be reconciled with the other side; NULL: it cannot be reconciled."
    )
    reconciles: ColumnOf[uuid.UUID | None] = column(
        doc="The attempt that this attempt reconciles, by a look-up; its own id: a look-up of the job's session; NULL:"
        " an ordinary call."
    )
    opened_at: ColumnOf[datetime]
    closed_at: ColumnOf[datetime | None]
    outcome: ColumnOf[str | None] = column(
        sa.String(16),
        doc="done, not_sent, unreachable, late, or a Kind; more (a look-up with another page) or unanswered (a look-up"
        " whose worker died, or that the call's own answer overtook); NULL: open.",
    )
    status: ColumnOf[int | None] = column(doc="HTTP or SMTP status.")
    code: ColumnOf[str | None] = column(sa.String(64))
    detail: ColumnOf[str] = column(sa.String(DETAIL_LENGTH), doc="Our own words, and what is documented of the answer.")
    encrypted: ColumnOf[bytes | None] = column(
        doc="The other side's own sentence, encrypted: it may quote the customer. NULL: none, or erased."
    )
    found: ColumnOf[str] = column(
        sa.String(400),
        server_default="",
        doc="References of sessions or messages that exist only at the other side: those of a look-up are separated by"
        " spaces, a late answer has one.",
    )
    counted: ColumnOf[int] = column(sa.SmallInteger, server_default="0", doc="As in `job`.")

    # No index uses a column that closing changes (closed_at, outcome, ...), not even as a predicate: PostgreSQL then
    # updates the row in its own page and writes no index. A job has few attempts, so the index on `job_id` also finds
    # the open ones.
    __table_args__ = (
        # Both are small: they hold only attempts that had to do with an unknown outcome.
        partial("ix_attempt_reconciles", "reconciles", where="reconciles IS NOT NULL"),
        partial("ix_attempt_found", "job_id", where="found <> ''"),
    )


class SessionRow(Base):
    """A verification opened at a provider."""

    __tablename__ = "session"

    id: ColumnOf[uuid.UUID] = column(primary_key=True)
    customer_id: ColumnOf[str] = column(sa.String(100))
    purpose: ColumnOf[str] = column(sa.String(64))
    job_id: ColumnOf[int] = column(BigId, index=True, doc="The job that it was opened for.")
    account: ColumnOf[str] = column(sa.String(64))
    reference: ColumnOf[str] = column(sa.String(100))
    references: ColumnOf[dict[str, Any]] = column(doc="The provider's other ids, by the provider's names.")
    vendor: ColumnOf[str] = column(sa.String(64))
    encrypted: ColumnOf[bytes] = column(
        doc="token, link, digit string and vendor parameters, encrypted; empty: erased."
    )
    sms_sent: ColumnOf[bool]
    state: ColumnOf[SessionState]
    issued_at: ColumnOf[datetime]
    expires_at: ColumnOf[datetime]
    expiry_source: ColumnOf[ExpirySource]
    replaces: ColumnOf[uuid.UUID | None]
    check_at: ColumnOf[datetime | None] = column(
        doc="When to check whether it ended unused. NULL: it is over, or no channel could carry a new link, or it waits"
        " for a result or for a person."
    )
    asked_at: ColumnOf[datetime | None] = column(
        doc="When the provider's list was last asked about it: in review, or before it was replaced or its job lapsed."
    )
    # The last update of the provider and its weight (`session_chain.KnownSession`).
    result: ColumnOf[str] = column(sa.String(16), server_default="", doc="What the provider decided.")
    update_rank: ColumnOf[int] = column(sa.SmallInteger, server_default="0")
    update_at: ColumnOf[datetime | None]
    update_weight: ColumnOf[int] = column(server_default="0")
    verdict_digest: ColumnOf[str] = column(
        sa.String(64),
        server_default="",
        doc="A keyed hash that signs result, state and time (`rows.verdicts`); empty: not signed.",
    )
    reasons: ColumnOf[str] = column(
        sa.String(STORED_LENGTH), server_default="", doc="The provider's codes of why it decided so, spaces between."
    )
    note: ColumnOf[str] = column(sa.String(400), server_default="", doc="A note for people.")
    company_id: ColumnOf[str] = column(
        sa.String(100), doc="iDenfy's id of the company. Later events name the session by this id."
    )
    token_digest: ColumnOf[str | None] = column(
        sa.String(64),
        doc="A keyed hash of the token: no other customer may get it, and some events name the session only by it."
        " NULL: another session of the customer, or of the same entity, has it already.",
    )
    past: ColumnOf[bool] = column(
        server_default=sa.false(),
        doc="Of before its customer was asked again after an approval, or had the id: no cap and no wording counts it.",
    )
    given_away: ColumnOf[str] = column(
        sa.String(16),
        server_default="",
        doc="email, phone or both: the address that its link went to was corrected since, and the link opens there. No"
        " message carries it to another address, unless `same_link`.",
    )
    same_link: ColumnOf[bool] = column(
        server_default=sa.false(), doc="The link that was given away may go to the corrected address all the same."
    )

    __table_args__ = (
        # The sessions of a customer, and among them at most one that is live.
        one_where("uq_session_live", "customer_id", "purpose", where="state IN ('waiting', 'started')"),
        # Only sessions that must be checked: of ten million ended sessions none is in this index.
        partial("ix_session_check", "check_at", "id", where="check_at IS NOT NULL"),
        # Only sessions that still have their token and link.
        partial("ix_session_link", "expires_at", where="length(encrypted) > 0"),
        sa.Index("ix_session_reference", "account", "reference"),
        partial("ix_session_company", "company_id", where="company_id <> ''"),
        # Also of ended sessions: a cache returns an old answer.
        partial("uq_session_token", "token_digest", where="token_digest IS NOT NULL", unique=True),
        # Only customers in review: since when the first of a batch waits for the provider's decision.
        partial("ix_session_review", "job_id", "update_at", where="result = 'review'"),
    )


class InvitationRow(Base):
    """The message with a session's link on one channel. The id is always the left part of its Message-ID."""

    __tablename__ = "invitation"

    id: ColumnOf[uuid.UUID] = column(primary_key=True)
    session_id: ColumnOf[uuid.UUID]
    job_id: ColumnOf[int] = column(BigId, index=True)
    batch_id: ColumnOf[int] = column(BigId, index=True)
    channel: ColumnOf[str] = column(sa.String(8))
    kind: ColumnOf[str] = column(sa.String(16), doc="invitation, or the name of the reminder or the resend.")
    state: ColumnOf[InvitationState]
    due_at: ColumnOf[datetime | None]
    priority: ColumnOf[int] = column(sa.SmallInteger)
    lease_until: ColumnOf[datetime | None]
    lease_owner: ColumnOf[str] = column(sa.String(64), doc="host:process, for people.")
    fence: ColumnOf[int]
    attempts: ColumnOf[int]
    waits: ColumnOf[int]
    reason: ColumnOf[str] = column(sa.String(40))
    detail: ColumnOf[str] = column(sa.String(DETAIL_LENGTH))
    reference: ColumnOf[str] = column(sa.String(REFERENCE_LENGTH), doc="The sender's id of the message.")
    unknown_attempt: ColumnOf[uuid.UUID | None] = column(doc="As in `job`: the hand-over to reconcile.")
    unknown_handovers: ColumnOf[int] = column(
        sa.SmallInteger,
        server_default="0",
        doc="Hand-overs whose outcome stays unknown: each may have reached the customer, so each counts as a message.",
    )
    lost_handovers: ColumnOf[int] = column(
        sa.SmallInteger,
        server_default="0",
        doc="Hand-overs that the sender reported as lost, because of us or for no known reason: each is a message.",
    )
    created_at: ColumnOf[datetime]
    sent_at: ColumnOf[datetime | None]
    new_link: ColumnOf[bool] = column(
        server_default=sa.false(), doc="Whether it left with the words of a new link: the customer had an earlier one."
    )
    template: ColumnOf[str] = column(
        sa.String(16), server_default="", doc="The digest of the files that it was made from; empty: it was not made."
    )
    segments: ColumnOf[int] = column(
        sa.SmallInteger, server_default="1", doc="The texts that it was sent and is charged as; 1 on other channels."
    )
    delivery_at: ColumnOf[datetime | None] = column(doc="When the sender reported it delivered or returned.")
    counted: ColumnOf[int] = column(sa.SmallInteger, server_default="0", doc="As in `job`.")

    __table_args__ = (
        sa.UniqueConstraint("session_id", "channel", "kind"),
        partial("ix_invitation_due", "channel", "priority", "due_at", "id", "batch_id", where="state = 'waiting'"),
        partial("ix_invitation_lease", "lease_until", where="state = 'working'"),
        # Callbacks name a text by the sender's id, and an email by its Message-ID, which is the row's own id.
        partial("ix_invitation_reference", "reference", where="channel <> 'email' AND reference <> ''"),
        partial("ix_invitation_waits", "batch_id", "reason", "due_at", where=_WAITS),
        partial("ix_invitation_brand_missing", "job_id", where=_BRAND_MISSING),
        partial("ix_invitation_unknown", "batch_id", where="unknown_attempt IS NOT NULL"),
    )


# A job that joined another list's job has the state of that job. It is read, never copied, so they cannot differ. A
# query that uses these joins `LEAD`: `.join(LEAD, LEAD.id == Job.leader_id, isouter=True)`.
LEAD = aliased(Job)
STATE = sa.func.coalesce(LEAD.state, Job.state)
ACCOUNT = sa.func.coalesce(LEAD.account, Job.account)
RESULT = sa.func.coalesce(LEAD.result, Job.result)
REFUSED_SESSION = sa.func.coalesce(LEAD.refused_session, Job.refused_session)
LEAD_CHANNEL = sa.func.coalesce(LEAD.channel, Job.channel)
REASON = sa.func.coalesce(LEAD.reason, Job.reason)
DETAIL = sa.func.coalesce(LEAD.detail, Job.detail)
DUE_AT = sa.func.coalesce(LEAD.due_at, Job.due_at)


def served_by(batch_id: int, row: int) -> str:
    """The detail of a job that joined the job of this row. It is written again whenever the job joins another one."""
    return f"joined batch {batch_id}, row {row}"
