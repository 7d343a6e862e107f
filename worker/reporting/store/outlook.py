"""What is left of one batch, row by row: when its remaining work is due, which rows wait for longer than the rest,
which calls are in doubt, and for which customers of a list a call is made now. Reads rows that wait, and no counts
(`counting`). Refuses to lock or change anything."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.fast.tally import CountOf
from onboarding_worker.core.database.job_ids import IS_LIVE, Key, among_keys, batch_of, of_batch, rows_of
from onboarding_worker.core.database.tables import Attempt, Batch, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.work import ACCOUNT, DUE_AT, LEAD, LEAD_CHANNEL, STATE
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import (
    PRIORITIES,
    UNDELIVERED_INVITATIONS,
    UNISSUED_JOBS,
    InvitationState,
    JobState,
    PauseCause,
)
from onboarding_worker.core.rows.own_links import LEADS_ON
from onboarding_worker.core.rows.unknown_outcomes import UNSETTLED
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.lists.known_customers import KnownRule
from onboarding_worker.plans.store.leadership import is_free, waits_by_plan
from onboarding_worker.reporting.store.counting import COUNTED, ROWS, WAITS_FOR, WAITS_FOR_END, due_of, joined
from onboarding_worker.reporting.store.processes import Processes, kinds_at_work
from onboarding_worker.reporting.store.waiting import has_spent
from onboarding_worker.reporting.waits import Wait

_BATCH = sa.bindparam("batch", type_=Job.batch_id.type)
_OPEN = [word.value for word in (JobState.WAITING, JobState.WORKING)]
_ALIKE = (COUNTED.kind, COUNTED.state, COUNTED.channel, COUNTED.account, COUNTED.reason)
_LEFT = (
    sa.select(*_ALIKE).where(COUNTED.batch_id == _BATCH, COUNTED.state.in_(_OPEN)).group_by(*_ALIKE).having(ROWS > 0)
)
_WAITING_JOB = (Job.batch_id == _BATCH, Job.state == bulk.fixed(JobState.WAITING), Job.leader_id.is_(None))
_WAITING_MESSAGE = (
    InvitationRow.batch_id == _BATCH,
    InvitationRow.state == bulk.fixed(InvitationState.WAITING),
    InvitationRow.kind == FIRST,
)
_OWN = sa.select(Job.customer_id, Job.purpose, Job.state).where(
    *among_keys(Job), Job.batch_id == sa.bindparam("batch"), Job.leader_id.is_(None)
)
_BY_PLAN = waits_by_plan(Job, sa.bindparam("now", type_=Job.due_at.type)).label("by_plan")
_UNPAUSED = sa.select(Job.id, Batch.pause_cause, _BY_PLAN).join(Batch, Batch.id == Job.batch_id)
_UNPAUSED = _UNPAUSED.where(bulk.among(Job.id, "ids"), is_free(Job))
_UNPAUSED = _UNPAUSED.where(Batch.pause_cause.in_(["", PauseCause.INTERRUPT.value]))
_MAY_HAVE_LEFT = (
    InvitationRow.session_id == SessionRow.id,
    InvitationRow.kind == FIRST,
    InvitationRow.state.not_in([InvitationState.WAITING, *UNDELIVERED_INVITATIONS]),
)
_GOES_ON = sa.and_(SessionRow.encrypted != ERASED, sa.or_(SessionRow.given_away == "", SessionRow.same_link))
# With the channels of the first messages that have left, or may have: a row that goes on with it sends the others.
_WITH_LINK = (
    sa.select(SessionRow.customer_id, SessionRow.purpose, _GOES_ON.label("goes_on"), InvitationRow.channel)
    .join(InvitationRow, sa.and_(*_MAY_HAVE_LEFT), isouter=True)
    # Not of a person who had the id before.
    .where(*among_keys(SessionRow), IS_LIVE, SessionRow.past.is_(False), SessionRow.expires_at > sa.bindparam("now"))
)
# A message with our own link has left, and it leads on.
_LEFT_WITH_IT = sa.exists().where(InvitationRow.session_id == SessionRow.id, InvitationRow.sent_at.is_not(None))
_WITH_OWN_LINK = sa.select(SessionRow.customer_id, SessionRow.purpose).where(
    *among_keys(SessionRow), *LEADS_ON, SessionRow.expires_at > sa.bindparam("now"), _LEFT_WITH_IT
)


@dataclass
class Outlook:
    """When the remaining work of a batch is due, by account and by channel. `under_way`: a worker works on some of it
    now. `for_senders` has the jobs that wait for their senders, by account and channel; `accounts` does not have these.
    `quiet_until` is when the first row that waits for quiet hours is due."""

    accounts: dict[str, datetime]
    channels: dict[str, datetime]
    under_way: bool
    for_senders: dict[tuple[str, Channel], datetime] = field(default_factory=dict)
    quiet_until: datetime | None = None

    def wake(self, at: datetime | None) -> None:
        """A row that waits for quiet hours is due then."""
        self.quiet_until = min(filter(None, (self.quiet_until, at)), default=None)


def outlook_of(database: Database, batch_id: int, *, alone: bool = False) -> Outlook:
    """When the remaining work of the batch is due, including the jobs of other batches that its rows joined. `alone`:
    without the other batches' jobs, unless a worker works on them now. No time ends the wait for `--most-credits`."""
    apart = [Reason.WAITS_FOR_SENDER, *([Reason.CREDITS_SPENT] if has_spent(database, batch_id) else ())]
    with database.read() as connection:
        given = {"batch": batch_id}

        def first(queries: Iterable[sa.Select[Any]]) -> datetime | None:
            """When the first row of these queries is due; None: there is none."""
            return min(filter(None, (connection.execute(query, given).scalar() for query in queries)), default=None)

        left = fetch(connection, _LEFT, given)
        jobs = [row for row in left if row.kind == CountOf.JOB and row.state == JobState.WAITING]
        channels = {row.channel for row in left if row.kind == CountOf.MESSAGE and row.state == InvitationState.WAITING}
        found = Outlook({}, {}, any(row.state == JobState.WORKING for row in left))
        for account in {row.account for row in jobs if row.reason not in apart}:
            waits = (*_WAITING_JOB, Job.account == account, Job.reason.not_in(apart))
            _keep(found.accounts, account, first(_by_priority(Job, *waits)))
        for account, channel in {(row.account, row.channel) for row in jobs if row.reason == Reason.WAITS_FOR_SENDER}:
            for_sender = (Job.reason == bulk.fixed(Reason.WAITS_FOR_SENDER), Job.priority.in_(PRIORITIES))
            query = due_of(Job, *_WAITING_JOB, *for_sender, Job.account == account, Job.channel == channel)
            _keep(found.for_senders, (account, Channel(channel)), first([query]))
        for channel in channels:
            queries = _by_priority(InvitationRow, *_WAITING_MESSAGE, InvitationRow.channel == channel)
            _keep(found.channels, channel, first(queries))
        if any(row.reason == Reason.QUIET_HOURS for row in left):
            found.wake(first([_quiet(Job, *_WAITING_JOB), _quiet(InvitationRow, *_WAITING_MESSAGE)]))
        if not alone:
            _add_joined(connection, found, given)
        found.under_way = found.under_way or connection.execute(_JOINED_WORKED, given).first() is not None
        return found


