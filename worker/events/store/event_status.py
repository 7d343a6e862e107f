"""Status of an event for its sender, and the link if the sender waits for it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Entry, note_all
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import Erased, decrypt_link
from onboarding_worker.core.database.tables import CustomerRow, Inbox, Job, SessionRow
from onboarding_worker.core.database.tables.work import DUE_AT, LEAD, RESULT, STATE
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.states import LIVE_SESSIONS, UNISSUED_JOBS, JobState
from onboarding_worker.core.rows.in_review import OTHER_IN_REVIEW
from onboarding_worker.core.rows.verdicts import Verdict, verdict_of_row, verdicts_of
from onboarding_worker.core.rules.contact import is_stale

# A joined job has no call of its own that could have a reason.
_REASON = sa.func.coalesce(sa.func.nullif(LEAD.reason, ""), Job.reason)


@dataclass(frozen=True)
class LinkStatus:
    """Status of a job while a caller waits for its link. `decided`: waiting longer brings nothing new soon."""

    state: JobState
    reason: str
    decided: bool
    link: str = field(default="", repr=False)
    expires_at: datetime | None = None


class EventStatuses:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def of(self, event_id: uuid.UUID, sender: str) -> Any:
        """Status of this sender's event with this id, as `_EVENT` has it; None when there is none. A result that was
        changed in the database is `changed`."""
        with self._database.read() as connection:
            rows = fetch(connection, _EVENT.where(Inbox.id == event_id, Inbox.sender == sender))
            if not rows or rows[0].state is not JobState.COMPLETED:
                return rows[0] if rows else None
            (row,) = rows
            verdict = verdict_of_row(verdicts_of(connection, self._keyring, [row.customer_id]), row.customer_id, row)
        return row._replace(result=verdict.value) if verdict is Verdict.CHANGED else row

    def is_newest(self, event_id: uuid.UUID, signed_at: datetime) -> bool:
        """Whether no other message with this event was signed at this time or later; it is the newest then. Both times
        are of the sender's clock, to the second. A copy of a message is never the newest."""
        older = sa.or_(Inbox.signed_at.is_(None), Inbox.signed_at < signed_at)
        newer = sa.update(Inbox).where(Inbox.id == event_id, older).values(signed_at=signed_at)
        return self._database.change(newer) == 1

    def hand_out(self, wanted: Sequence[tuple[int, str]], *, now: datetime) -> dict[int, LinkStatus]:
        """Status of these jobs, with the links that are still fresh. `wanted`: for each caller, the job and the caller.
        The audit log records a link before the caller gets it. A job that is not in the answer was purged."""
        rows = self._database.rows(_STATUSES, {"job_ids": list({job_id for job_id, _ in wanted})})
        link_statuses = {row.id: _link_status(self._keyring, row, now) for row in rows}
        customers = {row.id: row.customer_id for row in rows}
        entries = [
            Entry(now, caller, "link", f"customer {customers[job_id]}", reason=f"job {job_id}")
            for job_id, caller in wanted
            if job_id in link_statuses and link_statuses[job_id].link
        ]
        if entries:
            with self._database.write() as connection:
                note_all(connection, entries)
        return link_statuses


def _link_status(keyring: Keyring, row: sa.Row[Any], now: datetime) -> LinkStatus:
    # The session of a cancelled job may be live: it stays open at its provider. Nobody is to be led there, nor anybody
    # who has submitted through an earlier session and is being reviewed.
    leads_on = row.session_id is not None and row.state is not JobState.CANCELLED and not row.in_review_before
    if leads_on and not is_stale(row.expires_at, floor=timedelta(seconds=row.floor_seconds), now=now):
        try:
            link = decrypt_link(keyring, row.session_id, row.encrypted)
            return LinkStatus(row.state, row.reason, True, link, row.expires_at)
        except (CannotDecrypt, Erased):
            # The caller gets the status without a link: `report` and the dispatcher of the message say why.
            return LinkStatus(row.state, row.reason, True)
    return LinkStatus(row.state, row.reason, row.state not in UNISSUED_JOBS)


_REACHES = sa.or_(Inbox.every_customer, CustomerRow.sender == Inbox.sender)
# An event that was taken or ignored, and its job, or the job that it joined. No link and nothing personal. `job` is
# None if the event has no job, or its job was purged.
_EVENT = (
    sa.select(
        Inbox.id,
        Inbox.kind,
        Inbox.customer_id,
        Inbox.outcome,
        Inbox.detail,
        Inbox.occurred_at,
        Inbox.received_at,
        sa.case((_REACHES, Inbox.job_id)).label("job_id"),
        Job.id.label("job"),
        Job.batch_id,
        STATE.label("state"),
        _REASON.label("reason"),
        RESULT.label("result"),
        Job.purpose,
        Job.created_at,
        sa.func.coalesce(LEAD.changed_at, Job.changed_at, type_=Job.changed_at.type).label("changed_at"),
        DUE_AT.label("due_at"),
        SessionRow.state.label("session"),
        SessionRow.issued_at,
        SessionRow.expires_at,
    )
    .join(CustomerRow, CustomerRow.customer_id == Inbox.customer_id, isouter=True)
    # Of a customer who was taken over since, its sender learns no more.
    .join(Job, sa.and_(Job.id == Inbox.job_id, _REACHES), isouter=True)
    .join(LEAD, LEAD.id == Job.leader_id, isouter=True)
    .join(SessionRow, SessionRow.id == sa.func.coalesce(LEAD.session_id, Job.session_id), isouter=True)
)
_STATUSES = (
    sa.select(
        Job.id,
        Job.customer_id,
        STATE.label("state"),
        _REASON.label("reason"),
        sa.func.coalesce(LEAD.floor_seconds, Job.floor_seconds).label("floor_seconds"),
        SessionRow.id.label("session_id"),
        SessionRow.encrypted,
        SessionRow.expires_at,
        OTHER_IN_REVIEW.label("in_review_before"),
    )
    .join(LEAD, LEAD.id == Job.leader_id, isouter=True)
    .join(
        SessionRow,
        sa.and_(
            SessionRow.id == sa.func.coalesce(LEAD.session_id, Job.session_id), SessionRow.state.in_(LIVE_SESSIONS)
        ),
        isouter=True,
    )
    .where(Job.id.in_(sa.bindparam("job_ids", expanding=True)))
)
