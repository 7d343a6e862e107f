"""What people ask: how a batch stands, and what became of each of its lines. Counted from the rows themselves."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.customers import Channel, invitation_channels
from worker.endings import Kind
from worker.keyring import Keyring
from worker.models import Attempt, Audit, Batch, CustomerRow, InvitationRow, Job, Refusal, SessionRow
from worker.states import InvitationState, JobState
from worker.store.attempts import DONE, LATE
from worker.store.database import Database, fetch
from worker.store.doubts import MORE, InDoubt, opened_late, waiting_to_be_looked_up
from worker.store.jobs import PRIORITIES
from worker.store.leases import NOT_SENT
from worker.store.sealing import ERASED, open_link

LOT = 1000  # report lines read at a time: a million of them must not be in memory at once


@dataclass(frozen=True)
class AccountFacts:
    """What one account did for a batch. `requests` counts every call made, refused ones too."""

    requests: int = 0
    issued: int = 0
    rate_limited: int = 0
    errors: int = 0
    late: int = 0  # sessions that were opened, and whose answers came when their jobs had gone on without them


@dataclass
class BatchCounts:
    """A batch in numbers. `issued_only`: jobs in state issued that ask for no message."""

    jobs: dict[JobState, int] = field(default_factory=dict)
    issued_only: int = 0
    rejected: int = 0
    duplicate: int = 0
    results: dict[str, int] = field(default_factory=dict)
    invitations: dict[InvitationState, int] = field(default_factory=dict)
    accounts: dict[str, AccountFacts] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)  # jobs that still need a call, by account
    unsent: dict[str, int] = field(default_factory=dict)  # invitations that have not left, by channel
    to_come: dict[str, int] = field(default_factory=dict)  # invitations of jobs that still need a call, by channel


@dataclass(frozen=True)
class Outlook:
    """When what is left of a batch is due: by account, by channel. `under_way`: some of it is being worked."""

    accounts: dict[str, datetime]
    channels: dict[str, datetime]
    under_way: bool


@dataclass(frozen=True, repr=False)
class LineFacts:
    """What became of one line. `link` is set only when asked for."""

    row: int
    customer_id: str
    state: str
    result: str = ""
    account: str = ""
    route: str = ""
    reference: str = ""
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    invitation: str = "none"
    attempts: int = 0
    waits: int = 0
    due_at: datetime | None = None
    reason: str = ""
    detail: str = ""
    late: str = ""  # references of sessions that the provider opened for it, and nobody holds the tokens of
    link: str = ""


# A joined job's state is that of the job that it joins: read, never copied, so that they cannot differ.
_Lead = aliased(Job)
_STATE = sa.func.coalesce(_Lead.state, Job.state)
_ACCOUNT = sa.func.coalesce(_Lead.account, Job.account)
_RESULT = sa.func.coalesce(_Lead.result, Job.result)


class Facts:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def counts(self, batch_id: int) -> BatchCounts:
        """The batch in numbers, as it stands; of one that was purged, as it stood then."""
        counts = BatchCounts()
        with self._database.read() as connection:
            totals = connection.execute(sa.select(Batch.totals).where(Batch.id == batch_id)).scalar()
            if totals is not None:
                return _from_totals(totals)
            query = (
                sa.select(
                    _STATE.label("state"),
                    Job.channel,
                    _ACCOUNT.label("account"),
                    _RESULT.label("result"),
                    sa.func.count().label("jobs"),
                )
                .select_from(Job)
                .join(_Lead, _Lead.id == Job.joins, isouter=True)
                .where(Job.batch_id == batch_id)
                .group_by(_STATE, Job.channel, _ACCOUNT, _RESULT)
            )
            for row in fetch(connection, query):
                _count_jobs(counts, row)
            refusals = sa.select(sa.func.count(), sa.func.count(Refusal.duplicate_of))
            rejected, duplicate = connection.execute(refusals.where(Refusal.batch_id == batch_id)).one()
            messages = (
                sa.select(InvitationRow.state, InvitationRow.channel, sa.func.count().label("messages"))
                .where(InvitationRow.batch_id == batch_id)
                .group_by(InvitationRow.state, InvitationRow.channel)
            )
            for row in fetch(connection, messages):
                counts.invitations[row.state] = counts.invitations.get(row.state, 0) + row.messages
                if row.state in (InvitationState.WAITING, InvitationState.WORKING):
                    counts.unsent[row.channel] = counts.unsent.get(row.channel, 0) + row.messages
            calls = (
                sa.select(
                    Attempt.account,
                    Attempt.outcome,
                    Attempt.looks_up.is_not(None).label("look_up"),
                    sa.func.count().label("calls"),
                )
                .join(Job, Job.id == Attempt.job_id)
                .where(Job.batch_id == batch_id, Attempt.invitation_id.is_(None))
                .group_by(Attempt.account, Attempt.outcome, Attempt.looks_up.is_not(None))
            )
            for row in fetch(connection, calls):
                before = counts.accounts.get(row.account, AccountFacts())
                counts.accounts[row.account] = _count_calls(before, row.outcome, row.calls, look_up=row.look_up)
        counts.rejected, counts.duplicate = rejected - duplicate, duplicate
        return counts

    def in_doubt(self, batch_id: int) -> InDoubt:
        """What of a batch waits to be looked up."""
        with self._database.read() as connection:
            return waiting_to_be_looked_up(connection, batch_id)

    def outlook(self, batch_id: int) -> Outlook:
        """When what is left of a batch is due, by account and by channel; rows of the jobs that its own join too."""
        lead_due, lead_priority = (
            sa.func.coalesce(_Lead.due_at, Job.due_at),
            sa.func.coalesce(_Lead.priority, Job.priority),
        )
        waiting = sa.and_(_STATE == JobState.WAITING, lead_priority.in_(PRIORITIES))
        jobs = (
            sa.select(_ACCOUNT.label("name"), sa.func.min(lead_due).label("due_at"))
            .select_from(Job)
            .join(_Lead, _Lead.id == Job.joins, isouter=True)
            .where(Job.batch_id == batch_id, waiting)
            .group_by(_ACCOUNT)
        )
        unsent = sa.and_(InvitationRow.state == InvitationState.WAITING, InvitationRow.priority.in_(PRIORITIES))
        letters = (
            sa.select(InvitationRow.channel.label("name"), sa.func.min(InvitationRow.due_at).label("due_at"))
            .join(Job, sa.func.coalesce(Job.joins, Job.id) == InvitationRow.job_id)
            .where(Job.batch_id == batch_id, unsent)
            .group_by(InvitationRow.channel)
        )
        under_way = (
            sa.select(sa.literal(1))
            .select_from(Job)
            .join(_Lead, _Lead.id == Job.joins, isouter=True)
            .join(InvitationRow, InvitationRow.job_id == sa.func.coalesce(Job.joins, Job.id), isouter=True)
            .where(
                Job.batch_id == batch_id,
                sa.or_(_STATE == JobState.WORKING, InvitationRow.state == InvitationState.WORKING),
            )
            .limit(1)
        )
        with self._database.read() as connection:
            return Outlook(
                {row.name: row.due_at for row in fetch(connection, jobs)},
                {row.name: row.due_at for row in fetch(connection, letters)},
                connection.execute(under_way).first() is not None,
            )

    def lines(self, batch_id: int, *, with_links: bool = False) -> Iterator[LineFacts]:
        """Each line of the batch in order, refused ones too, read in lots."""
        after = 0
        while True:
            with self._database.read() as connection:
                jobs = list(self._job_lines(connection, batch_id, after, with_links=with_links))
                refusals = list(_refused_lines(connection, batch_id, after))
            lot = sorted([*jobs, *refusals], key=lambda line: line.row)[:LOT]
            if not lot:
                return
            yield from lot
            after = lot[-1].row

    def _job_lines(
        self, connection: sa.Connection, batch_id: int, after: int, *, with_links: bool
    ) -> Iterable[LineFacts]:
        query = (
            sa.select(
                Job.id,
                Job.row,
                Job.customer_id,
                _STATE.label("state"),
                _RESULT.label("result"),
                Job.account,
                Job.route,
                Job.attempts,
                Job.waits,
                Job.due_at,
                Job.reason,
                Job.detail,
                SessionRow.id.label("session_id"),
                SessionRow.reference,
                SessionRow.issued_at,
                SessionRow.expires_at,
                SessionRow.sealed,
            )
            .join(_Lead, _Lead.id == Job.joins, isouter=True)
            .join(SessionRow, SessionRow.id == sa.func.coalesce(_Lead.session_id, Job.session_id), isouter=True)
            .where(Job.batch_id == batch_id, Job.row > after)
            .order_by(Job.row)
            .limit(LOT)
        )
        rows = fetch(connection, query)
        invitations = _invitation_words(connection, {row.session_id for row in rows if row.session_id})
        late = opened_late(connection, [row.id for row in rows])
        for row in rows:
            # One that was erased has none: what is told of it is that it was there.
            has_link = with_links and row.session_id is not None and row.sealed != ERASED
            link = open_link(self._keyring, row.session_id, row.sealed) if has_link else ""
            yield LineFacts(
                row=row.row,
                customer_id=row.customer_id,
                state=row.state.value,
                result=row.result,
                account=row.account,
                route=row.route,
                reference=row.reference or "",
                issued_at=row.issued_at,
                expires_at=row.expires_at,
                invitation=invitations.get(row.session_id, "none"),
                attempts=row.attempts,
                waits=row.waits,
                due_at=row.due_at,
                reason=row.reason,
                detail=row.detail,
                late=", ".join(late.get(row.id, ())),
                link=link,
            )

    def any_sealed(self) -> tuple[str, bytes] | None:
        """The newest customer's id and sealed person, to try the keys on; None while there is none."""
        query = sa.select(CustomerRow.customer_id, CustomerRow.sealed).where(CustomerRow.sealed.is_not(None))
        with self._database.read() as connection:
            row = connection.execute(query.order_by(CustomerRow.changed_at.desc()).limit(1)).first()
        return (row.customer_id, row.sealed) if row is not None and row.sealed is not None else None

    def audit(self, *, actor: str, action: str, subject: str, now: datetime) -> None:
        """Note who looked at, or changed, what is not everybody's to see."""
        row = {"at": now, "actor": actor[:64], "action": action, "subject": subject[:200]}
        with self._database.write() as connection:
            connection.execute(sa.insert(Audit).values(row))


