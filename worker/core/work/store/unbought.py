"""Jobs whose sessions are bought on click: their messages go out with our own link, and nothing is asked of a provider.

The row of an unbought session stands where the session will be. It holds the messages together, and its end is the
link's. No cap and no cost counts it.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.core.customers.customers import invitation_channels
from worker.core.database import bulk
from worker.core.database.tables import Job
from worker.core.foundation.ids import new_ids
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store.own_links import StableLinks
from worker.core.model.sessions import ExpirySource, Session
from worker.core.model.states import JobState
from worker.core.work.store import sessions
from worker.core.work.store.job_context import ClaimedJob, JobPolicy

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


def invite(
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
