"""Lets a batch serve its own customers where another batch's row leads and no worker will work that row.

A row of a batch joins the leading row of another batch with the same customer. If that other batch was stopped, or its
plan lets the leading row wait, or `run` works its own batch alone, no worker works the leading row now. Then the joined
row leads, unless by its own plan it goes later: the former leading row joins it. Nothing is opened or sent twice: a
customer's live session, with its messages, is reused when the new leading row is claimed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.job_ids import batch_of, of_batch
from onboarding_worker.core.database.tables import Batch, InvitationRow, Job
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.database.tables.work import served_by
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import EVENT, HELD_BACK, PAUSED, InvitationState, JobState, PauseCause
from onboarding_worker.core.rows.cancellation import lock_unsent
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.core.work.store import call_costs
from onboarding_worker.plans.store import plans

CHUNK = 500
_Leader = aliased(Job)


def is_free(leader: Any) -> sa.ColumnElement[bool]:
    """Whether another row may take its place: no call of it is in flight or in doubt, and no message of it has left, is
    being sent, or may have been sent: the result belongs to the leader."""
    busy = sa.exists().where(
        InvitationRow.job_id == leader.id,
        sa.or_(
            InvitationRow.state.in_([InvitationState.WORKING, InvitationState.HELD]),
            InvitationRow.unknown_attempt.is_not(None),
        ),
    )
    states = [JobState.WAITING, JobState.ISSUED]
    return sa.and_(leader.state.in_(states), leader.unknown_attempt.is_(None), ~busy)


def waits_by_plan(leader: Any, now: Any) -> sa.ColumnElement[bool]:
    """Whether its list's plan lets the waiting row wait. `now`: the time, or a parameter with it."""
    planned = sa.and_(leader.reason == Reason.PLANNED, leader.due_at > now)
    waits = leader.reason.in_([Reason.CREDITS_SPENT, Reason.RIGHT_MISSING])
    return sa.or_(leader.priority >= HELD_BACK, waits, planned)


# What a row has from the leader whose place it takes; of its account, see `_place`.
_KEPT = (
    *("state", "due_at", "attempts", "reason", "detail", "account"),
    *("session_id", "needs_status_check", "reissues", "link_requested_at", "refused_session", "result"),
)
_PLACE = tuple(getattr(Job, name) for name in _KEPT)
# Why a row waits by its own list's plan, or for a message on its own channels: another row is asked anew.
_OWN_WAITS = (
    *("", Reason.PLANNED, Reason.CREDITS_SPENT, Reason.QUIET_HOURS),
    *(Reason.WAITS_FOR_SENDER, Reason.ADDRESS_SPENT, Reason.BRAND_MISSING, Reason.RIGHT_MISSING),
)


def take_leads(
    connection: sa.Connection, batch_id: int, *, after: int = 0, pilot: int = 0, stopped_only: bool, now: datetime
) -> tuple[int, int] | None:
    """Let the next joined rows of this batch, behind the row `after`, lead in place of rows of other batches.

    `stopped_only`: only in place of rows of batches that a person stopped with Ctrl-C, and of rows that wait by
    their list's plan, or without a right; otherwise of every batch that is not paused. Rows that are paused or held
    back themselves lead only in place of stopped ones, or up to the row `pilot`. Returns the last row number and
    how many rows lead now; None: there are no more such rows.
    """
    stopped = Batch.pause_cause == PauseCause.INTERRUPT.value
    query = (
        sa.select(Job.id, Job.row, Job.created_at, _Leader.id.label("leader"), _Leader.due_at, stopped.label("stopped"))
        .join(_Leader, _Leader.id == Job.leader_id)
        .join(Batch, Batch.id == _Leader.batch_id)
        .where(
            of_batch(batch_id, after=after),
            Job.state == JobState.WAITING,
            _Leader.batch_id != batch_id,
            is_free(_Leader),
            sa.or_(
                stopped,
                sa.and_(
                    Batch.pause_cause == "",
                    sa.or_(Job.priority < PAUSED, Job.row <= pilot),
                    waits_by_plan(_Leader, now) if stopped_only else sa.true(),
                ),
            ),
            # What was to be sent is sent; the customer of an event without a message has the link in the app.
            sa.or_(Job.channel != Channel.NONE, _Leader.channel == Channel.NONE, Job.priority == EVENT),
            # Who was refused is not asked once more for a row that sends nothing.
            sa.or_(_Leader.refused_session.is_(None), Job.channel != Channel.NONE),
        )
        .order_by(Job.id)
        .limit(CHUNK)
    )
    found = fetch(connection, query)
    if not found:
        return None
    planned = plans.find(connection, batch_id)
    plan = planned.plan if planned is not None else plans.Plan()
    goes_at = {row.id: max(plans.goes_at(plan, row.row, since=row.created_at), now) for row in found}
    # No customer waits for longer than before.
    rows = [row for row in found if row.stopped or goes_at[row.id] <= max(row.due_at or now, now)]
    if not rows:
        return found[-1].row, 0
    lock_unsent(connection, [row.leader for row in rows])
    # Locked in the order of ids, as everywhere. Read under the lock: a worker may have claimed a leader by then, or its
    # message.
    both = sorted({row.id for row in rows} | {row.leader for row in rows})
    locked = (
        sa.select(Job.id, Job.leader_id, is_free(Job).label("is_free"), *_PLACE)
        .where(Job.id.in_(both))
        .order_by(Job.id)
    )
    now_are = {row.id: row for row in fetch(connection, locked.with_for_update(key_share=True, skip_locked=True))}
    taken = [
        row
        for row in rows
        if row.id in now_are
        and row.leader in now_are
        and now_are[row.id].leader_id == row.leader
        and now_are[row.leader].leader_id is None
        and now_are[row.leader].is_free
    ]
    # A day's events may have several rows of a customer: the first one leads, and the others join it.
    taken = list({row.leader: row for row in reversed(taken)}.values())[::-1]
    if plan.most_credits is not None:
        taken = taken[: _may_pay_for(connection, batch_id, plan.most_credits, len(taken))]
    if taken:
        _change(connection, taken, now_are, goes_at, now=now)
    return found[-1].row, len(taken)


