"""Settles some rows of a batch in one transaction: retries failed rows; repeats the calls of held rows, or gives the
rows up. Refuses rows that are not in that state any more."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.facts import JobsStopped, happened
from onboarding_worker.core.database.job_ids import job_id, of_batch
from onboarding_worker.core.database.tables import InvitationRow, Job
from onboarding_worker.core.database.tables.work import LEAD, STATE
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rows import cancellation, pending_details
from onboarding_worker.core.rows.cancellation import change_jobs, waiting_again
from onboarding_worker.core.rows.message_rows import HELD_FIRST, OF_ITS_SESSION
from onboarding_worker.core.rows.sessions import schedule_checks
from onboarding_worker.core.rows.usage import messages_of
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.lists.decisions.row_addresses import RowRanges
from onboarding_worker.lists.store.admission import following, lock_customers

_LEADS = Job.leader_id.is_(None)
_IS_HELD = (Job.state == JobState.HELD, _LEADS)
# The values of a retried row that follows another job; `following` has the rest.
_ALONE = {"state": JobState.WAITING, "due_at": None, "leader_id": None, "reason": "", "detail": "", "result": ""}


@dataclass(frozen=True)
class Decided:
    """How many rows a decision changed, and the accounts and channels with something due now."""

    rows: int
    accounts: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def __add__(self, other: "Decided") -> "Decided":
        return Decided(self.rows + other.rows, self.accounts | other.accounts, self.channels | other.channels)

    @property
    def due(self) -> list[WakeUp]:
        """The wake-ups to send once the decision is committed."""
        return [*map(WakeUp.issue, sorted(self.accounts)), *map(WakeUp.invite, sorted(self.channels))]


@dataclass(frozen=True)
class Which:
    """The rows of a batch that a decision is about; None: all accounts, all rows."""

    batch_id: int
    account: str | None = None
    rows: RowRanges | None = None


def in_state(query: sa.Select[*tuple[Any, ...]], state: JobState) -> sa.Select[*tuple[Any, ...]]:
    """The query, narrowed to jobs in this state. Failed jobs include those that joined a failed job."""
    if state is JobState.FAILED:
        return query.join(LEAD, LEAD.id == Job.leader_id, isouter=True).where(STATE.in_([state]))
    return query.where(Job.state == state, _LEADS)


def rows_in(which: Which, state: JobState) -> sa.Select[*tuple[Any, ...]]:
    return in_state(chosen(which, sa.select(Job.id, Job.row, Job.customer_id, Job.purpose, Job.account)), state)


def chosen(which: Which, query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    query = query.where(of_batch(which.batch_id))
    if which.account is not None:
        query = query.where(Job.account == which.account)
    if which.rows is None:
        return query
    ids = [(job_id(which.batch_id, first), job_id(which.batch_id, last)) for first, last in which.rows.ranges]
    single = [first for first, last in ids if first == last]
    ranges = [Job.id.between(first, last) for first, last in ids if first != last]
    return query.where(sa.or_(Job.id.in_(single), *ranges) if single else sa.or_(*ranges))


def stay_held(
    connection: sa.Connection, which: Which, most_messages: int | None, *, among: list[int] | None = None
) -> dict[int, Reason]:
    """The held rows that no repeat of so many rows asks again, with the reason of each: that a visitor said that the
    link is for another person, unless the row is named by itself; that the customer has had all messages. `among`: of
    these jobs alone."""
    of = sa.true() if among is None else Job.id.in_(among)
    found: dict[int, Reason] = {}
    if which.rows is None or which.rows.single is None:
        said = chosen(which, sa.select(Job.id)).where(of, *_IS_HELD, Job.reason == Reason.NOT_ME)
        found = dict.fromkeys(connection.execute(said).scalars(), Reason.NOT_ME)
    if most_messages is not None:
        columns = sa.select(InvitationRow.job_id, InvitationRow.unknown_attempt, Job.customer_id)
        messages = fetch(connection, chosen(which, columns.join(Job, HELD_FIRST)).where(of, *_IS_HELD))
        had = messages_of(connection, {message.customer_id for message in messages})
        for message in messages:
            # A held message counts. Repeated it does not, but for its hand-over whose outcome is unknown.
            counted = had[message.customer_id].sent - (message.unknown_attempt is None)
            if counted >= most_messages:
                found[message.job_id] = Reason.MESSAGES_SPENT
    return found


def _locked(connection: sa.Connection, ids: list[int], state: JobState) -> list[sa.Row[Any]]:
    query = in_state(sa.select(Job.id, Job.customer_id, Job.purpose, Job.account), state)
    return fetch(connection, query.where(Job.id.in_(ids)).order_by(Job.id).with_for_update(of=Job))


def retry(connection: sa.Connection, ids: list[int], *, now: datetime) -> Decided:
    """Put these failed jobs back to waiting. A job whose customer another job serves joins that job."""
    customers = sa.select(Job.customer_id).where(Job.id.in_(ids))
    lock_customers(connection, set(connection.execute(customers).scalars()))
    rows = _locked(connection, ids, JobState.FAILED)
    followed = following(connection, {(row.customer_id, row.purpose) for row in rows}, now=now)
    alone, follows = [], []
    for row in rows:
        values = followed.get((row.customer_id, row.purpose))
        if values is None:
            alone.append(row)
        else:
            follows.append({"job_id": row.id} | {f"new_{name}": (_ALONE | values)[name] for name in _ALONE})
    change_jobs(connection, [row.id for row in alone], waiting_again(now) | {"leader_id": None})
    if follows:
        by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
        connection.execute(by_id.values(attempts=0, changed_at=now, **bulk.new(*_ALONE)), follows)
        happened(connection, JobsStopped([row["job_id"] for row in follows]), now=now)
        # A job that had joined one of these joins the new leader too: no job joins a job that has itself joined one.
        joined = [
            {"before": row["job_id"], "leader": row["new_leader_id"], "why": row["new_detail"]}
            for row in follows
            if row["new_leader_id"] is not None
        ]
        if joined:
            by_leader = sa.update(Job).where(Job.leader_id == sa.bindparam("before"))
            connection.execute(by_leader.values(leader_id=sa.bindparam("leader"), detail=sa.bindparam("why")), joined)
    return Decided(len(rows), frozenset(row.account for row in alone))


def _held(connection: sa.Connection, ids: list[int]) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]], list[sa.Row[Any]]]:
    """The given jobs that are held for a call, those for messages, and these messages; locked."""
    # Messages are locked before their jobs, as in sending. With another order, two transactions could block each other.
    held = (InvitationRow.state == InvitationState.HELD, InvitationRow.kind == FIRST)
    messages = sa.select(InvitationRow.id).where(InvitationRow.job_id.in_(ids), *held)
    fetch(connection, messages.order_by(InvitationRow.id).with_for_update())
    rows = _locked(connection, ids, JobState.HELD)
    query = sa.select(InvitationRow.id, InvitationRow.job_id, InvitationRow.channel).join(Job, HELD_FIRST)
    found = fetch(connection, query.where(InvitationRow.job_id.in_([row.id for row in rows])))
    unknown = {message.job_id for message in found}
    return [row for row in rows if row.id not in unknown], [row for row in rows if row.id in unknown], found


def repeat(
    connection: sa.Connection, ids: list[int], *, which: Which, most_messages: int | None, now: datetime
) -> Decided:
    """Make the calls, or send the messages, of these held jobs again, but for those that `stay_held`."""
    stay = stay_held(connection, which, most_messages, among=ids)
    ids = [id_ for id_ in ids if id_ not in stay]
    calls, rows, messages_held = _held(connection, ids)
    again: dict[str, Any] = {"state": InvitationState.WAITING, "due_at": now, "attempts": 0}
    unknown, still = InvitationRow.unknown_attempt.is_not(None), _still_unknown(InvitationRow)
    settled = {
        "unknown_attempt": still,
        # A held hand-over whose outcome nothing will settle any more may have reached the customer.
        "unknown_handovers": InvitationRow.unknown_handovers + sa.case((unknown & still.is_(None), 1), else_=0),
        "reason": "",
        "detail": "",
    }
    _change_invitations(connection, messages_held, again | settled)
    issued = {"state": JobState.ISSUED, "reason": "", "detail": "", "changed_at": now}
    change_jobs(connection, [row.id for row in rows], issued)
    change_jobs(connection, [row.id for row in calls], waiting_again(now) | {"unknown_attempt": _still_unknown(Job)})
    channels = frozenset(message.channel for message in messages_held)
    return Decided(len(calls) + len(rows), frozenset(row.account for row in calls), channels)


def _still_unknown(row: type[Job] | type[InvitationRow]) -> sa.ColumnElement[Any]:
    """The attempt whose outcome stays unknown: none once a person repeats the call. But for a row that no key could
    decrypt, or that could not be worked, the person decided only that this is mended."""
    unread = row.reason.in_((Reason.CANNOT_DECRYPT, Reason.CANNOT_WORK))
    return sa.case((unread, row.unknown_attempt), else_=sa.null())


def abandon(connection: sa.Connection, ids: list[int], *, now: datetime) -> Decided:
    """Give these held jobs up: they are cancelled, and their held messages have failed."""
    calls, rows, messages_held = _held(connection, ids)
    messages, every = [row.id for row in rows], [row.id for row in (*calls, *rows)]
    unknown_calls = cancellation.with_unknown_calls(connection, [row.id for row in calls])
    not_theirs = cancellation.with_wrong_address(connection, every)
    given_up = {"state": InvitationState.FAILED, "due_at": None, "reason": Reason.ABANDONED, "detail": ""}
    _change_invitations(connection, messages_held, given_up)
    # A job is invited whose other message is out, with its present link.
    out = InvitationRow.state.in_((InvitationState.SENT, InvitationState.DELIVERED))
    query = sa.select(InvitationRow.job_id).join(Job, OF_ITS_SESSION).where(InvitationRow.job_id.in_(messages), out)
    invited = set(connection.execute(query).scalars())
    ended = [id_ for id_ in every if id_ not in invited]
    end = {"state": JobState.CANCELLED, "due_at": None, "reason": Reason.ABANDONED, "changed_at": now}
    change_jobs(connection, ended, end)
    pending_details.drop(connection, ended, now=now)
    done = {"state": JobState.INVITED, "reason": "", "detail": "", "changed_at": now}
    change_jobs(connection, list(invited), done)
    schedule_checks(connection, invited, now=now)
    cancellation.promote(connection, ended, unknown_calls, not_theirs, now=now)
    return Decided(len(every))


def _change_invitations(connection: sa.Connection, messages_held: list[sa.Row[Any]], values: dict[str, Any]) -> None:
    if messages_held:
        held = sa.update(InvitationRow).where(bulk.among(InvitationRow.id, "ids"))
        connection.execute(held.values(values), {"ids": bulk.keys(message.id for message in messages_held)})
