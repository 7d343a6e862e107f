"""Outgoing events, written to the outbox in the same transaction as the change of state.

A change that writes no event fails the store's tests: there, triggers record each change of state.

If rows have joined another row, only the leading row's events are published: only its state changes.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.bulk import Columns
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.facts import Fact, JobsStopped, MessagesSent, SessionsCompleted, SessionsExpired
from onboarding_worker.core.database.job_ids import batch_of, new_id, row_of
from onboarding_worker.core.database.tables import InvitationRow, Job, Outbox, SessionRow
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.model.refusals import of_stored
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rows.sessions import SessionsIssued
from onboarding_worker.events.cloudevents import Happened, moment

_OF_JOBS = {JobState.FAILED: Happened.JOB_FAILED, JobState.HELD: Happened.JOB_HELD}


@dataclass(frozen=True)
class Subscriptions:
    """The published events by target; and the provider by account, because targets do not know our account names."""

    targets: Mapping[str, frozenset[Happened]] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)
    hears: ClassVar = Fact  # of all kinds

    def wants(self, *happened: Happened) -> bool:
        return any(kind in wanted for wanted in self.targets.values() for kind in happened)

    def observe(self, connection: sa.Connection, fact: Fact, now: datetime) -> None:
        """Write the events of what has just happened."""
        match fact:
            case SessionsIssued(issued) if issued and self.wants(Happened.SESSION_ISSUED):
                self.write(connection, Happened.SESSION_ISSUED, _issued(issued), now=now)
            case MessagesSent(ids) if ids and self.wants(Happened.INVITATION_SENT):
                self.write(connection, Happened.INVITATION_SENT, _sent(connection, ids, now), now=now)
            case JobsStopped(ids) if ids and self.wants(*_OF_JOBS.values()):
                rows = fetch(connection, _JOBS, {"ids": bulk.keys(ids)})
                for state, happened in _OF_JOBS.items():
                    self.write(connection, happened, [_stopped(row) for row in rows if row.state is state], now=now)
            case SessionsExpired(ids) if ids and self.wants(Happened.SESSION_EXPIRED):
                found = [data | {"state": "expired"} for _, data in _sessions(connection, ids)]
                self.write(connection, Happened.SESSION_EXPIRED, found, now=now)
            case SessionsCompleted(ids, result) if ids and self.wants(Happened.SESSION_COMPLETED):
                found = [
                    data | {"reasons": [*of_stored(row.reasons)], "state": "completed", "result": result}
                    for row, data in _sessions(connection, ids)
                ]
                self.write(connection, Happened.SESSION_COMPLETED, found, now=now)

    def write(
        self, connection: sa.Connection, happened: Happened, of: Iterable[Mapping[str, Any]], *, now: datetime
    ) -> None:
        """Write an event for each of these `data`, with one row for each target. The provider is added to the data."""
        targets = [target for target, wanted in self.targets.items() if happened in wanted]
        rows = []
        for data in of if targets else ():
            event = {"event_id": new_id(now), "kind": happened.value, "customer_id": data["customer_id"]}
            event |= {"data": {**data, "provider": self.providers.get(data["account"])}}
            event |= {"occurred_at": now, "due_at": now, "since": now, "attempts": 0, "detail": ""}
            rows += [{"target": target, **event} for target in targets]  # the same event for all targets
        bulk.add(connection, Outbox, rows)


def _stopped(row: Any) -> dict[str, Any]:
    # Without the detail: it may repeat a provider's text, which was not checked for personal data.
    more = {"session": row.reference, "reason": row.reason, "attempts": row.attempts, "state": row.state.value}
    return _job(row, row.id) | more


def _issued(issued: Columns) -> list[dict[str, Any]]:
    """As `_sessions`, but without a query."""
    return [
        {
            "job_id": one["job_id"],
            "batch_id": batch_of(one["job_id"]),
            "row": row_of(one["job_id"]),
            **{name: one[name] for name in ("customer_id", "purpose", "account")},
            **_session(one["reference"], one["issued_at"], one["expires_at"]),
            "state": "waiting",
        }
        for one in bulk.rows_of(issued)
    ]


def _sessions(connection: sa.Connection, ids: Collection[UUID]) -> list[tuple[Any, dict[str, Any]]]:
    rows = fetch(connection, _SESSIONS, {"ids": bulk.keys(ids)})
    return [(row, _job(row, row.job_id) | _session(row.reference, row.issued_at, row.expires_at)) for row in rows]


def _sent(connection: sa.Connection, ids: Collection[UUID], now: datetime) -> list[dict[str, Any]]:
    return [
        _job(row, row.job_id)
        | {"session": row.reference, "channel": row.channel, "kind": "new_link" if row.new_link else row.kind}
        | {"sent_at": moment(row.sent_at or now), "state": "sent"}
        for row in fetch(connection, _INVITATIONS, {"ids": bulk.keys(ids)})
    ]


def _job(row: Any, job_id: int) -> dict[str, Any]:
    names = ("batch_id", "row", "customer_id", "purpose", "account")
    return {"job_id": job_id} | {name: getattr(row, name) for name in names}


def _session(reference: str, issued_at: datetime, expires_at: datetime) -> dict[str, Any]:
    return {"session": reference[:100], "issued_at": moment(issued_at), "expires_at": moment(expires_at)}


_WHERE = (Job.batch_id, Job.row, Job.customer_id, Job.purpose)
_JOBS = (
    sa.select(Job.id, *_WHERE, Job.account, Job.state, Job.reason, Job.attempts, SessionRow.reference)
    .join(SessionRow, SessionRow.id == Job.session_id, isouter=True)
    .where(bulk.among(Job.id, "ids"))
    .order_by(Job.id)
)
_OF_SESSION = (SessionRow.account, SessionRow.reference)
_User = aliased(Job)
# A later row may have taken the session over from the row that it was opened for, which has ended: it is the row that
# the session's end changes.
_USER = (
    sa.select(_User.id)
    .where(_User.customer_id == SessionRow.customer_id, _User.purpose == SessionRow.purpose)
    .where(_User.session_id == SessionRow.id, _User.leader_id.is_(None))
    .order_by(_User.created_at.desc(), _User.id.desc())
    .limit(1)
    .scalar_subquery()
)
_SESSIONS = (
    sa.select(
        Job.id.label("job_id"), *_WHERE, *_OF_SESSION, SessionRow.issued_at, SessionRow.expires_at, SessionRow.reasons
    )
    .select_from(SessionRow)
    .join(Job, Job.id == sa.func.coalesce(_USER, SessionRow.job_id))
    .where(bulk.among(SessionRow.id, "ids"))
    .order_by(SessionRow.id)
)
_OF_MESSAGE = (InvitationRow.job_id, InvitationRow.channel, InvitationRow.kind, InvitationRow.new_link)
_INVITATIONS = (
    sa.select(*_OF_MESSAGE, InvitationRow.sent_at, *_WHERE, *_OF_SESSION)
    .join(Job, Job.id == InvitationRow.job_id)
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .where(bulk.among(InvitationRow.id, "ids"))
    .order_by(InvitationRow.id)
)
