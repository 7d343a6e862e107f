"""Records the results of calls for sessions: all of a flush in its transaction.

Decides what each result changes of its job, attempt, session and messages. Refused are answers with what another
customer has, and results of leases that were lost, but for what the job still waits for.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.budgets.reports import count_unread
from onboarding_worker.core.claim.attempt_log import (
    CLOSE,
    CLOSE_DONE,
    SortedOut,
    after_call,
    closing,
    plain,
    sort_out,
    standing,
)
from onboarding_worker.core.claim.flush import Flush
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.bulk import Columns
from onboarding_worker.core.database.facts import STOPPED, JobsStopped, happened
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.job_ids import new_ids
from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.messages import reminders
from onboarding_worker.core.model.channels import is_mail
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.model.endings import Asked, Done, Ending, Finish, Hold, job_state_after
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import DONE, LATE, JobState
from onboarding_worker.core.rows import sessions, unknown_outcomes
from onboarding_worker.core.rows.calls_in_doubt import release_cleared
from onboarding_worker.core.rows.cancellation import cancel_jobs, cancelled_instead
from onboarding_worker.core.rows.erased_jobs import erase_again
from onboarding_worker.core.rules.call_outcomes import CallOutcome
from onboarding_worker.core.rules.reconciliation import Nothing
from onboarding_worker.core.work.store import call_costs, repeated_answers
from onboarding_worker.core.work.store.job_context import ClaimedJob, IssueResult, JobPolicy

_STANDING = standing(
    Job,
    Job.leader_id,
    Job.session_id,
    Job.priority,  # the batch may have been paused since the claim
    Job.invite_at,
    Job.link_requested_at,
    Job.cancelled_at,
    sessions.LIVE_SESSION.label("live_session"),
)


def record_results(flush: Flush[JobPolicy], results: Sequence[IssueResult]) -> set[str]:
    """Write results. Returns the channels that have invitations due now.

    For each result the attempt is closed, the session and its invitations are added, and the job's state changes. An
    answer with what another customer has is not believed. A result whose lease was lost changes only its attempt,
    unless the job still waits for this answer (`attempt_log.sort_out`).
    """
    connection, policy, now = flush.connection, flush.policy, flush.now
    results = repeated_answers.check(flush, results)
    # The first session of a customer, opened by an ordinary call, is plain if the lease is still ours, and nothing has
    # come meanwhile. All other results are special: a problem, a look-up, a late answer, another session of the
    # customer, a cancelled job, a link that the provider has texted itself, a session for one at the stable link.
    usual = [
        item
        for item in results
        if isinstance(item.ending, Done)
        and item.session is not None
        and item.row.session_id is None
        and not item.row.looks_up
        and not item.session.sms_sent
    ]
    written, channels = write_plain(flush, usual) if usual else ([], set())
    ids = {item.row.attempt_id for item in written}
    others = [item for item in results if item.row.attempt_id not in ids]
    special: Sequence[IssueResult] = ()
    overtaken: set[uuid.UUID] = set()
    if others:
        found = sort_out(connection, _STANDING, others, moved_on=_has_another_session, now=now)
        channels |= _write_special(flush, found)
        special = found.results
        overtaken = _settle(connection, special, now=now)
        call_costs.count_again(connection, policy.rule, others, found.outcomes, now=now)
    repeats = bool(special) and repeated_answers.hold_firsts(flush, special)
    outcomes = [CallOutcome(item.began_at) for item in written]
    outcomes += call_costs.outcomes_of(special, look_ups=False) if special else []
    budgets.apply_outcomes(connection, policy.rule, outcomes, now=now)
    if special:
        unread = [item.problem.unread for item in special if item.problem is not None]
        count_unread(connection, policy.rule.name, unread, now=now)
        call_costs.apply_special(connection, policy.rule, special, overtaken, now=now)
    if repeats:
        repeated_answers.stop_if_many(flush)
    return channels


def _has_another_session(answer: IssueResult, row: Any) -> bool:
    """Whether the job has another session than when the call was made."""
    return row.leader_id is not None or row.session_id != answer.row.session_id


# The database checks in the same statement what may have come during the call. A job that does not meet the conditions
# stays as it is, and its result is special.
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
        "needs_status_check": False,
        "entity_id": sa.bindparam("new_entity_id"),
        "unknown_attempt": None,
        "changed_at": sa.bindparam("at"),
        "counted": Job.counted + sa.bindparam("counts"),
    },
    Job.state == bulk.fixed(JobState.WORKING),
    Job.cancelled_at.is_(None),
    Job.link_requested_at.is_(None),
    sessions.LIVE_SESSION.is_(None),
    by="row_id",
    equal={"fence": Job.fence},
    returning=[Job.priority, Job.batch_id, Job.account, Job.channel, Job.result, Job.invite_at],
)


def write_plain(flush: Flush[JobPolicy], results: Sequence[IssueResult]) -> tuple[list[IssueResult], set[str]]:
    """Write the results that are plain, of one or more that may be.

    Returns them, and the channels that have invitations due now.
    """
    counts = tally.counts_in_bulk(len(results))
    items = sorted(results, key=lambda item: item.row.id)
    ids = new_ids(flush.now, len(items))
    values: Columns = {
        "new_session_id": ids,
        "new_floor": [int((item.row.floor if item.floor is None else item.floor).total_seconds()) for item in items],
        "new_entity_id": [_entity_id(item) for item in items],
    }
    found = plain(flush, _ISSUED, items, values, counts=counts)
    if not found:
        return [], set()
    by_job = dict(zip((item.row.id for item in items), ids, strict=True))
    customers = {item.row.id: item.row.customer for item in items}
    new = [(by_job[row.id], item, row) for item, row in found]
    added = sessions.add(flush, new, customers, flush.policy.contact.hours, plain=True)
    if counts:
        # Jobs that get their first session, and their calls, which are done.
        all_ = tally.of(flush.connection)
        for (batch_id, account, channel, result), number in Counter(_COUNTED(row) for _, row in found).items():
            all_.add(tally.job(batch_id, JobState.WORKING, channel, account, result), -number)
            all_.add(tally.job(batch_id, JobState.ISSUED, channel, account, result), number, sessions=number)
            all_.add(tally.call(batch_id, "", account), -number)
            all_.add(tally.call(batch_id, DONE, account), number)
    closed = {"attempt_id": [item.row.attempt_id for item, _ in found]}
    CLOSE_DONE.run_columns(flush.connection, closed, at=flush.now, counts=counts)
    return [item for item, _ in found], added.channels


_COUNTED = attrgetter("batch_id", "account", "channel", "result")


_MOVE = bulk.Change(
    Job.id,
    bulk.new("state", "due_at", "reason", "detail", "session_id", "needs_status_check")
    | bulk.new("entity_id", "unknown_attempt", "link_requested_at")
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


def _write_special(flush: Flush[JobPolicy], found: SortedOut[ClaimedJob]) -> set[str]:
    """Write results that are not plain. Returns the channels that have invitations due now."""
    connection, keyring, policy, now, ours = flush.connection, flush.keyring, flush.policy, flush.now, found.ours
    kept = [item for item in found.results if item.row.id in ours]
    opened = [item for item in kept if item.session is not None and not item.repeats]
    ids = new_ids(now, len(opened))
    new = [(session_id, item, found.rows[item.row.id]) for session_id, item in zip(ids, opened, strict=True)]
    customers = {item.row.id: item.row.customer for item in opened}
    added = sessions.add(flush, new, customers, policy.contact.hours)
    if policy.reminds:
        reminders.add(connection, policy.contact, _texted(kept, added), now=now)
    moves, closings = [], [_closing(keyring, result, late=True) for result in found.late]
    for result in found.results:
        job, ending, is_ours = result.row, result.ending, result.row.id in ours
        if result.session is not None and not result.repeats and is_ours and job.id not in added.sessions:
            second = f"the provider opened {result.session.lasting_reference} next to a session that is still live"
            ending = Hold(Reason.SECOND_SESSION, second)
        if is_ours:
            moves.append(_move(result, ending, added, counted=found.counted(result)))
        closings.append(_closing(keyring, result, late=not is_ours))
    marked = {job_id for job_id, row in found.rows.items() if row.cancelled_at is not None}
    added.cancelled.update(cancelled_instead(moves, marked))
    _MOVE.run(connection, moves, at=now)
    if stopped := [move["job_id"] for move in moves if move["new_state"] in STOPPED]:
        happened(connection, JobsStopped(stopped), now=now)
    asked = [item for item in found.results if isinstance(item.ending, Asked)]
    if asked:
        answered_now = sa.update(SessionRow).where(SessionRow.id.in_([item.row.session_id for item in asked]))
        connection.execute(answered_now.values(asked_at=now, check_at=now))
        # Of these the list says nothing new: neither an end nor that the customer has submitted.
        alive = [one.row.session_id for one in asked if (news := one.news) and news.state is None and not news.result]
        sessions.outlived(connection, alive, now=now)
    if added.cancelled:
        cancel_jobs(connection, sorted(added.cancelled), now=now)
    CLOSE.run(connection, closings, at=now)
    # Erased customers among them had their jobs cancelled while the calls were on their way.
    erase_again(connection, [item.row.id for item in (*found.results, *found.late)])
    return added.channels


def _texted(results: Sequence[IssueResult], added: sessions.Stored) -> list[reminders.Sent]:
    """The customers to whom the provider sent the link by text itself. Reminders by text follow these texts."""
    return [
        reminders.Sent(added.sessions[item.row.id], item.row.id, to_phone, item.row.customer, item.session.expires_at)
        for item in results
        if item.session is not None and item.session.sms_sent and item.row.id in added.invited
        for to_phone in invitation_channels(item.row.channel)
        if not is_mail(to_phone)
    ]


def _move(result: IssueResult, ending: Ending | None, added: sessions.Stored, *, counted: bool) -> dict[str, Any]:
    """The job's new values. `counted`: the attempt was counted already when its outcome became unknown."""
    job, call = result.row, result.row.unknown_call
    unknown_call = call.attempt_id if call is not None else None
    after = after_call(ending, due_at=job.due_at, attempt_id=job.attempt_id, unknown_call=unknown_call, counted=counted)
    move = after | {
        "job_id": job.id,
        "new_state": JobState.WAITING if ending is None else job_state_after(ending),
        "more_reissues": 0,
        "new_needs_status_check": job.asks_about is not None and not isinstance(ending, Asked),
        "new_result": ending.result if isinstance(ending, Finish) else None,
        "new_session_id": added.sessions.get(job.id, job.session_id),
        "new_floor": int((job.floor if result.floor is None else result.floor).total_seconds()),
        "new_entity_id": _entity_id(result),
        "new_link_requested_at": None if isinstance(ending, Done) else job.link_requested_at,
    }
    if isinstance(ending, Done):
        if job.id in added.invited:
            move["new_state"] = JobState.INVITED
        move["more_reissues"] = int(job.session_id is not None)
    return move


