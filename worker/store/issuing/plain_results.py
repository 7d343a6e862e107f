"""Plain results of calls for sessions: most of all results, written in few statements."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter

import sqlalchemy as sa

from worker.domain.model.endings import Done
from worker.domain.model.states import JobState
from worker.foundation.keyring import Keyring
from worker.store.attempts.attempt_log import CLOSE_DONE, DONE
from worker.store.attempts.standing import Standing, is_leased
from worker.store.base import bulk, tally
from worker.store.base.columns import Columns
from worker.store.issuing.issue_results import IssueResult, entity_id, floor_seconds, new_session
from worker.store.issuing.job_context import JobPolicy
from worker.store.onboarding import sessions
from worker.store.tables import Job

_ISSUED = bulk.Change(
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
    by="job_id",
)


def is_plain(result: IssueResult, row: Standing) -> bool:
    """True for the first session of a customer, opened by an ordinary call whose lease is still ours.

    All other results are special: a problem, a look-up, a late answer, another session of the customer, a cancelled
    job, a link that the provider has texted itself, a session for a customer at the stable link.
    """
    job, session = result.opened.job, result.session
    return (
        isinstance(result.ending, Done)
        and session is not None
        and is_leased(row, job.fence)
        and row.live_session is None
        and row.cancelled_at is None
        and row.pressed_at is None
        and job.session_id is None
        and not job.looks_up
        and not session.sms_sent
    )


def write_plain(
    connection: sa.Connection,
    keyring: Keyring,
    policy: JobPolicy,
    results: Sequence[IssueResult],
    rows: Mapping[int, Standing],
    *,
    now: datetime,
) -> set[str]:
    """Write the results of `is_plain`. `rows`: by job, locked. Returns the channels that have invitations due now."""
    new = [new_session(policy, item, rows[item.opened.job.id]) for item in results]
    added = sessions.add(connection, keyring, new, quiet=policy.hours.quiet, now=now)
    jobs = [item.opened.job.id for item in results]
    moves: Columns = {
        "job_id": jobs,
        "new_session_id": [added.sessions[job_id] for job_id in jobs],
        "new_floor": [floor_seconds(item) for item in results],
        "new_entity_id": [entity_id(item) for item in results],
    }
    counts = tally.pays(len(results))
    if counts:
        _count(connection, [rows[job_id] for job_id in jobs])
    _ISSUED.run_columns(connection, moves, at=now, counts=counts)
    CLOSE_DONE.run_columns(
        connection, {"attempt_id": [item.opened.attempt_id for item in results]}, at=now, counts=counts
    )
    return added.channels


def _count(connection: sa.Connection, rows: Sequence[Standing]) -> None:
    """Count jobs that get their first session, and their calls, which are done."""
    counts = tally.of(connection)
    for (batch_id, account, channel, result), number in Counter(map(_COUNTED, rows)).items():
        counts.add(tally.job(batch_id, JobState.WORKING, channel, account, result), -number)
        counts.add(tally.job(batch_id, JobState.ISSUED, channel, account, result), number, sessions=number)
        counts.add(tally.call(batch_id, "", account), -number)
        counts.add(tally.call(batch_id, DONE, account), number)


_COUNTED = attrgetter("batch_id", "account", "channel", "result")