def _keep(times: dict[Any, datetime], key: Any, at: datetime | None) -> None:
    if at is not None:
        times[key] = min(times.get(key, at), at)


def _by_priority(
    model: type[Job] | type[InvitationRow], *waits: sa.ColumnElement[bool], last: bool = False
) -> list[sa.Select[Any]]:
    """One look into the index of what is due for each priority. Paused rows have other priorities."""
    return [due_of(model, *waits, model.priority == priority, last=last) for priority in PRIORITIES]


def _quiet(model: type[Job] | type[InvitationRow], *waits: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return due_of(model, *waits, model.reason == bulk.fixed(Reason.QUIET_HOURS), model.priority.in_(PRIORITIES))


def last_planned(database: Database, batch_id: int, accounts: Iterable[str]) -> datetime | None:
    """When the last of the batch's jobs that wait for their time in its plan is due: looks into `ix_job_due`. None: no
    job does."""
    planned = (*_WAITING_JOB, Job.reason == bulk.fixed(Reason.PLANNED))
    queries = [one for account in accounts for one in _by_priority(Job, *planned, Job.account == account, last=True)]
    with database.read() as connection:
        times = [connection.execute(one, {"batch": batch_id}).scalar() for one in queries]
    return max(filter(None, times), default=None)


# The work of the rows that joined jobs of other lists.
_JOINED_JOBS = (
    joined(
        ACCOUNT.label("name"),
        WAITS_FOR.label("waits_for"),
        LEAD_CHANNEL.label("channel"),
        sa.func.min(DUE_AT).label("due_at"),
    )
    .where(STATE == JobState.WAITING, LEAD.priority.in_(PRIORITIES))
    .group_by(ACCOUNT, WAITS_FOR, LEAD_CHANNEL)
)
_JOINED_MESSAGES = (
    sa.select(
        InvitationRow.channel.label("name"),
        InvitationRow.reason.label("waits_for"),
        sa.func.min(InvitationRow.due_at).label("due_at"),
    )
    .join(Job, Job.leader_id == InvitationRow.job_id)
    .where(
        of_batch(_BATCH),
        Job.leader_id.is_not(None),
        InvitationRow.state == bulk.fixed(InvitationState.WAITING),
        InvitationRow.priority.in_(PRIORITIES),
        InvitationRow.kind == FIRST,
    )
    .group_by(InvitationRow.channel, InvitationRow.reason)
)
_JOINED_WORKED = (
    joined(sa.literal(1))
    .join(InvitationRow, sa.and_(InvitationRow.job_id == Job.leader_id, InvitationRow.kind == FIRST), isouter=True)
    .where(sa.or_(LEAD.state == JobState.WORKING, InvitationRow.state == InvitationState.WORKING))
    .limit(1)
)


def _add_joined(connection: sa.Connection, found: Outlook, given: dict[str, Any]) -> None:
    for row in fetch(connection, _JOINED_JOBS, given):
        if row.waits_for == Reason.WAITS_FOR_SENDER:
            _keep(found.for_senders, (row.name, row.channel), row.due_at)
        else:
            _keep(found.accounts, row.name, row.due_at)
        if row.waits_for == Reason.QUIET_HOURS:
            found.wake(row.due_at)
    for row in fetch(connection, _JOINED_MESSAGES, given):
        _keep(found.channels, row.name, row.due_at)
        if row.waits_for == Reason.QUIET_HOURS:
            found.wake(row.due_at)


_AFTER = sa.bindparam("after", type_=Job.due_at.type)
# Sessions whose tokens were lost are counted as such (`waiting_to_reconcile`): their rows are due at the next look-up.
_IS_LOST = sa.and_(Job.reason == bulk.fixed(Reason.ORPHAN), Job.unknown_attempt.is_not(None))
_APART = sa.select(Job.reason, sa.func.count().label("rows"), sa.func.max(Job.due_at).label("last"))
_APART = _APART.group_by(Job.reason).where(Job.batch_id == _BATCH, *WAITS_FOR_END, Job.due_at > _AFTER, ~_IS_LOST)
_JOINED_APART = (
    joined(sa.func.count().label("rows"), sa.func.max(DUE_AT).label("last"))
    .join(Batch, Batch.id == LEAD.batch_id)
    .where(
        Batch.pause_cause == "",  # else they wait for a person (`BatchCounts.kept`)
        LEAD.state.in_([JobState.WAITING, JobState.WORKING]),
        WAITS_FOR == "",
        DUE_AT > _AFTER,
    )
)


def due_after(database: Database, batch_id: int, after: datetime) -> list[Wait]:
    """The rows that wait for the end of a session, a look-up or another list's row, and are due after this time: by
    reason, each until the last of them is due. They may wait for days while the rest of the batch is sent."""
    given = {"batch": batch_id, "after": after}
    with database.read() as connection:
        found = [Wait(reason=row.reason, until=row.last, rows=row.rows) for row in fetch(connection, _APART, given)]
        joined = connection.execute(_JOINED_APART, given).one()
    return [*found, Wait(reason=Reason.JOINED_JOB, until=joined.last, rows=joined.rows)] if joined.rows else found


@dataclass(frozen=True)
class UnknownOutcomes:
    """The calls (by account) and messages of a batch that wait to be reconciled, and the earliest due time. `orphans`
    are the calls that were looked up and have opened a session that nothing can use: they are not among `calls`, and
    `reconcile_at` is not theirs."""

    calls: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    reconcile_at: datetime | None = None
    orphans: dict[str, "Orphans"] = field(default_factory=dict)


class Orphans(NamedTuple):
    """The sessions of an account that are waited for. `last_opened`: when the call of the last one was made, None: that
    is not stored any more. `first`: when the next look-up is due."""

    number: int
    last_opened: datetime | None
    first: datetime


def waiting_to_reconcile(database: Database, batch_id: int) -> UnknownOutcomes:
    unknown = (Job.batch_id == batch_id, Job.state == JobState.WAITING, Job.unknown_attempt.is_not(None))
    is_orphan = Job.reason == bulk.fixed(Reason.ORPHAN)
    calls_of = sa.select(Job.account, is_orphan.label("is_orphan"), sa.func.count().label("calls")).where(*unknown)
    jobs = calls_of.add_columns(sa.func.min(Job.due_at).label("first")).group_by(Job.account, is_orphan)
    messages = sa.select(sa.func.count().label("number"), sa.func.min(InvitationRow.due_at).label("first")).where(
        InvitationRow.batch_id == batch_id,
        InvitationRow.state == InvitationState.WAITING,
        InvitationRow.unknown_attempt.is_not(None),
    )
    with database.read() as connection:
        calls = fetch(connection, jobs)
        texts = connection.execute(messages).one()
        lost = [row for row in calls if not row.is_orphan]
        first = min(filter(None, [*(row.first for row in lost), texts.first]), default=None)
        orphans = {}
        for row in calls:
            if row.is_orphan:
                # The ids of attempts are ordered by time: none but the last one's attempt is read.
                last = sa.select(Job.unknown_attempt).where(*unknown, is_orphan, Job.account == row.account)
                newest = last.order_by(Job.unknown_attempt.desc()).limit(1).scalar_subquery()
                opened_at = connection.execute(sa.select(Attempt.opened_at).where(Attempt.id == newest)).scalar()
                orphans[row.account] = Orphans(row.calls, opened_at, row.first)
    return UnknownOutcomes({row.account: row.calls for row in lost}, texts.number, first, orphans)


def settled_by(job: Any, orphans: OrphanRule, *, now: datetime) -> datetime | None:
    """When it is known at the latest what became of the waiting job's call, which was made at `called_at`. An orphan is
    looked at many times: only its end settles it. None: no such time is stored."""
    is_orphan = job.called_at is not None and job.reason == Reason.ORPHAN
    if is_orphan and (end := orphans.known_by(job.called_at, now)) is not None:
        return end
    return job.due_at if job.due_at is not None and job.due_at > now else None


def opened_late(connection: sa.Connection, job_ids: Sequence[int]) -> dict[int, list[str]]:
    """By job: the references of sessions that late answers reported. Their tokens are lost."""
    query = sa.select(Attempt.job_id, Attempt.found).where(
        Attempt.job_id.in_(job_ids), Attempt.found != "", Attempt.invitation_id.is_(None), Attempt.reconciles.is_(None)
    )
    found: dict[int, list[str]] = {}
    for row in fetch(connection, query.order_by(Attempt.opened_at)) if job_ids else ():
        found.setdefault(row.job_id, []).append(row.found)
    return found


def ended_calls(database: Database, batch_id: int) -> dict[str, tuple[int, datetime]]:
    """The calls to be looked up of a batch's jobs that have ended: how many, and when the first, by account."""
    query = sa.select(Job.account, sa.func.count().label("calls"), sa.func.min(Job.lease_until).label("first"))
    query = query.where(Job.batch_id == batch_id, *UNSETTLED).group_by(Job.account)
    return {row.account: (row.calls, row.first) for row in database.rows(query)}


class CallsNow:
    """The calls that working one list makes before any link expires. Asked for chunks of its customers."""

    def __init__(self, database: Database, *, digest: str, rule: KnownRule) -> None:
        """`digest` is the list's: a list that was imported before continues with its own batch. `rule`: what becomes
        of known customers. Its own `batch`: None where it was not imported yet. `joined`: how many of the customers
        that were asked about have a row in another list, which goes on for both."""
        self._database, self._rule, self.joined = database, rule, 0
        newest = sa.select(Batch.id).where(Batch.digest == digest, Batch.cancelled_at.is_(None))
        self.batch: int | None = database.value(newest.order_by(Batch.generation.desc()).limit(1))

    def of(self, keys: Collection[Key], *, now: datetime) -> tuple[set[Key], dict[Key, set[str]]]:
        """The customers, with their purposes, that a session is asked for. Not for customers who have finished, who
        have a live session, or whose row in this list's own batch has had its call; nor for those of another batch,
        unless they wait there and no process works it: a `run` of this list asks. And those whose rows go on with a
        live session, with the channels on which its first message has left."""
        with self._database.read() as connection:
            own = {}
            if self.batch is not None:
                rows = rows_of(connection, _OWN, keys, batch=self.batch)
                own = {(row.customer_id, row.purpose): row.state for row in rows}
            from onboarding_worker.lists.store.admission import following, left_out  # only `check` foresees a list

            others = set(keys) - own.keys()
            followed = following(connection, others, now=now, lock=False, rule=self._rule) if others else {}
            leaders = {values["leader_id"]: key for key, values in followed.items() if "leader_id" in values}
            taken = {leaders[id_] for id_ in self._unworked(connection, leaders, now=now)}
            self.joined += len(leaders) - len(taken)
            followers = followed.keys() - taken
            followers |= set(left_out(connection, others - followed.keys(), rule=self._rule))
            waiting = {key for key, state in own.items() if state in UNISSUED_JOBS}
            asked = waiting | (others - followers)
            live, served = (rows_of(connection, query, asked, now=now) for query in (_WITH_LINK, _WITH_OWN_LINK))
            linked = {(row.customer_id, row.purpose) for row in chain(live, served)}
        go_on: dict[Key, set[str]] = {}
        for row in live:
            if row.goes_on:
                go_on.setdefault((row.customer_id, row.purpose), set()).update(filter(None, [row.channel]))
        return asked - linked, go_on

    def _unworked(self, connection: sa.Connection, leaders: Collection[int], *, now: datetime) -> list[int]:
        """Those of these rows that wait for their call or message, and no process makes it: their list was stopped with
        Ctrl-C, its plan lets them wait, or none works it. Not where a person paused it."""
        found = fetch(connection, _UNPAUSED, {"ids": bulk.keys(leaders), "now": now}) if leaders else []
        running = Processes(self._database).running(now=now) if found else []
        free = (row for row in found if row.pause_cause or row.by_plan or not kinds_at_work(running, batch_of(row.id)))
        return [row.id for row in free]
