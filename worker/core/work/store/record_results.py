"""Records the results of calls for sessions: all of a flush in its transaction."""

import uuid
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.core.database.tables import Job
from worker.core.foundation.keyring import Keyring
from worker.core.limits.measured_pace import Stretch
from worker.core.limits.store.account_lessons import count_again, teach
from worker.core.work.store import ended_jobs, repeated_answers, sessions
from worker.core.work.store.issue_results import IssueResult
from worker.core.work.store.job_context import JobPolicy
from worker.core.work.store.plain_results import may_be_plain, write_plain
from worker.core.work.store.special_results import write_special
from worker.core.work.store.standing import outcomes_of, standing, standing_of

_STANDING = standing(
    Job,
    Job.priority,  # the batch may have been paused since the claim
    Job.invite_at,
    Job.pressed_at,
    Job.cancelled_at,
    sessions.LIVE_SESSION.label("live_session"),
)


def record_results(
    connection: sa.Connection,
    keyring: Keyring,
    policy: JobPolicy,
    results: Sequence[IssueResult],
    *,
    now: datetime,
    stretch: Stretch | None = None,
) -> set[str]:
    """Write results. Returns the channels that have invitations due now.

    For each result the attempt is closed, the session and its invitations are added, and the job's state changes. An
    answer with what another customer has is not believed. A result whose lease was lost changes only its attempt:
    another dispatcher owns the job.
    """
    results = repeated_answers.check(connection, keyring, policy.account, results)
    written: set[uuid.UUID] = set()
    channels: set[str] = set()
    usual = [item for item in results if may_be_plain(item)]
    if usual:
        written, channels = write_plain(connection, keyring, policy, usual, now=now)
    plain = [item for item in usual if item.opened.attempt_id in written]
    others = [item for item in results if item.opened.attempt_id not in written]
    special: Sequence[IssueResult] = ()
    overtaken: set[uuid.UUID] = set()
    if others:
        found = standing_of(connection, _STANDING, {item.opened.job.id for item in others})
        rows = {row.id: row for row in found}
        outcomes = outcomes_of(connection, [item.opened.attempt_id for item in others])
        others = [item for item in others if item.opened.attempt_id in outcomes]  # a purge may have removed the row
        special, more = write_special(connection, keyring, policy, others, rows, outcomes, now=now)
        channels |= more
        overtaken = ended_jobs.settle(connection, special, now=now)
        count_again(connection, policy.rule, others, outcomes)
    repeats = repeated_answers.hold_firsts(connection, keyring, policy.account, special, now=now)
    teach(connection, policy.rule, plain, special, overtaken, now=now, stretch=stretch)
    if repeats:
        repeated_answers.stop_if_many(connection, policy.rule, policy.account, now=now)
    return channels
