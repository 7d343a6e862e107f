"""What others are to be told, written down in the very transaction that changes it.

Who is to be told belongs to the database's connections (`Database.subscriptions`), so that whatever changes a state has
it at hand. A change that forgets to say so fails the store's tests: there, triggers witness each change of state.

Of rows that joined another only the one that leads is told of: it is the one that changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.events.published import Happened, moment
from worker.domain.model.states import JobState
from worker.foundation.ids import new_id
from worker.store.base import bulk
from worker.store.base.database import SUBSCRIPTIONS, fetch
from worker.store.tables import InvitationRow, Job, Outbox, SessionRow

Given = Mapping[str, Any]
_OF_JOBS = {JobState.FAILED: Happened.JOB_FAILED, JobState.HELD: Happened.JOB_HELD}
# The job's states that others are told of.
PUBLISHED_STATES = frozenset(_OF_JOBS)


@dataclass(frozen=True)
class Subscriptions:
    """Who is told of what, by target; and the provider of each account, since an account's name says little to them."""

    targets: Mapping[str, frozenset[Happened]] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)

    def wants(self, *happened: Happened) -> bool:
        return any(one in wanted for wanted in self.targets.values() for one in happened)

    def write(self, connection: sa.Connection, happened: Happened, of: Iterable[Given], *, now: datetime) -> None:
        """Write down that it happened to these, whose `data` is given but for the provider; a row for each target."""
        targets = [target for target, wanted in self.targets.items() if happened in wanted]
        rows = []
        for data in of if targets else ():
            event_id = new_id(now)  # one event, whoever is told of it
            rows += [
                {
                    "event_id": event_id,
                    "target": target,
                    "kind": happened.value,
                    "customer_id": data["customer_id"],
                    "data": {**data, "provider": self.providers.get(data["account"])},
                    "occurred_at": now,
                    "due_at": now,
                    "since": now,
                    "attempts": 0,
                    "detail": "",
                }
                for target in targets
            ]
        bulk.add(connection, Outbox, rows)


def subscriptions(connection: sa.Connection) -> Subscriptions:
    """Who is to be told of what happens over this connection."""
    found: Subscriptions | None = connection.get_execution_options().get(SUBSCRIPTIONS)
    return found or _NOBODY


_NOBODY = Subscriptions()


def add_job_events(connection: sa.Connection, ids: Iterable[int], *, now: datetime) -> None:
    """Tell of those of these jobs, whose states were just changed, that have failed or are held now."""
    whom, ids = subscriptions(connection), list(ids)
    if not ids or not whom.wants(*_OF_JOBS.values()):
        return
    rows = fetch(connection, _JOBS, {"ids": bulk.keys(ids)})
    for state, happened in _OF_JOBS.items():
        found = [_job(row, row.id) | _step(row) for row in rows if row.state is state]
        whom.write(connection, happened, found, now=now)


def add_row_events(connection: sa.Connection, batch_id: int, rows: Sequence[int], *, now: datetime) -> None:
    """Tell of those of these new rows of a batch that came in as failed or held."""
    if rows and subscriptions(connection).wants(*_OF_JOBS.values()):
        query = sa.select(Job.id).where(Job.batch_id == batch_id, Job.row.in_(rows), Job.state.in_(PUBLISHED_STATES))
        add_job_events(connection, connection.execute(query.order_by(Job.row)).scalars(), now=now)


def add_session_events(
    connection: sa.Connection, ids: Iterable[Any], happened: Happened, *, now: datetime, result: str | None = None
) -> None:
    """Tell what has become of these sessions. `result` is what the provider decided, where they are completed."""
    whom, ids = subscriptions(connection), list(ids)
    if not ids or not whom.wants(happened):
        return
    more = {} if result is None else {"result": result}
    rows = fetch(connection, _SESSIONS, {"ids": bulk.keys(ids)})
    found = [_job(row, row.job_id) | session_facts(row.reference, row.issued_at, row.expires_at) for row in rows]
    state = {"state": _STATES[happened]}
    whom.write(connection, happened, [data | state | more for data in found], now=now)


def add_invitation_events(connection: sa.Connection, ids: Iterable[Any], *, now: datetime) -> None:
    """Tell that these invitations, whose state was just changed, were sent."""
    whom, ids = subscriptions(connection), list(ids)
    if not ids or not whom.wants(Happened.INVITATION_SENT):
        return
    found = [
        _job(row, row.job_id)
        | {"session": row.reference, "channel": row.channel, "kind": row.kind}
        | {"sent_at": moment(row.sent_at or now), "state": "sent"}
        for row in fetch(connection, _INVITATIONS, {"ids": bulk.keys(ids)})
    ]
    whom.write(connection, Happened.INVITATION_SENT, found, now=now)


_STATES = {Happened.SESSION_ISSUED: "waiting", Happened.SESSION_COMPLETED: "completed"}
_STATES |= {Happened.SESSION_EXPIRED: "expired"}


def _job(row: Any, job_id: int) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "batch_id": row.batch_id,
        "row": row.row,
        "customer_id": row.customer_id,
        "purpose": row.purpose,
        "account": row.account,
    }


def session_facts(reference: str, issued_at: datetime, expires_at: datetime) -> dict[str, Any]:
    return {"session": reference[:100], "issued_at": moment(issued_at), "expires_at": moment(expires_at)}


def _step(row: Any) -> dict[str, Any]:
    # Not the detail: it may repeat what a provider said, in words that nobody has looked at.
    return {"session": row.reference, "reason": row.reason, "attempts": row.attempts, "state": row.state.value}


_WHERE = (Job.batch_id, Job.row, Job.customer_id, Job.purpose)
_JOBS = (
    sa.select(Job.id, *_WHERE, Job.account, Job.state, Job.reason, Job.attempts, SessionRow.reference)
    .join(SessionRow, SessionRow.id == Job.session_id, isouter=True)
    .where(bulk.among(Job.id, "ids"))
    .order_by(Job.id)
)
_OF_SESSION = (SessionRow.account, SessionRow.reference)
_SESSIONS = (
    sa.select(SessionRow.job_id, *_WHERE, *_OF_SESSION, SessionRow.issued_at, SessionRow.expires_at)
    .join(Job, Job.id == SessionRow.job_id)
    .where(bulk.among(SessionRow.id, "ids"))
    .order_by(SessionRow.id)
)
_INVITATIONS = (
    sa.select(
        InvitationRow.job_id, InvitationRow.channel, InvitationRow.kind, InvitationRow.sent_at, *_WHERE, *_OF_SESSION
    )
    .join(Job, Job.id == InvitationRow.job_id)
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .where(bulk.among(InvitationRow.id, "ids"))
    .order_by(InvitationRow.id)
)
