"""Reads the numbers of a batch from its kept counts (`BatchCount`): a million rows cost as much as a hundred. Their
changes are added up here, so that few are left to read. Only rows that need it are read one by one: those that joined a
job of another list, and those whose message never left."""

from collections import defaultdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.job_ids import NEWEST_FIRST, of_batch
from onboarding_worker.core.database.tables import (
    Batch,
    BatchCount,
    BatchCountChange,
    InvitationRow,
    Job,
    SessionRow,
    SkippedLine,
)
from onboarding_worker.core.database.tables.types import word_of
from onboarding_worker.core.database.tables.work import ACCOUNT, DUE_AT, LEAD, REASON, RESULT, STATE
from onboarding_worker.core.model import states
from onboarding_worker.core.model.customers import Channel, invitation_channels
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import UNISSUED_JOBS, InvitationState, JobState, Result
from onboarding_worker.core.rows.message_rows import OF_ITS_SESSION
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.reporting.store.counts import AccountFacts, BatchCounts, Waits, from_totals

_BATCH = sa.bindparam("batch", type_=Job.batch_id.type)
_COLUMNS = [column.name for column in BatchCount.__table__.columns]
_WORDS = _COLUMNS[:-2]  # the key: what is alike

AT_ONCE = 5_000  # changes in a transaction
LEFT = 500  # fewer are not worth a transaction
_NEXT = sa.select(BatchCountChange.id).order_by(BatchCountChange.id).limit(AT_ONCE)
# Two transactions may remove changes at once: each gets those that the other did not.
_TAKE = (
    sa.delete(BatchCountChange)
    .where(BatchCountChange.id.in_(_NEXT.scalar_subquery()))
    .returning(*(BatchCountChange.__table__.c[name] for name in _COLUMNS))
)
MANY_CHANGES = sa.exists(sa.select(BatchCountChange.id).offset(LEFT))


def _under_lease(kind: tally.CountOf, model: type[Job] | type[InvitationRow], *conditions: Any) -> list[sa.Select[Any]]:
    """The leased rows, which are counted as waiting ones: once more as what they are, and once less as waiting."""
    none: sa.ColumnElement[Any] = sa.literal("")
    words = [
        model.channel.label("channel"),
        (Job.account if model is Job else none).label("account"),
        (Job.result if model is Job else none).label("result"),
    ]
    leased = (
        sa.select(model.batch_id, *words, sa.cast(sa.func.count(), sa.Integer).label("rows"))
        .where(model.state == bulk.fixed(JobState.WORKING), model.lease_until.is_not(None), *conditions)
        .group_by(model.batch_id, *words)
        .subquery()
        .c
    )
    alike = [leased.channel, leased.account, leased.result, none]
    return [
        sa.select(leased.batch_id, sa.literal(kind.value), sa.literal(state), *alike, sign * leased.rows, sa.literal(0))
        for state, sign in (("working", 1), ("waiting", -1))
    ]


_PARTS = sa.union_all(
    *(sa.select(*(getattr(model, name) for name in _COLUMNS)) for model in (BatchCount, BatchCountChange)),
    *_under_lease(tally.CountOf.JOB, Job, Job.leader_id.is_(None)),
    *_under_lease(tally.CountOf.MESSAGE, InvitationRow, InvitationRow.kind == FIRST),
).subquery("counted")
# The counts as they are now: one statement, so that no change comes in between.
COUNTED = _PARTS.c
ROWS = sa.func.sum(COUNTED.rows)
_COUNTS = (
    sa.select(*(COUNTED[name] for name in _WORDS), ROWS.label("rows"), sa.func.sum(COUNTED.sessions).label("sessions"))
    .where(COUNTED.batch_id == _BATCH)
    .group_by(*(COUNTED[name] for name in _WORDS))
    .having(ROWS > 0)
)

# The reasons for which a job, and a message, wait until a later hour.
_JOBS_WAIT = (Reason.QUIET_HOURS, Reason.WAITS_FOR_SENDER, Reason.ADDRESS_SPENT, Reason.CREDITS_SPENT)
_MESSAGES_WAIT = (Reason.QUIET_HOURS, Reason.IN_REVIEW, Reason.ADDRESS_SPENT)
# Those that put the end of a batch off. A forecast names the messages of an address that is spent apart.
_END_WAITS = (Reason.QUIET_HOURS, Reason.IN_REVIEW)
# The reason for which a waiting job waits until a later hour; empty: it waits for a call, or is due.
WAITS_FOR = sa.case((sa.and_(STATE == JobState.WAITING, REASON.in_(_JOBS_WAIT)), REASON), else_="")

