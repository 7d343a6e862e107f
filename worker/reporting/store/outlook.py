"""When the remaining work of a batch is due: for a `run`, which waits for it or ends."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.fast import tally
from worker.core.database.job_ids import of_batch
from worker.core.database.priorities import PRIORITIES
from worker.core.database.tables import InvitationRow, Job
from worker.core.database.tables.work import ACCOUNT, DUE_AT, LEAD, LEAD_CHANNEL, STATE
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState, JobState
from worker.core.work.store.sessions import FIRST
from worker.reporting.store.counting import COUNTED, ROWS, WAITS_FOR


@dataclass(frozen=True)
class Outlook:
    """When the remaining work of a batch is due, by account and by channel.

    `under_way`: a worker works on some of it now. `for_senders` has the jobs that wait for their senders, by account
    and channel; `accounts` does not have these. `quiet_until` is when the first row that waits for quiet hours is due.
    """

    accounts: dict[str, datetime]
    channels: dict[str, datetime]
    under_way: bool
    for_senders: dict[tuple[str, Channel], datetime] = field(default_factory=dict)
    quiet_until: datetime | None = None


def outlook(connection: sa.Connection, batch_id: int, *, alone: bool) -> Outlook:
    """The outlook of a batch; `alone`: without the jobs of other batches, unless a worker works on them now."""
    given = {"batch": batch_id}
    left = fetch(connection, _LEFT, given)
    jobs = [row for row in left if row.kind == tally.CountOf.JOB and row.state == JobState.WAITING]
    channels = {
        row.channel for row in left if row.kind == tally.CountOf.MESSAGE and row.state == InvitationState.WAITING
    }
    found = _Found()
    for account in {row.account for row in jobs if row.reason != Reason.WAITS_FOR_SENDER}:
        found.account(account, _first(connection, _of_account(account), given))
    for account, channel in {(row.account, row.channel) for row in jobs if row.reason == Reason.WAITS_FOR_SENDER}:
        found.sender(account, Channel(channel), _first(connection, _for_sender(account, channel), given))
    for channel in channels:
        found.channel(channel, _first(connection, _of_channel(channel), given))
    if any(row.reason == Reason.QUIET_HOURS for row in left):
        found.quiet(_first(connection, [_quiet(Job), _quiet(InvitationRow)], given))
    under_way = any(row.state == JobState.WORKING for row in left)
    if not alone:
        _add_joined(connection, found, given)
    return found.outlook(under_way=under_way or connection.execute(_JOINED_WORKED, given).first() is not None)


class _Found:
    """The earliest times so far."""

    def __init__(self) -> None:
        self._accounts: dict[str, datetime] = {}
        self._channels: dict[str, datetime] = {}
        self._senders: dict[tuple[str, Channel], datetime] = {}
        self._quiet: datetime | None = None

    def account(self, name: str, at: datetime | None) -> None:
        _keep(self._accounts, name, at)

    def channel(self, name: str, at: datetime | None) -> None:
        _keep(self._channels, name, at)

    def sender(self, account: str, channel: Channel, at: datetime | None) -> None:
        _keep(self._senders, (account, channel), at)

    def quiet(self, at: datetime | None) -> None:
        self._quiet = min((time for time in (self._quiet, at) if time is not None), default=None)

    def outlook(self, *, under_way: bool) -> Outlook:
        return Outlook(self._accounts, self._channels, under_way, self._senders, self._quiet)


def _keep(times: dict[Any, datetime], key: Any, at: datetime | None) -> None:
    if at is not None:
        times[key] = min(times.get(key, at), at)


_BATCH = sa.bindparam("batch", type_=Job.batch_id.type)
_OPEN = [word.value for word in (JobState.WAITING, JobState.WORKING)]
_LEFT = (
    sa.select(COUNTED.kind, COUNTED.state, COUNTED.channel, COUNTED.account, COUNTED.reason)
    .where(COUNTED.batch_id == _BATCH, COUNTED.state.in_(_OPEN))
    .group_by(COUNTED.kind, COUNTED.state, COUNTED.channel, COUNTED.account, COUNTED.reason)
    .having(ROWS > 0)
)
_WAITING_JOB = (Job.batch_id == _BATCH, Job.state == bulk.fixed(JobState.WAITING), Job.leader_id.is_(None))
_WAITING_MESSAGE = (
    InvitationRow.batch_id == _BATCH,
    InvitationRow.state == bulk.fixed(InvitationState.WAITING),
    InvitationRow.kind == FIRST,
)


def _first(connection: sa.Connection, queries: Iterable[sa.Select[Any]], given: dict[str, Any]) -> datetime | None:
    """When the first row of these queries is due; None: there is none."""
    return min(filter(None, (connection.execute(query, given).scalar() for query in queries)), default=None)


def _of_account(account: str) -> list[sa.Select[Any]]:
    """The first job of the account, by priority: one look into `ix_job_due` each. Paused rows have other priorities."""
    waits = (*_WAITING_JOB, Job.account == account, Job.reason != Reason.WAITS_FOR_SENDER)
    return [
        sa.select(Job.due_at).where(*waits, Job.priority == priority).order_by(Job.due_at).limit(1)
        for priority in PRIORITIES
    ]


def last_planned(connection: sa.Connection, batch_id: int, accounts: Iterable[str]) -> datetime | None:
    """When the last of the batch's jobs that wait for their time in its plan is due: looks into `ix_job_due`."""
    planned = (*_WAITING_JOB, Job.reason == bulk.fixed(Reason.PLANNED))
    queries = [
        sa.select(Job.due_at)
        .where(*planned, Job.account == account, Job.priority == priority)
        .order_by(Job.due_at.desc())
        .limit(1)
        for account in accounts
        for priority in PRIORITIES
    ]
    return max(filter(None, (connection.execute(one, {"batch": batch_id}).scalar() for one in queries)), default=None)


