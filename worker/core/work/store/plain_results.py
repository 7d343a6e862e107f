"""Plain results of calls for sessions: most of all results, written in few statements."""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk, tally
from worker.core.database.columns import Columns
from worker.core.database.tables import Job
from worker.core.foundation.ids import new_ids
from worker.core.foundation.keyring import Keyring
from worker.core.model.endings import Done
from worker.core.model.states import JobState
from worker.core.work.store import sessions
from worker.core.work.store.attempt_log import CLOSE_DONE, DONE
from worker.core.work.store.issue_results import IssueResult, entity_id, floor_seconds, new_session
from worker.core.work.store.job_context import JobPolicy

# The database checks in the same statement what may have come during the call. A job that does not meet the conditions
# stays as it is, and its result is special.
_ISSUED = bulk.ChangeIf(
    Job.id,
    {
        "state": JobState.ISSUED,
        "due_at": None,
        "lease_until": None,
        "attempts": Job.attempts + 1,
        "reason": "",
        "detail": "",
        "session_id": sa.bindparam("new_session_id"),
        "floor_seconds": sa.bindparam("new_floor"),
        "asks": False,
        "entity_id": sa.bindparam("new_entity_id"),
        "unknown_attempt": None,
        "changed_at": sa.bindparam("at"),
        "counted": Job.counted + sa.bindparam("counts"),
    },
    Job.state == bulk.fixed(JobState.WORKING),
    Job.cancelled_at.is_(None),
    Job.pressed_at.is_(None),
    sessions.LIVE_SESSION.is_(None),
    by="job_id",
    equal={"fence": Job.fence},
    returning=[Job.priority, Job.batch_id, Job.account, Job.channel, Job.result, Job.invite_at],
)


def may_be_plain(result: IssueResult) -> bool:
    """True for the first session of a customer, opened by an ordinary call.

    It is plain if the lease is still ours, and nothing has come meanwhile. All other results are special: a problem, a
    look-up, a late answer, another session of the customer, a cancelled job, a link that the provider has texted
    itself, a session for a customer at the stable link.
    """
    job, session = result.opened.job, result.session
    return (
        isinstance(result.ending, Done)
        and session is not None
        and job.session_id is None
        and not job.looks_up
        and not session.sms_sent
    )


def write_plain(
    connection: sa.Connection, keyring: Keyring, policy: JobPolicy, results: Sequence[IssueResult], *, now: datetime
) -> tuple[set[uuid.UUID], set[str]]:
    """Write the results that are plain, of one or more that may be.

    Returns their attempts, and the channels that have invitations due now.
    """
    counts = tally.pays(len(results))
    items = sorted(results, key=lambda item: item.opened.job.id)  # locked in the order of their ids, as all rows
    ids = new_ids(now, len(items))
    jobs = [item.opened.job for item in items]
    moves: Columns = {
        "job_id": [job.id for job in jobs],
        "fence": [job.fence for job in jobs],
        "new_session_id": ids,
        "new_floor": [floor_seconds(item) for item in items],
        "new_entity_id": [entity_id(item) for item in items],
    }
    moved = {(row.id, row.fence): row for row in _ISSUED.changed(connection, moves, at=now, counts=counts)}
    new, attempts = [], []
    for item, job, id_ in zip(items, jobs, ids, strict=True):
        if row := moved.get((job.id, job.fence)):
            new.append(new_session(policy, item, id_, priority=row.priority, invite_at=row.invite_at))
            attempts.append(item.opened.attempt_id)
    if not new:
        return set(), set()
    added = sessions.add(connection, keyring, new, quiet=policy.hours.quiet, now=now)
    if counts:
        _count(connection, moved.values())
    CLOSE_DONE.run_columns(connection, {"attempt_id": attempts}, at=now, counts=counts)
    return set(attempts), added.channels


def _count(connection: sa.Connection, rows: Iterable[Any]) -> None:
    """Count jobs that get their first session, and their calls, which are done."""
    counts = tally.of(connection)
    for (batch_id, account, channel, result), number in Counter(map(_COUNTED, rows)).items():
        counts.add(tally.job(batch_id, JobState.WORKING, channel, account, result), -number)
        counts.add(tally.job(batch_id, JobState.ISSUED, channel, account, result), number, sessions=number)
        counts.add(tally.call(batch_id, "", account), -number)
        counts.add(tally.call(batch_id, DONE, account), number)


_COUNTED = attrgetter("batch_id", "account", "channel", "result")