def take_all(
    connection: sa.Connection,
    batch_id: int,
    *,
    after: int = 0,
    pilot: int = 0,
    stopped_only: bool = True,
    now: datetime,
) -> None:
    """Let all joined rows of this batch lead that may, see `take_leads`."""
    while found := take_leads(connection, batch_id, after=after, pilot=pilot, stopped_only=stopped_only, now=now):
        after = found[0]


def _may_pay_for(connection: sa.Connection, batch_id: int, most: int, rows: int) -> int:
    """For how many of so many more rows the batch may still pay, besides its own that wait."""
    own = sa.select(sa.func.count()).where(of_batch(batch_id), Job.leader_id.is_(None), Job.state == JobState.WAITING)
    waiting = connection.execute(own).scalar_one()
    return max(call_costs.left(connection, batch_id, most, waiting + rows) - waiting, 0)


def _change(
    connection: sa.Connection,
    taken: list[sa.Row[Any]],
    now_are: Mapping[int, sa.Row[Any]],
    goes_at: Mapping[int, datetime],
    *,
    now: datetime,
) -> None:
    followers = [
        {"job_id": row.leader, "successor": row.id, "why": served_by(batch_of(row.id), row.row)} for row in taken
    ]
    # First the followers: a customer never has two leaders, which a unique index makes sure of.
    follows = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
    joined: dict[str, Any] = {
        "leader_id": sa.bindparam("successor"),
        "state": JobState.WAITING,
        "due_at": None,
        "lease_until": None,
        "reason": Reason.JOINED_JOB,
        "detail": sa.bindparam("why"),
        "changed_at": now,
    }
    connection.execute(follows.values(joined), followers)
    others = sa.update(Job).where(Job.leader_id == sa.bindparam("job_id"), Job.id != sa.bindparam("successor"))
    connection.execute(others.values(leader_id=sa.bindparam("successor"), detail=sa.bindparam("why")), followers)
    # The successor takes what was to leave for the former leader, on its own channels. The rest must not leave:
    # it is of a row that does not learn of a verdict, or that the link is for another person.
    first = sa.update(InvitationRow).where(
        InvitationRow.job_id.in_([row.leader for row in taken if now_are[row.leader].state is JobState.ISSUED]),
        InvitationRow.kind == FIRST,
        InvitationRow.state == InvitationState.WAITING,
    )
    away = {"state": InvitationState.SUPERSEDED, "due_at": None, "reason": Reason.JOINED_JOB, "detail": ""}
    connection.execute(first.values(away))
    # The row goes on where the former leader was: a failed call stays counted, its wait lasts, and the session that it
    # waits for or asks about stays the one that decides. Of an issued leader the live session is reused.
    leads = bulk.new(*_KEPT) | {"leader_id": None, "changed_at": now}
    successors = [
        {"job_id": row.id} | _place(now_are[row.leader], now_are[row.id], goes_at[row.id], now=now) for row in taken
    ]
    connection.execute(follows.values(leads), successors)


def _place(leader: sa.Row[Any], successor: sa.Row[Any], goes_at: datetime, *, now: datetime) -> dict[str, Any]:
    waits = leader.state is JobState.WAITING
    values = {name: getattr(leader if waits else successor, name) for name in _KEPT}
    if leader.reason == Reason.RIGHT_MISSING:  # the row may have named the account
        values["account"] = successor.account
    values |= {"state": JobState.WAITING, "due_at": max(leader.due_at or now, goes_at)}
    if not waits:
        values["attempts"] = 0
    if not waits or leader.reason in _OWN_WAITS:
        values |= {"due_at": goes_at, "reason": Reason.PLANNED if goes_at > now else "", "detail": ""}
    # Only the account that opened a session can be asked about it.
    values["account"] = leader.account if values["needs_status_check"] else successor.account
    return {f"new_{name}": value for name, value in values.items()}