def totals_of(counts: BatchCounts) -> dict[str, Any]:
    """The numbers of a batch whose jobs have ended, to keep when its rows go."""
    return {
        "jobs": dict(counts.jobs),
        "issued_only": counts.issued_only,
        "rejected": counts.rejected,
        "duplicate": counts.duplicate,
        "results": counts.results,
        "invitations": dict(counts.invitations),
        "accounts": {name: asdict(facts) for name, facts in counts.accounts.items()},
    }


def _from_totals(totals: dict[str, Any]) -> BatchCounts:
    return BatchCounts(
        jobs={JobState(state): number for state, number in totals["jobs"].items()},
        issued_only=totals["issued_only"],
        rejected=totals["rejected"],
        duplicate=totals["duplicate"],
        results=totals["results"],
        invitations={InvitationState(state): number for state, number in totals["invitations"].items()},
        accounts={name: AccountFacts(**facts) for name, facts in totals["accounts"].items()},
    )


def _count_jobs(counts: BatchCounts, row: sa.Row[Any]) -> None:
    counts.jobs[row.state] = counts.jobs.get(row.state, 0) + row.jobs
    counts.accounts.setdefault(row.account, AccountFacts())
    if row.state is JobState.ISSUED and row.channel is Channel.NONE:
        counts.issued_only += row.jobs
    if row.result:
        counts.results[row.result] = counts.results.get(row.result, 0) + row.jobs
    if row.state in (JobState.WAITING, JobState.WORKING):
        counts.waiting[row.account] = counts.waiting.get(row.account, 0) + row.jobs
        for channel in invitation_channels(row.channel):
            counts.to_come[channel] = counts.to_come.get(channel, 0) + row.jobs


