"""Records the results of calls for sessions: all of a flush in its transaction."""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import invitation_channels
from worker.core.customers.store.cancellation import cancel_jobs, instead_of_failing
from worker.core.customers.store.tombstones import erase_again
from worker.core.database import bulk, tally
from worker.core.database.binary_rows import Columns
from worker.core.database.tables import Job, SessionRow
from worker.core.database.tables.types import DETAIL_LENGTH
from worker.core.facts import STOPPED, JobsStopped, happened
from worker.core.foundation.ids import new_ids
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store import reminders
from worker.core.limits.rate_adaptation import Stretch
from worker.core.limits.store.account_outcomes import apply_results, count_again
from worker.core.model.channels import is_mail
from worker.core.model.endings import Asked, Done, Ending, Finish, Hold, job_state_after
from worker.core.model.reasons import Reason
from worker.core.model.states import JobState
from worker.core.unknown.store.late_attempts import sort_out
from worker.core.work.store import repeated_answers, sessions, without_call
from worker.core.work.store.attempt_log import (
    CLOSE,
    CLOSE_DONE,
    DONE,
    LATE,
    Standing,
    after_call,
    closing,
    outcomes_of,
    standing,
    standing_of,
)
from worker.core.work.store.issue_results import IssueResult, entity_id, floor_seconds, new_session
from worker.core.work.store.job_context import JobPolicy

_STANDING = standing(
    Job,
    Job.priority,  # the batch may have been paused since the claim
    Job.invite_at,
    Job.pressed_at,
    Job.cancelled_at,
    sessions.LIVE_SESSION.label("live_session"),
)
_OF_LATE = (Job.joins, Job.session_id, Job.priority)


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
        found = standing_of(connection, _STANDING, {item.opened.row.id for item in others})
        rows = {row.id: row for row in found}
        outcomes = outcomes_of(connection, [item.opened.attempt_id for item in others])
        others = [item for item in others if item.opened.attempt_id in outcomes]  # a purge may have removed the row
        special, more = write_special(connection, keyring, policy, others, rows, outcomes, now=now)
        channels |= more
        overtaken = without_call.settle(connection, special, now=now)
        count_again(connection, policy.rule, others, outcomes)
    repeats = repeated_answers.hold_firsts(connection, keyring, policy.account, special, now=now)
    apply_results(connection, policy.rule, plain, special, overtaken, now=now, stretch=stretch)
    if repeats:
        repeated_answers.stop_if_many(connection, policy.rule, policy.account, now=now)
    return channels


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
    job, session = result.opened.row, result.session
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
    counts = tally.counts_in_bulk(len(results))
    items = sorted(results, key=lambda item: item.opened.row.id)  # locked in the order of their ids, as all rows
    ids = new_ids(now, len(items))
    jobs = [item.opened.row for item in items]
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
    added = sessions.add(connection, keyring, new, quiet=policy.contact.hours.quiet, now=now)
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