# The batch of the job that a row joined, where that batch is paused and the job waits; null: it can go on.
_PAUSED_AT = sa.case((sa.and_(Batch.pause_cause != "", STATE == JobState.WAITING), Batch.id), else_=sa.null())
_JOINED_WAITS_FOR = sa.case((_PAUSED_AT.is_(None), WAITS_FOR), else_="")


def joined(*columns: Any) -> sa.Select[Any]:
    """Of the batch's rows that joined a job of another list, `LEAD`."""
    rows = sa.select(*columns).select_from(Job).join(LEAD, LEAD.id == Job.leader_id)
    return rows.where(of_batch(_BATCH), Job.leader_id.is_not(None))


# They are counted with the state of that job.
_JOINED = (
    joined(
        STATE.label("state"),
        Job.channel,
        ACCOUNT.label("account"),
        RESULT.label("result"),
        _JOINED_WAITS_FOR.label("reason"),
        _PAUSED_AT.label("paused_at"),
        sa.func.count().label("rows"),
        sa.func.count(LEAD.session_id).label("sessions"),
        sa.func.max(Job.invite_at).label("last_due"),
        sa.func.min(DUE_AT).label("first"),
        sa.func.max(DUE_AT).label("last"),
    )
    .join(Batch, Batch.id == LEAD.batch_id)
    .group_by(STATE, Job.channel, ACCOUNT, RESULT, _JOINED_WAITS_FOR, _PAUSED_AT)
)
# The last of the links that are to be used in the app first: their messages are not due before then.
_LAST_INVITED = sa.select(sa.func.max(Job.invite_at)).where(
    Job.batch_id == _BATCH,
    Job.leader_id.is_(None),
    Job.invite_at.is_not(None),
    Job.state.in_([bulk.fixed(state) for state in states.UNSENT_JOBS]),
    Job.channel != Channel.NONE,
)
_SESSIONS_END = [Reason.CONFLICT, Reason.ORPHAN, Reason.SESSION_ENDS_FIRST, Reason.SESSION_EXPIRED]
_SESSIONS_END += [Reason.STALE_LINK, Reason.UNKNOWN]
# The rows that wait for the end of a session. In the words of their index (`ix_job_waits_for_end`).
WAITS_FOR_END = (
    Job.due_at.is_not(None),
    Job.leader_id.is_(None),
    Job.state == bulk.fixed(JobState.WAITING),
    Job.reason.in_([bulk.fixed(reason) for reason in _SESSIONS_END]),
)


def due_of(model: type[Job] | type[InvitationRow], *which: Any, last: bool = False) -> sa.Select[Any]:
    """When the first of these rows is due, or the last: one look into an index that has them by this time."""
    return sa.select(model.due_at).where(*which).order_by(model.due_at.desc() if last else model.due_at).limit(1)


def first_due(
    connection: sa.Connection, model: type[Job] | type[InvitationRow], *its: Any, now: datetime
) -> datetime | None:
    """When the oldest due row of an account or channel became due: one look into the index for each priority."""
    state = JobState.WAITING if model is Job else InvitationState.WAITING
    due = (*its, model.state == bulk.fixed(state), model.due_at <= now)
    queries = [due_of(model, *due, model.priority == priority) for priority in states.PRIORITIES]
    return min(filter(None, (connection.execute(query).scalar() for query in queries)), default=None)


_LAST_END = due_of(Job, Job.batch_id == _BATCH, *WAITS_FOR_END, last=True)
# Ended because no address may be written to: before a session was requested, or before its message was sent.
_UNWRITTEN = (
    sa.select(Job.channel, sa.func.count().label("jobs"))
    .where(
        of_batch(_BATCH),
        Job.state == bulk.fixed(JobState.FAILED),
        Job.reason == Reason.SUPPRESSED,
        Job.leader_id.is_(None),
        ~sa.exists().where(OF_ITS_SESSION, InvitationRow.state != InvitationState.SUPERSEDED),
    )
    .group_by(Job.channel)
)


def of_job(job: type[Job]) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """A message is the job's by either: its own, or of its session, which another list's row may have had before it."""
    return InvitationRow.job_id == job.id, InvitationRow.session_id == job.session_id