def _count_calls(facts: AccountFacts, outcome: str | None, calls: int, *, look_up: bool) -> AccountFacts:
    """A look-up is a call that was made; what it found was opened by another."""
    if outcome == NOT_SENT:
        return facts
    issued = outcome in (DONE, LATE) and not look_up
    limited = outcome == Kind.RATE_LIMITED
    well = issued or limited or outcome is None or (look_up and outcome in (DONE, MORE))
    return AccountFacts(
        requests=facts.requests + calls,
        issued=facts.issued + (calls if issued else 0),
        rate_limited=facts.rate_limited + (calls if limited else 0),
        errors=facts.errors + (0 if well else calls),
        late=facts.late + (calls if outcome == LATE else 0),
    )


# Of several messages of one session the report names the one that got furthest.
_FURTHEST = ["delivered", "sent", "held", "waiting", "working", "bounced", "suppressed", "failed", "superseded"]


def _invitation_words(connection: sa.Connection, sessions: set[uuid.UUID]) -> dict[uuid.UUID, str]:
    if not sessions:
        return {}
    query = sa.select(InvitationRow.session_id, InvitationRow.state).where(InvitationRow.session_id.in_(sessions))
    furthest: dict[uuid.UUID, str] = {}
    for row in fetch(connection, query):
        words = [row.state.value, *([furthest[row.session_id]] if row.session_id in furthest else [])]
        furthest[row.session_id] = min(words, key=_FURTHEST.index)
    spoken = {"working": "waiting", "superseded": "none"}
    return {session_id: spoken.get(word, word) for session_id, word in furthest.items()}


def _refused_lines(connection: sa.Connection, batch_id: int, after: int) -> Iterable[LineFacts]:
    query = (
        sa.select(Refusal.row, Refusal.customer_id, Refusal.duplicate_of, Refusal.problems)
        .where(Refusal.batch_id == batch_id, Refusal.row > after)
        .order_by(Refusal.row)
        .limit(LOT)
    )
    for row in fetch(connection, query):
        if row.duplicate_of is not None:
            detail = f"the same customer as row {row.duplicate_of}"
        else:
            detail = "; ".join(f"{item['column']}: {item['problem']}" for item in row.problems)
        yield LineFacts(
            row=row.row,
            customer_id=row.customer_id or "",
            state="rejected" if row.duplicate_of is None else "duplicate",
            reason="rejected" if row.duplicate_of is None else "duplicate",
            detail=detail,
        )
