"""Claimed jobs for which no call is made.

Where links could not be sent to any address, the jobs end before a session is paid for. The question is asked at each
claim, whatever made the job due. An address that is suppressed after the claim costs a session but no message: each
message is checked again before it is sent.

Where sessions are bought on click, messages go out with our own link, and nothing is asked of a provider. The row of an
unbought session stands where the session will be. It holds the messages together, and its end is the link's. No cap and
no cost counts it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.core.customers.customers import invitation_channels
from worker.core.customers.store.suppressions import reachable
from worker.core.customers.suppression import detail_of
from worker.core.database import bulk
from worker.core.database.tables import InvitationRow, Job, SessionRow
from worker.core.foundation.ids import new_ids
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store.own_links import StableLinks
from worker.core.messages.fallback_channel import following, writable
from worker.core.messages.send_decision import Never
from worker.core.model.reasons import Reason
from worker.core.model.sessions import ExpirySource, Session
from worker.core.model.states import InvitationState, JobState, SessionState
from worker.core.work.store import sessions
from worker.core.work.store.job_context import ClaimedJob, JobPolicy
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
