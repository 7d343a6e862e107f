"""Reads the records of the evidence of a batch: all of one moment, chunk by chunk."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.evidence.records import record
from worker.domain.model.audit import precisely
from worker.domain.model.states import SessionState
from worker.store.base.database import Database, fetch
from worker.store.base.job_ids import of_batch
from worker.store.onboarding.joined import ACCOUNT, LEAD, REASON, RESULT, STATE
from worker.store.operators.report_rows import why_skipped
from worker.store.tables import Attempt, Audit, Batch, CustomerRow, InvitationRow, Job, SessionRow, SkippedLine

CHUNK = 500  # rows of the list at a time
MAKING = "evidence"  # this command's entries: with them, evidence would never be the same twice
_NOT_EVIDENCE = Audit.action != MAKING


class EvidenceRecords:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, batch_id: int) -> Iterator[dict[str, Any]]:
        """The records of a batch that is there. The database is read in one transaction, until the last record."""
        with self._database.read() as connection:
            if not self._database.is_sqlite:  # else a chunk could be of another moment than the one before
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield from _batch(connection, batch_id)
            after = -1
            while rows := fetch(connection, _JOBS, {"batch": batch_id, "after": after}):
                after = rows[-1].row
                yield from _customers(connection, rows)
            after = -1
            while refused := fetch(connection, _SKIPPED, {"batch": batch_id, "after": after}):
                after = refused[-1].row
                yield from map(_refused, refused)


def _batch(connection: sa.Connection, batch_id: int) -> Iterator[dict[str, Any]]:
    (row,) = fetch(connection, sa.select(Batch.__table__).where(Batch.id == batch_id))
    yield record(
        "batch",
        batch=row.id,
        name=row.name,
        sha256=row.digest,
        generation=row.generation,
        created_at=_time(row.created_at),
        imported_at=_time(row.imported_at),
        cancelled_at=_time(row.cancelled_at),
    )
    # By chunks: a person may have decided about a batch a thousand times.
    after = 0
    while rows := fetch(connection, _ABOUT_BATCH, {"subject": f"batch {batch_id}", "after": after}):
        after = rows[-1].id
        yield from map(_decision, rows)


_JOBS = (
    sa.select(
        Job.row,
        Job.customer_id,
        Job.purpose,
        Job.channel,
        Job.consent,
        CustomerRow.encrypted.is_(None).label("erased"),
        ACCOUNT.label("account"),
        sa.func.coalesce(LEAD.route, Job.route).label("route"),
        STATE.label("state"),
        RESULT.label("result"),
        REASON.label("reason"),
        sa.func.coalesce(LEAD.id, Job.id).label("served_by_job"),
        sa.func.coalesce(LEAD.batch_id, Job.batch_id).label("served_by"),
        Job.created_at,
        sa.func.coalesce(LEAD.changed_at, Job.changed_at).label("changed_at"),
    )
    .join(LEAD, LEAD.id == Job.joins, isouter=True)
    .join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
    .where(of_batch(sa.bindparam("batch", type_=Job.id.type), after=sa.bindparam("after")))
    .order_by(Job.id)
    .limit(CHUNK)
)
_SKIPPED = (
    sa.select(
        SkippedLine.row, SkippedLine.customer_id, SkippedLine.duplicate_of, SkippedLine.known, SkippedLine.problems
    )
    .where(SkippedLine.batch_id == sa.bindparam("batch"), SkippedLine.row > sa.bindparam("after"))
    .order_by(SkippedLine.row)
    .limit(CHUNK)
)
_ABOUT_BATCH = (
    sa.select(Audit.__table__)
    .where(Audit.subject == sa.bindparam("subject"), Audit.id > sa.bindparam("after"), _NOT_EVIDENCE)
    .order_by(Audit.id)
    .limit(CHUNK)
)
_ABOUT_CUSTOMERS = (
    sa.select(Audit.__table__)
    .where(Audit.subject.in_(sa.bindparam("subjects", expanding=True)), _NOT_EVIDENCE)
    .order_by(Audit.id)
)
_CALLS = (
    sa.select(
        Attempt.job_id,
        Attempt.invitation_id,
        Attempt.account,
        Attempt.reconciles,
        Attempt.opened_at,
        Attempt.closed_at,
        Attempt.outcome,
        Attempt.status,
        Attempt.code,
    )
    .where(Attempt.job_id.in_(sa.bindparam("jobs", expanding=True)))
    .order_by(Attempt.opened_at, Attempt.id)
)
_SESSIONS = (
    sa.select(
        SessionRow.id,
        SessionRow.job_id,
        SessionRow.account,
        SessionRow.reference,
        SessionRow.vendor,
        SessionRow.state,
        SessionRow.result,
        SessionRow.issued_at,
        SessionRow.expires_at,
        SessionRow.expiry_source,
        SessionRow.update_at,
        SessionRow.sms_sent,
    )
    .where(SessionRow.job_id.in_(sa.bindparam("jobs", expanding=True)))
    .order_by(SessionRow.issued_at, SessionRow.id)
)
_MESSAGES = (
    sa.select(
        InvitationRow.id,
        InvitationRow.session_id,
        InvitationRow.job_id,
        InvitationRow.channel,
        InvitationRow.kind,
        InvitationRow.state,
        InvitationRow.reason,
        InvitationRow.template,
        InvitationRow.reference,
        InvitationRow.created_at,
        InvitationRow.sent_at,
        InvitationRow.delivery_at,
        InvitationRow.unknown_handovers,
    )
    .where(InvitationRow.job_id.in_(sa.bindparam("jobs", expanding=True)))
    .order_by(InvitationRow.created_at, InvitationRow.id)
)


def _customers(connection: sa.Connection, rows: Sequence[Any]) -> Iterator[dict[str, Any]]:
    jobs = {"jobs": [row.served_by_job for row in rows]}
    calls, sessions, messages = (_by_job(fetch(connection, query, jobs)) for query in (_CALLS, _SESSIONS, _MESSAGES))
    decisions: dict[str, list[Any]] = {}
    subjects = sorted({f"customer {row.customer_id}" for row in rows})
    for entry in fetch(connection, _ABOUT_CUSTOMERS, {"subjects": subjects}):
        decisions.setdefault(entry.subject, []).append(entry)
    for row in rows:
        job = row.served_by_job
        yield _customer(row, calls.get(job, ()), sessions.get(job, ()), messages.get(job, ()))
        yield from map(_decision, decisions.get(f"customer {row.customer_id}", ()))
        yield from map(_call, calls.get(job, ()))
        numbers = {session.id: number for number, session in enumerate(sessions.get(job, ()), start=1)}
        for session in sessions.get(job, ()):
            yield _session(numbers[session.id], session)
        for message in messages.get(job, ()):
            yield _message(numbers.get(message.session_id), message)


def _by_job(rows: Sequence[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row.job_id, []).append(row)
    return found


def _customer(row: Any, calls: Sequence[Any], sessions: Sequence[Any], messages: Sequence[Any]) -> dict[str, Any]:
    sent = [message.sent_at for message in messages if message.sent_at is not None]
    results = [session.update_at for session in sessions if session.result and session.update_at is not None]
    return record(
        "customer",
        row=row.row,
        customer_id=row.customer_id,
        purpose=row.purpose,
        channel=str(row.channel),
        consent=row.consent,
        erased=bool(row.erased),
        account=row.account,
        route=row.route,
        state=str(row.state),
        result=row.result,
        reason=row.reason,
        served_by=row.served_by,
        created_at=_time(row.created_at),
        changed_at=_time(row.changed_at),
        sessions=sum(session.state is not SessionState.UNBOUGHT for session in sessions),
        calls=len(calls),
        messages_sent=len(sent),
        first_message_at=_time(min(sent, default=None)),
        result_at=_time(max(results, default=None)),
    )


def _decision(entry: Any) -> dict[str, Any]:
    return record(
        "decision",
        at=_time(entry.at),
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        count=entry.count,
        reason=entry.reason,
        number=entry.number,
        audit_hash=entry.hash,
    )


def _call(call: Any) -> dict[str, Any]:
    for_ = "look_up" if call.reconciles is not None else "session" if call.invitation_id is None else "message"
    return record(
        "call",
        **{"for": for_},
        account=call.account,
        opened_at=_time(call.opened_at),
        closed_at=_time(call.closed_at),
        outcome=call.outcome,
        status=call.status,
        code=call.code,
        message=_id(call.invitation_id),
    )


def _session(number: int, row: Any) -> dict[str, Any]:
    # Its own id is left out: it is for us alone.
    return record(
        "session",
        session=number,
        account=row.account,
        reference=row.reference,
        vendor=row.vendor,
        state=str(row.state),
        result=row.result,
        issued_at=_time(row.issued_at),
        expires_at=_time(row.expires_at),
        expiry_source=str(row.expiry_source),
        result_at=_time(row.update_at),
        texted_by_provider=bool(row.sms_sent),
    )


def _message(session: int | None, row: Any) -> dict[str, Any]:
    return record(
        "message",
        id=_id(row.id),
        session=session,
        channel=row.channel,
        kind=row.kind,
        state=str(row.state),
        reason=row.reason,
        template=row.template,
        reference=row.reference,
        created_at=_time(row.created_at),
        sent_at=_time(row.sent_at),
        delivery_at=_time(row.delivery_at),
        unknown_handovers=row.unknown_handovers,
    )


def _refused(row: Any) -> dict[str, Any]:
    state, _, detail = why_skipped(row)
    return record("refused", row=row.row, customer_id=row.customer_id or "", state=str(state), reason=detail)


def _id(value: uuid.UUID | None) -> str | None:
    """As the left part of a Message-ID has it."""
    return None if value is None else value.hex


def _time(at: datetime | None) -> str | None:
    return None if at is None else precisely(at)
