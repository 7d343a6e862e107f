"""Jobs that were taken and are not to be called for yet: they go back until then, and nothing is counted against them.

Whatever made a job due (an import, a retry, a person, another account's end), it comes by here before it is called for.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.asking import Hours, ask_at
from worker.customers import invitation_channels
from worker.keyring import CannotOpen, Keyring
from worker.leaving import QUIET, Later
from worker.models import Job
from worker.states import JobState
from worker.store import lots
from worker.store.sealing import Erased, open_person

_PUT_BACK = lots.Change(
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


def may_wait(row: sa.Row[Any], *, now: datetime) -> bool:
    """Whether the job asks for a session for the sake of a message.

    A call in doubt is looked up at any hour, and who is in the app until `invite_at` is to have the link there.
    """
    in_app = row.invite_at is not None and row.invite_at > now
    return row.in_doubt is None and not in_app and bool(invitation_channels(row.channel))


def quiet(
    keyring: Keyring,
    hours: Hours,
    rows: Sequence[sa.Row[Any]],
    around: Mapping[int, sa.Row[Any]],
    *,
    lifetime: timedelta | None,
    now: datetime,
) -> dict[int, Later]:
    """Those of the taken jobs whose messages could not leave now, by job: no session is asked for before they can.

    `lifetime` is that of the account's links, None where the vendor decides. `around` is each job's customer.
    """
    found = {}
    for row in rows:
        channels = invitation_channels(row.channel)
        if not hours.concern(channels) or not may_wait(row, now=now):
            continue
        floor = timedelta(seconds=row.floor_seconds)
        keeps = timedelta(0) if lifetime is None else max(lifetime - floor, timedelta(0))
        zones = _zones(keyring, hours, row.customer_id, around[row.id])
        at = ask_at(channels, zones, hours.quiet, invite_at=None, keeps=keeps, now=now)
        if at > now:
            found[row.id] = Later(at, QUIET)
    return found


def _zones(keyring: Keyring, hours: Hours, customer_id: str, person: sa.Row[Any]) -> tuple[str, ...]:
    phone = ""
    if hours.needs_phone(person.timezone):
        try:
            phone = open_person(keyring, customer_id, person.sealed).phone
        except (CannotOpen, Erased):
            return ()  # it is held, or ended, where it is opened to be worked
    return hours.zones_of(timezone=person.timezone, phone=phone, country=person.country)


def put_back(connection: sa.Connection, later: Mapping[int, Later], *, now: datetime) -> None:
    """Let go of jobs that this transaction has taken."""
    rows = [
        {"job_id": job_id, "new_due_at": why.due_at, "new_reason": why.reason, "at": now}
        for job_id, why in sorted(later.items())
    ]
    _PUT_BACK.run(connection, rows)