def _closing(keyring: Keyring, result: IssueResult, *, late: bool) -> dict[str, Any]:
    values = closing(keyring, result)
    if result.repeats and isinstance(result.ending, Hold):
        values |= {"new_code": Reason.ANSWER_REPEATED.value, "new_detail": result.ending.detail[:DETAIL_LENGTH]}
    elif late and result.session is not None:
        # The provider's reference is the only record of a session that was opened and paid for.
        reference = result.session.lasting_reference[:100]
        found = f"the result came after the lease; the provider opened {reference}"[:DETAIL_LENGTH]
        values |= {"new_outcome": LATE, "new_detail": found, "new_found": reference}
    return values


def _entity_id(result: IssueResult) -> str:
    """The provider's entity of the customer. It is sent from now on: otherwise the provider makes another entity."""
    new = result.session.references.get("entityId") if result.session and not result.repeats else None
    return new or result.row.entity_id


def _settle(connection: sa.Connection, results: Sequence[IssueResult], *, now: datetime) -> set[uuid.UUID]:
    """Write what was found of calls whose jobs have ended. Returns the look-ups that calls' own answers overtook.

    A look-up that was not made is due again at once: at the end of its lease a new dispatcher would claim it, which
    does not know yet how long its flushes take, and would miss the slot again.
    """
    overtaken, nothing = set(), []
    skipped = [item.row for item in results if item.ending is None and item.found is None]
    unknown_outcomes.release(connection, [(job.id, job.fence) for job in skipped if job.ended], now=now)
    for result in results:
        job = result.row
        if job.ended and job.unknown_call is not None and result.found is not None:
            call = job.unknown_call.attempt_id
            if not unknown_outcomes.settle(connection, job.id, job.fence, call, result.found, now=now):
                overtaken.add(result.row.attempt_id)
            elif isinstance(result.found, Nothing):
                nothing.append(job.id)
    if nothing:
        release_cleared(connection, nothing, now=now)
    return overtaken