# A message that left has the time of it, whatever became of it since. Not one OR: PostgreSQL would ask row by row.
_LAPSED_UNSENT = sa.select(
    sa.select(sa.func.count())
    .where(
        of_batch(_BATCH),
        Job.state == bulk.fixed(JobState.LAPSED),
        Job.leader_id.is_(None),
        *(~sa.exists().where(its, InvitationRow.sent_at.is_not(None)) for its in of_job(Job)),
    )
    .scalar_subquery()
    + joined(sa.func.count())
    .where(
        LEAD.state == JobState.LAPSED,
        *(~sa.exists().where(its, InvitationRow.sent_at.is_not(None)) for its in of_job(LEAD)),
    )
    .scalar_subquery()
)
# Of a session that was replaced the review may go on: its job says whether it still waits for it.
_IN_REVIEW_SINCE = (
    sa.select(sa.func.min(SessionRow.update_at))
    .select_from(SessionRow)
    .join(Job, Job.id == SessionRow.job_id)
    .where(
        of_batch(_BATCH, id_=SessionRow.job_id),
        SessionRow.result == bulk.fixed(Result.REVIEW),
        Job.result == Result.REVIEW,
    )
)
# Its rows are looked at one by one, 4 µs each, so not of a larger batch that was cancelled: a status takes no second.
_MOST_CANCELLED = 100_000
# Out before its cancel: one of its messages left, or it wanted none and had its session.
_CANCELLED_OUT = sa.select(sa.func.count()).where(
    of_batch(_BATCH),
    Job.state == bulk.fixed(JobState.CANCELLED),
    sa.or_(
        sa.exists().where(InvitationRow.job_id == Job.id, InvitationRow.sent_at.is_not(None)),
        sa.and_(Job.channel == Channel.NONE, Job.session_id.is_not(None)),
    ),
)
_REFUSED = sa.select(sa.func.count(), sa.func.count(SkippedLine.duplicate_of), sa.func.count(SkippedLine.known)).where(
    SkippedLine.batch_id == _BATCH
)
_MOST_REJECTED = 100_000  # their customers are looked up one by one


def later_row() -> sa.ScalarSelect[int]:
    """The newest job that another list or event has brought for the customer of a rejected line since; or null."""
    return (
        sa.select(Job.id)
        .where(
            Batch.id == SkippedLine.batch_id,
            Job.customer_id == SkippedLine.customer_id,
            Job.batch_id != SkippedLine.batch_id,
            Job.state != JobState.CANCELLED,
            Job.created_at > Batch.created_at,
        )
        .order_by(*NEWEST_FIRST)
        .limit(1)
        .correlate(SkippedLine)
        .scalar_subquery()
    )


_CORRECTED = sa.select(sa.func.count()).where(
    SkippedLine.batch_id == _BATCH,
    SkippedLine.duplicate_of.is_(None),
    SkippedLine.known.is_(None),
    later_row().is_not(None),
)


def count(connection: sa.Connection, batch_id: int) -> BatchCounts:
    """The present numbers of the batch; of a purged batch, the numbers at its purge."""
    totals = connection.execute(sa.select(Batch.totals).where(Batch.id == batch_id)).scalar()
    if totals is not None:
        return from_totals(totals)
    counts, given = BatchCounts(), {"batch": batch_id}
    for row in fetch(connection, _COUNTS, given):
        match row.kind:
            case tally.CountOf.JOB:
                _add_jobs(counts, row, word_of(JobState, row.state), word_of(Channel, row.channel))
            case tally.CountOf.MESSAGE:
                _add_messages(counts, row, word_of(InvitationState, row.state))
            case _:
                facts = counts.accounts.setdefault(row.account, AccountFacts())
                _add_calls(facts, row.state, row.rows, look_up=row.kind == tally.CountOf.LOOK_UP)
    for reason, waits in counts.waits.items():
        for model in (Job, InvitationRow):
            waits.between(*connection.execute(bounds(model, Reason(reason)), given).one())
    due, ends = list[datetime | None](), list[datetime | None]()
    for row in fetch(connection, _JOINED, given):
        _add_jobs(counts, row, row.state, row.channel)
        if row.state is JobState.INVITED:
            counts.joined += row.rows
        if row.reason:
            counts.waits[row.reason].between(row.first, row.last)
        if row.paused_at is not None:
            kept = counts.kept.setdefault(row.paused_at, Waits())
            kept.add(row.rows, account=row.account, channels=invitation_channels(row.channel))
        elif row.state in UNISSUED_JOBS:
            due.append(row.last_due)
            if not row.reason:
                ends.append(row.last)
    if counts.waiting:
        ends.append(connection.execute(_LAST_END, given).scalar())
    if counts.waiting or counts.unsent:
        due.append(connection.execute(_LAST_INVITED, given).scalar())
        due += (waits.last for reason, waits in counts.waits.items() if reason in _END_WAITS)
    counts.last_due, counts.last_end = max(filter(None, due), default=None), max(filter(None, ends), default=None)
    if counts.jobs.get(JobState.LAPSED):
        counts.lapsed_unsent = connection.execute(_LAPSED_UNSENT, given).scalar_one()
    if 0 < counts.jobs.get(JobState.CANCELLED, 0) <= _MOST_CANCELLED:
        counts.cancelled_out = connection.execute(_CANCELLED_OUT, given).scalar_one()
    if counts.jobs.get(JobState.FAILED):
        # Count the messages that were not even written as suppressed: no address could be written to.
        for row in fetch(connection, _UNWRITTEN, given):
            counts.invitations[InvitationState.SUPPRESSED] += row.jobs * len(invitation_channels(row.channel))
    if counts.results.get(Result.REVIEW):
        counts.in_review_since = connection.execute(_IN_REVIEW_SINCE, given).scalar()
    refused, counts.duplicate, counts.known = connection.execute(_REFUSED, given).one()
    counts.rejected = refused - counts.duplicate - counts.known
    if 0 < counts.rejected <= _MOST_REJECTED:
        counts.corrected = connection.execute(_CORRECTED, given).scalar_one()
    return counts