_MOVE = bulk.Change(
    Job.id,
    bulk.new("state", "due_at", "reason", "detail", "session_id", "asks", "entity_id", "unknown_attempt", "pressed_at")
    | {
        "lease_until": None,
        "attempts": Job.attempts + sa.bindparam("more_attempts"),
        "waits": Job.waits + sa.bindparam("more_waits"),
        "reissues": Job.reissues + sa.bindparam("more_reissues"),
        "floor_seconds": sa.bindparam("new_floor"),
        "result": sa.func.coalesce(sa.bindparam("new_result", type_=sa.String()), Job.result),
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)


def write_special(
    connection: sa.Connection,
    keyring: Keyring,
    policy: JobPolicy,
    results: Sequence[IssueResult],
    rows: Mapping[int, Standing],
    outcomes: Mapping[uuid.UUID, str | None],
    *,
    now: datetime,
) -> tuple[Sequence[IssueResult], set[str]]:
    """Write results that are not plain. `rows`: by job; `outcomes`: of the attempts; all of them are locked.

    Returns those that were not written before, without the late ones, and the channels that have invitations due now.
    """
    found = sort_out(connection, Job, _OF_LATE, results, rows, outcomes, now=now)
    ours = found.ours
    kept = [item for item in found.results if item.opened.row.id in ours]
    opened = [item for item in kept if item.session is not None and not item.repeats]
    new = [
        _new_session(policy, item, session_id, rows[item.opened.row.id], priority=ours[item.opened.row.id].priority)
        for item, session_id in zip(opened, new_ids(now, len(opened)), strict=True)
    ]
    added = sessions.add(connection, keyring, new, quiet=policy.contact.hours.quiet, now=now)
    if policy.reminds:
        reminders.add(connection, policy.contact, _texted(kept, added), now=now)
    moves, closings = [], [_closing(keyring, result, late=True) for result in found.late]
    for result in found.results:
        job, ending, is_ours = result.opened.row, result.ending, result.opened.row.id in ours
        if result.session is not None and not result.repeats and is_ours and job.id not in added.sessions:
            second = f"the provider opened {result.session.lasting_reference} next to a session that is still live"
            ending = Hold(Reason.SECOND_SESSION, second)
        if is_ours:
            counted = outcomes[result.opened.attempt_id] is not None
            moves.append(_move(result, ending, added, counted=counted))
        closings.append(_closing(keyring, result, late=not is_ours))
    marked = {job_id for job_id, row in rows.items() if row.cancelled_at is not None}
    added.cancelled.update(instead_of_failing(moves, marked))
    _MOVE.run(connection, moves, at=now)
    stopped = [move["job_id"] for move in moves if move["new_state"] in STOPPED]
    happened(connection, JobsStopped(stopped), now=now)
    asked = [item.opened.row.session_id for item in found.results if isinstance(item.ending, Asked)]
    if asked:
        answered_now = sa.update(SessionRow).where(SessionRow.id.in_(asked))
        connection.execute(answered_now.values(asked_at=now, check_at=now))
    if added.cancelled:
        cancel_jobs(connection, sorted(added.cancelled), now=now)
    CLOSE.run(connection, closings, at=now)
    # Erased customers among them had their jobs cancelled while the calls were on their way.
    erase_again(connection, [item.opened.row.id for item in (*found.results, *found.late)])
    return found.results, added.channels


def _new_session(
    policy: JobPolicy, result: IssueResult, session_id: uuid.UUID, row: Standing, *, priority: int
) -> sessions.NewSession:
    return new_session(
        policy,
        result,
        session_id,
        priority=priority,
        invite_at=row.invite_at,
        pressed=row.pressed_at is not None,
        cancelled=row.cancelled_at is not None,
        live=row.live_session is not None,
    )


def _texted(results: Sequence[IssueResult], added: sessions.Stored) -> list[reminders.Sent]:
    """The customers to whom the provider sent the link by text itself. Reminders by text follow these texts."""
    return [
        reminders.Sent(
            added.sessions[item.opened.row.id],
            item.opened.row.id,
            to_phone,
            item.opened.row.request.customer,
            item.session.expires_at,
        )
        for item in results
        if item.session is not None and item.session.sms_sent and item.opened.row.id in added.invited
        for to_phone in invitation_channels(item.opened.row.channel)
        if not is_mail(to_phone)
    ]


def _move(result: IssueResult, ending: Ending | None, added: sessions.Stored, *, counted: bool) -> dict[str, Any]:
    """The job's new values. `counted`: the attempt was counted already when its outcome became unknown."""
    job = result.opened.row
    move = after_call(ending, result.opened, job, counted=counted) | {
        "job_id": job.id,
        "new_state": JobState.WAITING if ending is None else job_state_after(ending),
        "more_reissues": 0,
        "new_asks": job.asks is not None and not isinstance(ending, Asked),
        "new_result": ending.result if isinstance(ending, Finish) else None,
        "new_session_id": added.sessions.get(job.id, job.session_id),
        "new_floor": floor_seconds(result),
        "new_entity_id": entity_id(result),
        "new_pressed_at": None if isinstance(ending, Done) else job.pressed_at,
    }
    if isinstance(ending, Done):
        if job.id in added.invited:
            move["new_state"] = JobState.INVITED
        move["more_reissues"] = int(job.session_id is not None)
    return move


def _closing(keyring: Keyring, result: IssueResult, *, late: bool) -> dict[str, Any]:
    called = result.ending is not None and result.called
    values = closing(keyring, result.opened.attempt_id, called=called, problem=result.problem, found=result.found)
    if result.repeats and isinstance(result.ending, Hold):
        values |= {"new_code": Reason.ANSWER_REPEATED.value, "new_detail": result.ending.detail[:DETAIL_LENGTH]}
    elif late and result.session is not None:
        # The provider's reference is the only record of a session that was opened and paid for.
        reference = result.session.lasting_reference[:100]
        found = f"the result came after the lease; the provider opened {reference}"[:DETAIL_LENGTH]
        values |= {"new_outcome": LATE, "new_detail": found, "new_found": reference}
    return values
