"""The numbers of a batch, counted from its rows. For a purged batch: the totals that were kept."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.domain.model.customers import Channel, invitation_channels
from worker.domain.model.endings import Kind
from worker.domain.model.reasons import Reason
from worker.domain.model.states import REACHED_JOBS, InvitationState, JobState
from worker.store.attempts.attempt_log import DONE, LATE
from worker.store.attempts.unknown_outcomes import MORE
from worker.store.base.database import fetch
from worker.store.base.leases import NOT_SENT
from worker.store.onboarding.sessions import FIRST, OF_ITS_SESSION
from worker.store.tables import Attempt, Batch, InvitationRow, Job, SkippedLine
from worker.store.tables.types import word_of


@dataclass(frozen=True)
class AccountFacts:
    """The calls of one account for a batch. `requests` counts every call made, including refused calls."""

    requests: int = 0
    issued: int = 0
    rate_limited: int = 0
    errors: int = 0
    late: int = 0  # sessions that were opened, and whose answers were lost or too late for their jobs


@dataclass
class Waits:
    """The rows of a batch that wait for one reason, and when they are due.

    `calls` counts jobs by the account to be called, `messages` counts messages by channel.
    """

    rows: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None

    def add(
        self, rows: int, first: datetime | None, last: datetime | None, *, account: str, channels: Iterable[str]
    ) -> None:
        """Add jobs, or messages of jobs that have their session: then `account` is empty."""
        self.rows += rows
        if account:
            self.calls[account] = self.calls.get(account, 0) + rows
        for channel in channels:
            self.messages[channel] = self.messages.get(channel, 0) + rows
        self.first = min((at for at in (self.first, first) if at is not None), default=None)
        self.last = _later(self.last, last)


@dataclass
class BatchCounts:
    """The numbers of a batch. `issued_only`: jobs in state issued that need no message."""

    jobs: dict[JobState, int] = field(default_factory=dict)
    issued_only: int = 0
    sessions: int = 0  # jobs whose session was opened, whether or not it still is
    rejected: int = 0
    duplicate: int = 0
    results: dict[str, int] = field(default_factory=dict)
    invitations: dict[InvitationState, int] = field(default_factory=dict)
    accounts: dict[str, AccountFacts] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)  # jobs that still need a call, by account
    unsent: dict[str, int] = field(default_factory=dict)  # invitations that have not left, by channel
    to_come: dict[str, int] = field(default_factory=dict)  # invitations of jobs that still need a call, by channel
    last_due: datetime | None = None  # when the last message is due
    waits: dict[str, Waits] = field(default_factory=dict)  # by reason
    lapsed_unsent: int = 0  # lapsed jobs of which no message ever left

    @property
    def out(self) -> int:
        """The rows whose first invitation is out, or that need no message and have their session."""
        return sum(self.jobs.get(state, 0) for state in REACHED_JOBS) + self.issued_only

    @property
    def left(self) -> int:
        """The rows that wait for their session or for their first message."""
        unsent = (JobState.WAITING, JobState.WORKING, JobState.ISSUED)
        return sum(self.jobs.get(state, 0) for state in unsent) - self.issued_only


# The reasons for which a job waits until a later hour.
REASONS = (Reason.QUIET_HOURS, Reason.WAITS_FOR_SENDER, Reason.ADDRESS_SPENT)
# A joined job has the state of the job that it joined. It is read, never copied, so that the two cannot differ.
LEAD = aliased(Job)
STATE = sa.func.coalesce(LEAD.state, Job.state)
ACCOUNT = sa.func.coalesce(LEAD.account, Job.account)
RESULT = sa.func.coalesce(LEAD.result, Job.result)
LEAD_CHANNEL = sa.func.coalesce(LEAD.channel, Job.channel)
REASON = sa.func.coalesce(LEAD.reason, Job.reason)
# The reason for which a waiting job waits until a later hour; empty: it waits for a call, or is due.
WAITS_FOR = sa.case((sa.and_(STATE == JobState.WAITING, REASON.in_(REASONS)), REASON), else_="")

# Ended because no address may be written to: before a session was requested, or before its message was sent.
_UNREACHABLE = sa.case(
    (sa.and_(Job.joins.is_(None), Job.state == JobState.FAILED, Job.reason == Reason.SUPPRESSED), 1), else_=0
)
_UNWRITTEN = (
    sa.select(Job.channel, sa.func.count().label("jobs"))
    .where(
        Job.batch_id == sa.bindparam("batch"),
        _UNREACHABLE == 1,
        ~sa.exists().where(OF_ITS_SESSION, InvitationRow.state != InvitationState.SUPERSEDED),
    )
    .group_by(Job.channel)
)

_MESSAGE_WAITS_FOR = sa.case(
    (
        sa.and_(
            InvitationRow.state == InvitationState.WAITING,
            InvitationRow.reason.in_((Reason.QUIET_HOURS, Reason.IN_REVIEW, Reason.ADDRESS_SPENT)),
        ),
        InvitationRow.reason,
    ),
    else_="",
)


# A message that left has the time of it, whatever became of it since.
_LAPSED_UNSENT = (
    sa.select(sa.func.count())
    .select_from(Job)
    .join(LEAD, LEAD.id == Job.joins, isouter=True)
    .where(
        Job.batch_id == sa.bindparam("batch"),
        STATE == JobState.LAPSED,
        ~sa.exists().where(
            InvitationRow.job_id == sa.func.coalesce(Job.joins, Job.id), InvitationRow.sent_at.is_not(None)
        ),
    )
)


def count(connection: sa.Connection, batch_id: int) -> BatchCounts:
    """The present numbers of the batch; of a purged batch, the numbers at its purge."""
    counts = BatchCounts()
    totals = connection.execute(sa.select(Batch.totals).where(Batch.id == batch_id)).scalar()
    if totals is not None:
        return _from_totals(totals)
    query = (
        sa.select(
            STATE.label("state"),
            Job.channel,
            ACCOUNT.label("account"),
            RESULT.label("result"),
            WAITS_FOR.label("waits_for"),
            _UNREACHABLE.label("unreachable"),
            sa.func.count().label("jobs"),
            sa.func.count(sa.func.coalesce(LEAD.session_id, Job.session_id)).label("sessions"),
            sa.func.max(Job.invite_at).label("last_due"),
            sa.func.min(sa.func.coalesce(LEAD.due_at, Job.due_at)).label("waits_from"),
            sa.func.max(sa.func.coalesce(LEAD.due_at, Job.due_at)).label("waits_until"),
        )
        .select_from(Job)
        .join(LEAD, LEAD.id == Job.joins, isouter=True)
        .where(Job.batch_id == batch_id)
        .group_by(STATE, Job.channel, ACCOUNT, RESULT, WAITS_FOR, _UNREACHABLE)
    )
    jobs = fetch(connection, query)
    for row in jobs:
        _count_jobs(counts, row)
    refusals = sa.select(sa.func.count(), sa.func.count(SkippedLine.duplicate_of))
    rejected, duplicate = connection.execute(refusals.where(SkippedLine.batch_id == batch_id)).one()
    messages = (
        sa.select(
            InvitationRow.state,
            InvitationRow.channel,
            sa.func.count().label("messages"),
            _MESSAGE_WAITS_FOR.label("waits_for"),
            sa.func.min(InvitationRow.due_at).label("first_due"),
            sa.func.max(InvitationRow.due_at).label("last_due"),
        )
        # Without reminders: no batch waits for them, and they may be due weeks later.
        .where(InvitationRow.batch_id == batch_id, InvitationRow.kind == FIRST)
        .group_by(InvitationRow.state, InvitationRow.channel, _MESSAGE_WAITS_FOR)
    )
    for row in fetch(connection, messages):
        counts.invitations[row.state] = counts.invitations.get(row.state, 0) + row.messages
        if row.state in (InvitationState.WAITING, InvitationState.WORKING):
            counts.unsent[row.channel] = counts.unsent.get(row.channel, 0) + row.messages
            counts.last_due = _later(counts.last_due, row.last_due)
        if row.waits_for:
            waits = counts.waits.setdefault(row.waits_for, Waits())
            waits.add(row.messages, row.first_due, row.last_due, account="", channels=[row.channel])
    if counts.jobs.get(JobState.LAPSED):
        counts.lapsed_unsent = connection.execute(_LAPSED_UNSENT, {"batch": batch_id}).scalar_one()
    if any(row.unreachable for row in jobs):
        _count_unwritten(counts, connection, batch_id)
    calls = (
        sa.select(
            Attempt.account,
            Attempt.outcome,
            Attempt.reconciles.is_not(None).label("look_up"),
            sa.func.count().label("calls"),
        )
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.batch_id == batch_id, Attempt.invitation_id.is_(None))
        .group_by(Attempt.account, Attempt.outcome, Attempt.reconciles.is_not(None))
    )
    for row in fetch(connection, calls):
        before = counts.accounts.get(row.account, AccountFacts())
        counts.accounts[row.account] = _count_calls(before, row.outcome, row.calls, look_up=row.look_up)
    counts.rejected, counts.duplicate = rejected - duplicate, duplicate
    return counts


def _count_unwritten(counts: BatchCounts, connection: sa.Connection, batch_id: int) -> None:
    """Count the messages that were not even written as suppressed: no address could be written to."""
    for row in fetch(connection, _UNWRITTEN, {"batch": batch_id}):
        messages = row.jobs * len(invitation_channels(row.channel))
        suppressed = counts.invitations.get(InvitationState.SUPPRESSED, 0)
        counts.invitations[InvitationState.SUPPRESSED] = suppressed + messages


def totals_of(counts: BatchCounts) -> dict[str, Any]:
    """The numbers of a finished batch, to be kept when its rows are purged."""
    return {
        "jobs": dict(counts.jobs),
        "issued_only": counts.issued_only,
        "sessions": counts.sessions,
        "lapsed_unsent": counts.lapsed_unsent,
        "rejected": counts.rejected,
        "duplicate": counts.duplicate,
        "results": counts.results,
        "invitations": dict(counts.invitations),
        "accounts": {name: asdict(facts) for name, facts in counts.accounts.items()},
    }


def _from_totals(totals: dict[str, Any]) -> BatchCounts:
    return BatchCounts(
        jobs={word_of(JobState, state): number for state, number in totals["jobs"].items()},
        issued_only=totals["issued_only"],
        sessions=totals["sessions"],
        lapsed_unsent=totals["lapsed_unsent"],
        rejected=totals["rejected"],
        duplicate=totals["duplicate"],
        results=totals["results"],
        invitations={word_of(InvitationState, state): number for state, number in totals["invitations"].items()},
        accounts={name: AccountFacts(**facts) for name, facts in totals["accounts"].items()},
    )


def _count_jobs(counts: BatchCounts, row: sa.Row[Any]) -> None:
    counts.jobs[row.state] = counts.jobs.get(row.state, 0) + row.jobs
    counts.sessions += row.sessions
    counts.accounts.setdefault(row.account, AccountFacts())
    if row.state is JobState.ISSUED and row.channel is Channel.NONE:
        counts.issued_only += row.jobs
    if row.result:
        counts.results[row.result] = counts.results.get(row.result, 0) + row.jobs
    if row.waits_for:
        waits = counts.waits.setdefault(row.waits_for, Waits())
        channels = invitation_channels(row.channel)
        waits.add(row.jobs, row.waits_from, row.waits_until, account=row.account, channels=channels)
    if row.state in (JobState.WAITING, JobState.WORKING):
        counts.waiting[row.account] = counts.waiting.get(row.account, 0) + row.jobs
        counts.last_due = _later(counts.last_due, row.last_due)
        for channel in invitation_channels(row.channel):
            counts.to_come[channel] = counts.to_come.get(channel, 0) + row.jobs


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((time for time in (one, other) if time is not None), default=None)


def _count_calls(facts: AccountFacts, outcome: str | None, calls: int, *, look_up: bool) -> AccountFacts:
    """Add calls with this outcome. A look-up counts as a request, and never as an issued session."""
    if outcome == NOT_SENT:
        return facts
    issued = outcome in (DONE, LATE, Kind.SHORT_LIVED) and not look_up
    limited = outcome == Kind.RATE_LIMITED
    well = issued or limited or outcome is None or (look_up and outcome in (DONE, MORE))
    return AccountFacts(
        requests=facts.requests + calls,
        issued=facts.issued + (calls if issued else 0),
        rate_limited=facts.rate_limited + (calls if limited else 0),
        errors=facts.errors + (0 if well else calls),
        late=facts.late + (calls if outcome == LATE else 0),
    )