def bounds(model: type[Job] | type[InvitationRow], reason: Reason) -> sa.Select[Any, Any]:
    """When the first and the last of the rows are due that wait for this reason: two looks into the index."""
    of_kind = Job.leader_id.is_(None) if model is Job else InvitationRow.kind == FIRST
    waits = (model.state == bulk.fixed(JobState.WAITING), model.reason == bulk.fixed(reason), of_kind)
    ends = (due_of(model, model.batch_id == _BATCH, *waits, last=last) for last in (False, True))
    return sa.select(*(end.scalar_subquery() for end in ends))


def _add_jobs(counts: BatchCounts, row: Any, state: JobState, channel: Channel) -> None:
    counts.jobs[state] += row.rows
    counts.sessions += row.sessions
    counts.accounts.setdefault(row.account, AccountFacts())
    if state is JobState.ISSUED and channel is Channel.NONE:
        counts.issued_only += row.rows
    if row.result:
        counts.results[row.result] += row.rows
    if state not in UNISSUED_JOBS:
        return
    channels = invitation_channels(channel)
    counts.waiting[row.account] += row.rows
    if not channels:
        counts.silent[row.account] += row.rows
    counts.to_come.update(dict.fromkeys(channels, row.rows))
    if row.reason in _JOBS_WAIT:
        counts.waits.setdefault(row.reason, Waits()).add(row.rows, account=row.account, channels=channels)


def _add_messages(counts: BatchCounts, row: Any, state: InvitationState) -> None:
    counts.invitations[state] += row.rows
    if state in (InvitationState.WAITING, InvitationState.WORKING):
        counts.unsent[row.channel] += row.rows
    if row.reason in _MESSAGES_WAIT:
        counts.waits.setdefault(row.reason, Waits()).add(row.rows, account="", channels=[row.channel])


def _add_calls(facts: AccountFacts, outcome: str, calls: int, *, look_up: bool) -> None:
    """Add calls with this outcome, empty for open calls. A look-up is a request, and never an issued session."""
    if outcome == states.NOT_SENT:
        return
    issued = outcome in (states.DONE, states.LATE, Kind.SHORT_LIVED) and not look_up
    limited = outcome == Kind.RATE_LIMITED
    well = issued or limited or not outcome or (look_up and outcome in (states.DONE, states.MORE))
    facts.requests += calls
    facts.issued += calls if issued else 0
    facts.rate_limited += calls if limited else 0
    facts.errors += 0 if well else calls
    facts.late += calls if outcome == states.LATE else 0


def add_up(database: Database) -> int:
    """Add the oldest changes to their counts. Returns how many there were."""
    sums: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0])
    with database.write() as connection:
        taken = connection.execute(_TAKE).all()
        for *words, rows, sessions in taken:
            total = sums[tuple(words)]
            total[0] += rows
            total[1] += sessions
        each = bulk.insert(BatchCount, connection.dialect.name)
        more = {name: BatchCount.__table__.c[name] + each.excluded[name] for name in ("rows", "sessions")}
        values = [
            {**dict(zip(_WORDS, words, strict=True)), "rows": rows, "sessions": sessions}
            for words, (rows, sessions) in sorted(sums.items(), key=lambda item: tuple(map(str, item[0])))
            if rows or sessions
        ]
        if values:
            connection.execute(each.on_conflict_do_update(index_elements=_WORDS, set_=more), values)
    return len(taken)
