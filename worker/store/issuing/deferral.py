"""Jobs that were taken and are not to be called for yet: they go back until then, and nothing is counted against them.

Whatever made a job due (an import, a retry, a person, another account's end), it comes by here before it is called for.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.contact_times import Hours, issue_at
from worker.domain.contact.send_decision import Later
from worker.domain.limits.backpressure import ask_again_at
from worker.domain.model.customers import Channel, invitation_channels
from worker.domain.model.reasons import Reason
from worker.domain.model.sessions import max_age_of
from worker.domain.model.states import JobState
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.store.base import bulk
from worker.store.base.encrypted_values import Erased, decrypt_person
from worker.store.base.priorities import BATCH, PRIORITIES
from worker.store.issuing.sender_backlog import Rooms
from worker.store.tables import Job

CHUNK = 2000  # jobs put off in one statement
_PUT_BACK = bulk.Change(
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
# Others hold some of them for a moment: these are passed by, and nobody is waited for.
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
        sa.or_(Job.invite_at.is_(None), Job.invite_at <= sa.bindparam("now")),
    )
    .order_by(Job.due_at, Job.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)
_PUT_OFF = (
    sa.update(Job)
    .where(bulk.within(Job.id, _DUE))
    .values(
        due_at=sa.bindparam("new_due_at"), reason=sa.bindparam("new_reason"), detail="", changed_at=sa.bindparam("now")
    )
)


def may_wait(row: sa.Row[Any], *, now: datetime) -> bool:
    """Whether the job asks for a session for the sake of a message.

    A call in doubt is looked up at any hour, and who is in the app until `invite_at` is to have the link there.
    """
    in_app = row.invite_at is not None and row.invite_at > now
    return row.unknown_attempt is None and not in_app and bool(invitation_channels(row.channel))


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
    """Those of the taken jobs whose messages could not leave now, or at their turn in the sender's queue, by job.

    No session is asked for before they can. `lifetime` is that of the account's links, None where the vendor decides.
    `job_context` is each job's customer.
    """
    found = {}
    for row in rows:
        channels = invitation_channels(row.channel)
        if not hours.concern(channels) or not may_wait(row, now=now):
            continue
        max_age = max_age_of(lifetime, floor=timedelta(seconds=row.floor_seconds))
        zones = _zones(keyring, hours, row.customer_id, job_context[row.id])
        turn = now + rooms.delay(row)
        at = issue_at(channels, zones, hours.quiet, invite_at=None, max_age=max_age, now=turn)
        if at > turn:
            found[row.id] = Later(at, Reason.QUIET_HOURS)
    return found


def crowded(rows: Sequence[sa.Row[Any]], rooms: Rooms, *, now: datetime) -> dict[int, Later]:
    """Those of the taken jobs for whose messages their senders have no room now, by job."""
    found = {}
    for row in rows:
        if may_wait(row, now=now) and (lane := rooms.shut_out(row)) is not None:
            found[row.id] = Later(ask_again_at(max_age=rooms.max_age, lane=lane, now=now), Reason.WAITS_FOR_SENDER)
    return found


def put_off(connection: sa.Connection, account: str, like: Mapping[Channel, Later], *, now: datetime) -> None:
    """Put off more jobs of an account that are due, without taking them: of these channels there is no room for any."""
    for channel, why in like.items():
        given = {"account_": account, "channel_": channel, "now": now, "most": CHUNK}
        connection.execute(_PUT_OFF, given | {"new_due_at": why.due_at, "new_reason": why.reason})


def _zones(keyring: Keyring, hours: Hours, customer_id: str, person: sa.Row[Any]) -> tuple[str, ...]:
    phone = ""
    if hours.needs_phone(person.timezone):
        try:
            phone = decrypt_person(keyring, customer_id, person.encrypted).phone
        except (CannotDecrypt, Erased):
            return ()  # it is held, or ended, where it is opened to be worked
    return hours.zones_of(timezone=person.timezone, phone=phone, country=person.country)


def put_back(connection: sa.Connection, later: Mapping[int, Later], *, now: datetime) -> None:
    """Let go of jobs that this transaction has taken."""
    rows = [
        {"job_id": job_id, "new_due_at": why.due_at, "new_reason": why.reason, "at": now}
        for job_id, why in sorted(later.items())
    ]
    _PUT_BACK.run(connection, rows)


def put_forward(connection: sa.Connection, after: int, *, now: datetime) -> int | None:
    """Let what waits for a sender be looked at again at once: a person has had one tried again.

    The next chunk of it, by id; returns the last of it, None: there is no more. Who is at some of it decides by itself.
    """
    ids = list(connection.execute(_WAITS, {"after": after, "now": now, "most": CHUNK}).scalars())
    if not ids:
        return None
    connection.execute(sa.update(Job).where(bulk.among(Job.id, "ids")).values(due_at=now), {"ids": bulk.keys(ids)})
    return ids[-1]


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
