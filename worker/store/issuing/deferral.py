"""Claimed jobs whose calls must not be made yet. They are released until a later time, and nothing is counted.

All claimed jobs pass these checks, whatever made them due: an import, a retry, an operator, or a takeover.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.address_cap import AddressCap, Wish
from worker.domain.contact.contact_times import Hours, issue_at
from worker.domain.contact.send_decision import Later
from worker.domain.limits.backpressure import ask_again_at
from worker.domain.model.customers import Channel, Person, invitation_channels
from worker.domain.model.reasons import Reason
from worker.domain.model.sessions import max_age_of
from worker.domain.model.states import InvitationState, JobState
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.store.base import bulk
from worker.store.base.encrypted_values import Erased, decrypt_person
from worker.store.base.priorities import BATCH, PRIORITIES
from worker.store.issuing.sender_backlog import Rooms
from worker.store.messages.address_places import Wanted, take
from worker.store.messages.fallback import address_of
from worker.store.tables import InvitationRow, Job

CHUNK = 2000  # jobs put off in one statement
_DEFER = bulk.Change(
    Job.id,
    {
        "state": JobState.WAITING,
        "due_at": sa.bindparam("new_due_at"),
        "lease_until": None,
        "reason": sa.bindparam("new_reason"),
        "detail": "",
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)
# Rows that another transaction has locked are skipped, without waiting.
_DUE = (
    sa.select(Job.id)
    .where(
        Job.account == sa.bindparam("account_"),
        Job.priority == BATCH,
        Job.state == bulk.fixed(JobState.WAITING),
        Job.joins.is_(None),
        Job.due_at <= sa.bindparam("now"),
        Job.channel == sa.bindparam("channel_"),
        Job.unknown_attempt.is_(None),
        Job.asks.is_(False),
        sa.or_(Job.invite_at.is_(None), Job.invite_at <= sa.bindparam("now")),
    )
    .order_by(Job.due_at, Job.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)
_DEFER_UNCLAIMED = (
    sa.update(Job)
    .where(bulk.within(Job.id, _DUE))
    .values(
        due_at=sa.bindparam("new_due_at"), reason=sa.bindparam("new_reason"), detail="", changed_at=sa.bindparam("now")
    )
)


def may_wait(row: sa.Row[Any], *, now: datetime) -> bool:
    """True if the job needs its session only for a message.

    A look-up is made at any hour. A customer who is in the app until `invite_at` needs the
    link there.
    """
    in_app = row.invite_at is not None and row.invite_at > now
    looks_up = row.unknown_attempt is not None or row.asks
    return not looks_up and not in_app and bool(invitation_channels(row.channel))


def quiet(
    keyring: Keyring,
    hours: Hours,
    rows: Sequence[sa.Row[Any]],
    job_context: Mapping[int, sa.Row[Any]],
    *,
    lifetime: timedelta | None,
    rooms: Rooms,
    now: datetime,
) -> dict[int, Later]:
    """By job: the claimed jobs whose messages could not be sent now, or when the sender's queue reaches them.

    Their sessions are opened later. `lifetime` is the lifetime of the account's links; None: the vendor decides.
    `job_context` is each job's customer.
    """
    found = {}
    for row in rows:
        channels = invitation_channels(row.channel)
        if not hours.concern(channels) or not may_wait(row, now=now):
            continue
        max_age = max_age_of(lifetime, floor=timedelta(seconds=row.floor_seconds))
        zones = _zones(keyring, hours, row.customer_id, job_context[row.id])
        sent_at = now + rooms.delay(row)
        at = issue_at(channels, zones, hours.quiet, invite_at=None, max_age=max_age, now=sent_at)
        if at > sent_at:
            found[row.id] = Later(at, Reason.QUIET_HOURS)
    return found


def without_room(rows: Sequence[sa.Row[Any]], rooms: Rooms, *, now: datetime) -> dict[int, Later]:
    """By job: the claimed jobs for whose messages the senders have no room now."""
    found = {}
    for row in rows:
        if may_wait(row, now=now) and (lane := rooms.full_lane(row)) is not None:
            found[row.id] = Later(ask_again_at(max_age=rooms.max_age, lane=lane, now=now), Reason.WAITS_FOR_SENDER)
    return found


def without_place(
    connection: sa.Connection,
    keyring: Keyring,
    cap: AddressCap,
    rows: Sequence[sa.Row[Any]],
    people: Mapping[str, Person],
    *,
    now: datetime,
) -> dict[int, Later]:
    """By job: the claimed jobs none of whose addresses may get another message now. The other jobs take their places.

    A session that is opened for such a job would cost money, and its link could not be sent.
    """
    wanted = [
        (row.id, Wanted(channel, address, Wish(row.id)))
        for row in rows
        if row.customer_id in people
        for channel in invitation_channels(row.channel)
        if (address := address_of(people[row.customer_id], channel))
    ]
    answers: dict[int, list[datetime | None]] = {}
    for (job_id, _), at in zip(
        wanted, take(connection, keyring, cap, [one for _, one in wanted], now=now), strict=True
    ):
        answers.setdefault(job_id, []).append(at)
    return {
        job_id: Later(min(at for at in times if at is not None), Reason.ADDRESS_SPENT)
        for job_id, times in answers.items()
        if None not in times
    }


def defer_unclaimed(connection: sa.Connection, account: str, like: Mapping[Channel, Later], *, now: datetime) -> None:
    """Defer a chunk of due jobs without claiming them. The senders of these channels have no room for any message."""
    for channel, why in like.items():
        given = {"account_": account, "channel_": channel, "now": now, "most": CHUNK}
        connection.execute(_DEFER_UNCLAIMED, given | {"new_due_at": why.due_at, "new_reason": why.reason})


def _zones(keyring: Keyring, hours: Hours, customer_id: str, person: sa.Row[Any]) -> tuple[str, ...]:
    phone = ""
    if hours.needs_phone(person.timezone):
        try:
            phone = decrypt_person(keyring, customer_id, person.encrypted).phone
        except (CannotDecrypt, Erased):
            return ()  # the claim holds or ends the job later, when it decrypts the row
    return hours.zones_of(timezone=person.timezone, phone=phone, country=person.country)


def defer(connection: sa.Connection, later: Mapping[int, Later], *, now: datetime) -> None:
    """Release jobs that this transaction has claimed, until their new due times."""
    rows = [
        {"job_id": job_id, "new_due_at": why.due_at, "new_reason": why.reason, "at": now}
        for job_id, why in sorted(later.items())
    ]
    _DEFER.run(connection, rows)


def make_due(connection: sa.Connection, after: int, *, now: datetime) -> int | None:
    """Make the next chunk of jobs that wait for a sender due now, because an operator has retried a job.

    The chunk begins after the id `after`. Returns the last id of the chunk; None: there are no more jobs. Jobs that
    another transaction has locked are skipped.
    """
    ids = list(connection.execute(_WAITS, {"after": after, "now": now, "most": CHUNK}).scalars())
    if not ids:
        return None
    connection.execute(sa.update(Job).where(bulk.among(Job.id, "ids")).values(due_at=now), {"ids": bulk.keys(ids)})
    return ids[-1]


def make_snoozed_due(connection: sa.Connection, names: Collection[str], *, now: datetime) -> None:
    """Make the rows of these accounts and channels due now whose own call was answered with the account's pause."""
    snoozed = {"due_at": now}
    reasons = (Reason.RATE_LIMITED, Reason.UNREACHABLE)
    for model, of, waiting in (
        (Job, Job.account, JobState.WAITING),
        (InvitationRow, InvitationRow.channel, InvitationState.WAITING),
    ):
        rows = sa.update(model).where(of.in_(names), model.state == waiting, model.reason.in_(reasons))
        connection.execute(rows.where(model.due_at > now, model.unknown_attempt.is_(None)).values(snoozed))


_WAITS = (
    sa.select(Job.id)
    .where(
        Job.id > sa.bindparam("after"),
        Job.priority.in_(PRIORITIES),
        Job.state == bulk.fixed(JobState.WAITING),
        Job.joins.is_(None),
        Job.due_at > sa.bindparam("now"),
        Job.reason == Reason.WAITS_FOR_SENDER,
    )
    .order_by(Job.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)