def _for_sender(account: str, channel: str) -> list[sa.Select[Any]]:
    waits = (
        *_WAITING_JOB,
        Job.reason == bulk.fixed(Reason.WAITS_FOR_SENDER),
        Job.priority.in_(PRIORITIES),
        Job.account == account,
        Job.channel == channel,
    )
    return [sa.select(Job.due_at).where(*waits).order_by(Job.due_at).limit(1)]


def _of_channel(channel: str) -> list[sa.Select[Any]]:
    waits = (*_WAITING_MESSAGE, InvitationRow.channel == channel)
    return [
        sa.select(InvitationRow.due_at)
        .where(*waits, InvitationRow.priority == priority)
        .order_by(InvitationRow.due_at)
        .limit(1)
        for priority in PRIORITIES
    ]


def _quiet(model: type[Job] | type[InvitationRow]) -> sa.Select[Any]:
    waits = _WAITING_JOB if model is Job else _WAITING_MESSAGE
    quiet = (*waits, model.reason == bulk.fixed(Reason.QUIET_HOURS), model.priority.in_(PRIORITIES))
    return sa.select(model.due_at).where(*quiet).order_by(model.due_at).limit(1)


# The work of the rows that joined jobs of other lists.
_JOINED_JOBS = (
    sa.select(
        ACCOUNT.label("name"),
        WAITS_FOR.label("waits_for"),
        LEAD_CHANNEL.label("channel"),
        sa.func.min(DUE_AT).label("due_at"),
    )
    .select_from(Job)
    .join(LEAD, LEAD.id == Job.leader_id)
    .where(of_batch(_BATCH), Job.leader_id.is_not(None), STATE == JobState.WAITING, LEAD.priority.in_(PRIORITIES))
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
    sa.select(sa.literal(1))
    .select_from(Job)
    .join(LEAD, LEAD.id == Job.leader_id)
    .join(
        InvitationRow,
        sa.and_(InvitationRow.job_id == Job.leader_id, InvitationRow.kind == FIRST),
        isouter=True,
    )
    .where(
        of_batch(_BATCH),
        Job.leader_id.is_not(None),
        sa.or_(LEAD.state == JobState.WORKING, InvitationRow.state == InvitationState.WORKING),
    )
    .limit(1)
)


def _add_joined(connection: sa.Connection, found: _Found, given: dict[str, Any]) -> None:
    for row in fetch(connection, _JOINED_JOBS, given):
        if row.waits_for == Reason.WAITS_FOR_SENDER:
            found.sender(row.name, row.channel, row.due_at)
        else:
            found.account(row.name, row.due_at)
        if row.waits_for == Reason.QUIET_HOURS:
            found.quiet(row.due_at)
    for row in fetch(connection, _JOINED_MESSAGES, given):
        found.channel(row.name, row.due_at)
        if row.waits_for == Reason.QUIET_HOURS:
            found.quiet(row.due_at)
