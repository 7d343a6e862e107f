"""Claimed jobs for which no call is made.

Where links could not be sent to any address, the jobs end before a session is paid for. The question is asked at each
claim, whatever made the job due. An address that is suppressed after the claim costs a session but no message: each
message is checked again before it is sent.

Where sessions are bought on click, messages go out with our own link, and nothing is asked of a provider. The row of an
unbought session stands where the session will be. It holds the messages together, and its end is the link's. No cap and
no cost counts it.

Puts off jobs, and makes jobs and messages due, many at a time and without a claim.

Claimed jobs that have ended: their calls are looked up (`lifecycle.store.ended_calls`). No gate concerns them.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel, invitation_channels
from worker.core.customers.store.admission import release_cleared
from worker.core.customers.store.suppressions import reachable
from worker.core.customers.suppression import detail_of
from worker.core.database import bulk
from worker.core.database.encrypted_values import Erased
from worker.core.database.priorities import BATCH, PRIORITIES
from worker.core.database.tables import InvitationRow, Job, SessionRow
from worker.core.foundation.ids import new_ids
from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.lifecycle.store import ended_calls
from worker.core.lifecycle.store.own_links import StableLinks
from worker.core.messages.delivery_reports import following, writable
from worker.core.model.endings import Later, Never
from worker.core.model.reasons import Reason
from worker.core.model.sessions import ExpirySource, Session
from worker.core.model.states import InvitationState, JobState, SessionState
from worker.core.unknown.reconciliation import Nothing
from worker.core.unknown.store.unknown_outcomes import calls_to_reconcile
from worker.core.work.store import sessions
from worker.core.work.store.issue_results import IssueResult
from worker.core.work.store.job_context import ClaimedJob, JobPolicy, decrypted
from worker.core.work.store.sessions import FIRST

# The expired sessions among these whose links were sent to their customers.
_LINK_SENT = (
    sa.select(InvitationRow.session_id)
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .where(
        bulk.among(InvitationRow.session_id, "sessions"),
        InvitationRow.kind == FIRST,
        InvitationRow.state.in_([InvitationState.SENT, InvitationState.DELIVERED]),
        SessionRow.state == SessionState.EXPIRED,
    )
)


def unreachable(
    connection: sa.Connection, keyring: Keyring, jobs: Sequence[ClaimedJob], *, fallbacks: Mapping[str, str]
) -> Mapping[int, Never]:
    """The jobs whose messages could not be sent to any address; a customer without a known address is left out.

    A job whose customer got a link that ended unused has lapsed, as when the sweep finds this. Any other job has
    failed, and an operator may retry it.
    """
    people = {job.request.customer.customer_id: job.request.customer.person for job in jobs}
    asked = {channel for job in jobs for channel in invitation_channels(job.channel)}
    tried = asked.union(*(following(channel, fallbacks) for channel in asked))
    ways = reachable(connection, keyring, people, tried)
    found: dict[int, Never] = {}
    for job in jobs:
        channels, suppressed = invitation_channels(job.channel), ways.get(job.request.customer.customer_id, {})
        reasons = [reason for channel in channels if (reason := suppressed.get(channel)) is not None]
        if reasons and not writable(channels, fallbacks, suppressed):
            detail = "; ".join(dict.fromkeys(detail_of(reason) for reason in reasons))
            found[job.id] = Never(JobState.FAILED, Reason.SUPPRESSED, detail)
    before = {job.id: job.session_id for job in jobs if job.id in found and job.session_id is not None}
    sent = set(connection.execute(_LINK_SENT, {"sessions": bulk.keys(before.values())}).scalars()) if before else set()
    lapsed = Never(JobState.LAPSED, Reason.SUPPRESSED, Reason.SUPPRESSED.meaning)
    return found | {job_id: lapsed for job_id, session_id in before.items() if session_id in sent}


_ISSUED = bulk.Change(
    Job.id,
    {
        "state": JobState.ISSUED,
        "due_at": None,
        "lease_until": None,
        "reason": "",
        "detail": "",
        "session_id": sa.bindparam("new_session_id"),
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)


def invite_unbought(
    connection: sa.Connection,
    keyring: Keyring,
    policy: JobPolicy,
    links: StableLinks,
    jobs: Sequence[ClaimedJob],
    *,
    now: datetime,
) -> set[str]:
    """Add the messages of these leased jobs, and release the jobs. Returns the channels with messages due now."""
    nothing = Session("", "", "", now + links.valid, ExpirySource.FALLBACK)
    new = [
        sessions.NewSession(
            id=session_id,
            job_id=job.id,
            batch_id=job.batch_id,
            customer_id=job.request.customer.customer_id,
            purpose=job.purpose,
            channels=invitation_channels(job.channel),
            priority=job.priority,
            account=policy.account,
            issued_at=now,
            replaces=job.session_id,
            session=nothing,
            invite_at=job.invite_at,
            cancelled=False,
            live=False,
            unbought=True,
        )
        for job, session_id in zip(jobs, new_ids(now, len(jobs)), strict=True)
    ]
    added = sessions.add(connection, keyring, new, now=now)
    moves = [{"job_id": job.id, "new_session_id": added.sessions[job.id]} for job in jobs]
    _ISSUED.run(connection, moves, at=now)
    return added.channels


CHUNK = 2000  # jobs put off in one statement
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


def defer_unclaimed(connection: sa.Connection, account: str, like: Mapping[Channel, Later], *, now: datetime) -> None:
    """Defer a chunk of due jobs without claiming them. The senders of these channels have no room for any message."""
    for channel, why in like.items():
        given = {"account_": account, "channel_": channel, "now": now, "most": CHUNK}
        connection.execute(_DEFER_UNCLAIMED, given | {"new_due_at": why.due_at, "new_reason": why.reason})


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


def is_ended(row: Any) -> bool:
    """Whether this claimed row is of a job that has ended: no other claimed row is due at no time."""
    return row.due_at is None


def decrypted_calls(
    connection: sa.Connection, keyring: Keyring, policy: JobPolicy, rows: Sequence[Any], *, now: datetime
) -> list[ClaimedJob]:
    """The jobs of these rows, which have ended, with the calls to look up."""
    if not rows:
        return []
    calls = calls_to_reconcile(connection, rows, now=now)
    jobs: list[ClaimedJob] = []
    unread: list[int] = []
    for row in rows:
        try:
            job = decrypted(
                keyring,
                row,
                calls[row.id],
                provider=policy.provider,
                session_id=row.session_id,
            )
        except (CannotDecrypt, Erased):
            unread.append(row.id)
        else:
            jobs.append(replace(job, ended=True, due_at=now))
    ended_calls.give_up(connection, unread)
    return jobs


def settle(connection: sa.Connection, results: Sequence[IssueResult], *, now: datetime) -> set[uuid.UUID]:
    """Write what was found of calls whose jobs have ended. Returns the look-ups that calls' own answers overtook.

    A look-up that was not made is due again at once: at the end of its lease a new dispatcher would claim it, which
    does not know yet how long its flushes take, and would miss the slot again.
    """
    overtaken, nothing = set(), []
    skipped = [item.opened.row for item in results if item.ending is None and item.found is None]
    ended_calls.release(connection, [(job.id, job.fence) for job in skipped if job.ended], now=now)
    for result in results:
        job = result.opened.row
        if job.ended and job.unknown_call is not None and result.found is not None:
            call = job.unknown_call.attempt_id
            if not ended_calls.settle(connection, job.id, job.fence, call, result.found, now=now):
                overtaken.add(result.opened.attempt_id)
            elif isinstance(result.found, Nothing):
                nothing.append(job.id)
    if nothing:
        release_cleared(connection, nothing, now=now)
    return overtaken
