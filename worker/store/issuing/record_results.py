"""Attempts of calls to providers: written down before the calls are made, and closed with their results."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.contact_times import Hours
from worker.domain.limits.budgets import Lesson
from worker.domain.limits.measured_pace import Stretch
from worker.domain.model.customers import Channel, Customer, invitation_channels
from worker.domain.model.endings import Asked, Done, Ending, Finish, Hold, Kind, Problem, job_state_after
from worker.domain.model.reasons import Reason
from worker.domain.model.reconciliation import Found, Listed, Nothing
from worker.domain.model.sessions import Session
from worker.domain.model.states import JobState
from worker.foundation.ids import new_ids
from worker.foundation.keyring import Keyring
from worker.store.attempts import ended_calls
from worker.store.attempts.attempt_log import (
    CLOSE,
    CLOSE_DONE,
    LATE,
    after_call,
    closing,
    if_unknown,
    lesson_of,
    new_and_late,
    opening,
)
from worker.store.attempts.late_results import LateAnswer, jobs_answered
from worker.store.attempts.standing import Standing, is_leased, standing, standing_of
from worker.store.base import bulk
from worker.store.base.database import Database
from worker.store.issuing.job_context import LEASES, ClaimedJob, JobPolicy
from worker.store.limits import budgets
from worker.store.messages import reminders
from worker.store.onboarding import sessions
from worker.store.onboarding.cancellation import cancel_jobs
from worker.store.outbox.outbox import PUBLISHED_STATES, add_job_events
from worker.store.tables import Attempt, Job, SessionRow


@dataclass(repr=False)
class OpenedJob:
    """A job whose attempt is written down, so its call may be made once. `reconcile_at`: see the attempt's column."""

    job: ClaimedJob
    attempt_id: uuid.UUID
    repeatable: bool
    reconcile_at: datetime | None = None


@dataclass(frozen=True, repr=False)
class IssueResult:
    """The result of one opened attempt. `ending` None: the call was not made. A Done has its `session`.

    A session whose ending is not Done is kept, and no message is written for it. `found` is the result of a successful
    look-up. `floor`: the freshness floor of the new session's link.
    """

    opened: OpenedJob
    began_at: datetime
    ending: Ending | None
    problem: Problem | None = None
    session: Session | None = None
    found: Found | None = None
    floor: timedelta | None = None
    called: bool = True  # False: a look-up that needed no request
    news: Listed | None = None  # what the provider's list says about the session that the job asks for


class Attempts:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def open(
        self,
        policy: JobPolicy,
        due: Sequence[tuple[ClaimedJob, bool]],
        *,
        now: datetime,
        within: sa.Connection | None = None,
        granted: bool = False,
    ) -> list[OpenedJob]:
        """Write down attempts for the calls that are about to be made: (job, whether the call may be repeated).

        A look-up costs no credit. Returns the calls that may be made: none if the account was paused or stopped since
        the claim, fewer if the credit cap is reached or leases were lost. `granted`: this transaction claimed the jobs.
        """
        with self._database.write(within) as connection:
            if not granted and not budgets.may_call(connection, policy.rule.name, now=now):
                return []
            if not granted:
                leases = {job.id: (job.id, job.fence, job.lease_until) for job, _ in due}
                ended = [leases[job.id] for job, _ in due if job.ended]
                held = LEASES.held(connection, [leases[job.id] for job, _ in due if not job.ended], now=now)
                held |= ended_calls.held(connection, ended)
                due = [(job, repeatable) for job, repeatable in due if job.id in held]
            calls = sum(not job.looks_up for job, _ in due)
            allowed = budgets.spend_credits(connection, policy.rule, calls, now=now)
            if allowed < calls:
                due = _allowed(due, allowed)
            opened = [
                _opened(policy, job, attempt_id, repeatable)
                for (job, repeatable), attempt_id in zip(due, new_ids(now, len(due)), strict=True)
            ]
            bulk.add(connection, Attempt, [_opening(policy, item, now=now) for item in opened])
        return opened

    def finish(
        self,
        policy: JobPolicy,
        results: Sequence[IssueResult],
        *,
        now: datetime,
        within: sa.Connection | None = None,
        stretch: Stretch | None = None,
    ) -> set[str]:
        """Write results, all in one transaction. Returns the channels that have invitations due now.

        For each result the attempt is closed, the session and its invitations are added, and the job's state changes.
        A result whose lease was lost changes only its attempt: another dispatcher owns the job.
        """
        with self._database.write(within) as connection:
            rows = standing_of(connection, _STANDING, [item.opened.attempt_id for item in results])
            plain: list[IssueResult] = []
            special: list[IssueResult] = []
            for item in results:
                (plain if _is_plain(item, rows[item.opened.attempt_id.int]) else special).append(item)
            channels = self._write_plain(connection, policy, plain, rows, now=now) if plain else set()
            overtaken: set[uuid.UUID] = set()
            if special:
                special, more = self._write_special(connection, policy, special, rows, now=now)
                channels |= more
                overtaken = _settle_ended(connection, special, now=now)
            _teach(connection, policy, plain, special, overtaken, now=now, stretch=stretch)
        return channels

    def _write_plain(
        self,
        connection: sa.Connection,
        policy: JobPolicy,
        results: Sequence[IssueResult],
        rows: Mapping[int, Standing],
        *,
        now: datetime,
    ) -> set[str]:
        """Write the results of `_is_plain`. Returns the channels that have invitations due now."""
        new = [_new_session(policy, item, rows[item.opened.attempt_id.int]) for item in results]
        added = sessions.add(connection, self._keyring, new, quiet=policy.hours.quiet, now=now)
        moves = [
            {
                "job_id": item.opened.job.id,
                "new_session_id": added.sessions[item.opened.job.id],
                "new_floor": _floor_seconds(item),
                "new_entity_id": _entity_id(item),
            }
            for item in results
        ]
        _ISSUED.run(connection, moves, at=now)
        CLOSE_DONE.run(connection, [{"attempt_id": item.opened.attempt_id} for item in results], at=now)
        return added.channels

    def _write_special(
        self,
        connection: sa.Connection,
        policy: JobPolicy,
        results: Sequence[IssueResult],
        rows: Mapping[int, Standing],
        *,
        now: datetime,
    ) -> tuple[list[IssueResult], set[str]]:
        """Write all other results. Returns those that were not written before, and the channels as `_write_plain`."""
        results, late = new_and_late(results, {row.id: row.outcome for row in rows.values()}, _is_conclusive)
        # By attempt: the priorities of the jobs that are still ours.
        ours = {
            item.opened.attempt_id: rows[item.opened.attempt_id.int].priority
            for item in results
            if is_leased(rows[item.opened.attempt_id.int], item.opened.job.fence)
        }
        if late:
            answered = jobs_answered(connection, [_late_answer(item) for item in late])
            ours |= {
                item.opened.attempt_id: answered[item.opened.job.id] for item in late if item.opened.job.id in answered
            }
            results += [item for item in late if item.opened.job.id in answered]
            late = [item for item in late if item.opened.job.id not in answered]
        kept = [item for item in results if item.opened.attempt_id in ours]
        new = [
            _new_session(policy, item, rows[item.opened.attempt_id.int], priority=ours[item.opened.attempt_id])
            for item in kept
            if item.session is not None
        ]
        added = sessions.add(connection, self._keyring, new, quiet=policy.hours.quiet, now=now)
        if policy.reminders:
            reminders.add(connection, policy.reminders, policy.hours, _texted(kept, added), now=now)
        moves, closings = [], [_closing(result, late=True) for result in late]
        for result in results:
            job, ending, is_ours = result.opened.job, result.ending, result.opened.attempt_id in ours
            if result.session is not None and is_ours and job.id not in added.sessions:
                found = f"the provider opened {result.session.reference} next to a session that is still live"
                ending = Hold(Reason.SECOND_SESSION, found)
            if is_ours:
                counted = rows[result.opened.attempt_id.int].outcome is not None
                moves.append(_move(result, ending, added, counted=counted))
            closings.append(_closing(result, late=not is_ours))
        _MOVE.run(connection, moves, at=now)
        add_job_events(connection, [move["job_id"] for move in moves if move["new_state"] in PUBLISHED_STATES], now=now)
        asked = [item.opened.job.session_id for item in results if isinstance(item.ending, Asked)]
        if asked:
            answered_now = sa.update(SessionRow).where(SessionRow.id.in_(asked), SessionRow.asked_at.is_(None))
            connection.execute(answered_now.values(asked_at=now, check_at=now))
        if added.cancelled:
            cancel_jobs(connection, sorted(added.cancelled), now=now)
        CLOSE.run(connection, closings, at=now)
        return results, added.channels


def _is_plain(result: IssueResult, row: Standing) -> bool:
    """True for the first session of a customer, opened by an ordinary call whose lease is still ours.

    All other results are special: a problem, a look-up, a late answer, another session of the customer, a cancelled
    job, a link that the provider has texted itself.
    """
    job, session = result.opened.job, result.session
    return (
        isinstance(result.ending, Done)
        and session is not None
        and row.outcome is None
        and is_leased(row, job.fence)
        and row.live_session is None
        and row.cancelled_at is None
        and job.session_id is None
        and not job.looks_up
        and not session.sms_sent
    )


def _floor_seconds(result: IssueResult) -> int:
    return int((result.floor if result.floor is not None else result.opened.job.floor).total_seconds())


def _entity_id(result: IssueResult) -> str:
    """The provider's entity of the customer. It is sent from now on: otherwise the provider makes another entity."""
    new = result.session.references.get("entityId") if result.session else None
    return new or result.opened.job.request.entity_id


def _teach(
    connection: sa.Connection,
    policy: JobPolicy,
    plain: Sequence[IssueResult],
    special: Sequence[IssueResult],
    overtaken: Collection[uuid.UUID],
    *,
    now: datetime,
    stretch: Stretch | None,
) -> None:
    """Apply what the results show to the account's budget. `overtaken` as `_settle_ended` returns it."""
    made = [item for item in special if item.ending and item.called and not _shows_nothing(item)]
    lessons = [Lesson(item.began_at) for item in plain]
    lessons += [lesson_of(item.began_at, item.problem) for item in made if not item.opened.job.looks_up]
    budgets.learn(connection, policy.rule, lessons, now=now, stretch=stretch)
    if not special:
        return
    reconciled = [lesson_of(item.began_at, item.problem) for item in made if item.opened.job.looks_up]
    if reconciled:
        # Look-ups cost no credit, so no answer of theirs gives a credit back.
        budgets.learn(connection, policy.rule, reconciled, now=now, refund=False)
    not_made = [item for item in special if item.ending is None or not item.called]
    if any(item.opened.job.probe for item in [*not_made, *filter(_shows_nothing, special)]):
        budgets.end_probe(connection, policy.rule)
    refunds = [item for item in special if _cost_nothing(item) and item.opened.attempt_id not in overtaken]
    budgets.refund_credits(connection, policy.rule, len(refunds))


def _settle_ended(connection: sa.Connection, results: Sequence[IssueResult], *, now: datetime) -> set[uuid.UUID]:
    """Write what was found of calls whose jobs have ended. Returns the look-ups that calls' own answers overtook."""
    overtaken = set()
    for result in results:
        job = result.opened.job
        if job.ended and job.unknown_call is not None and result.found is not None:
            call = job.unknown_call.attempt_id
            if not ended_calls.settle(connection, job.id, job.fence, call, result.found, now=now):
                overtaken.add(result.opened.attempt_id)
    return overtaken


def _shows_nothing(result: IssueResult) -> bool:
    """True for a question about a session that failed. A list that cannot be read must not open the breaker: the
    account can still open sessions."""
    failed = result.problem is not None and not result.problem.concerns_account
    return result.opened.job.asks is not None and failed


def _is_conclusive(result: IssueResult) -> bool:
    """True if the result settles an unknown outcome. A call that was not made settles it too."""
    return (
        result.ending is None
        or result.session is not None
        or (result.problem is not None and result.problem.kind is not Kind.UNKNOWN)
    )


def _late_answer(result: IssueResult) -> LateAnswer:
    job = result.opened.job
    return LateAnswer(job.id, result.opened.attempt_id, job.fence, result.session is not None, job.session_id)


def _cost_nothing(result: IssueResult) -> bool:
    """True if the call's credit was not spent: the call was not made, or a look-up found it not carried out."""
    unknown_call = result.opened.job.unknown_call
    if unknown_call is None:
        return result.ending is None and not result.opened.job.looks_up
    return isinstance(result.found, Nothing) and unknown_call.kind is Kind.UNKNOWN


def _allowed(due: Sequence[tuple[ClaimedJob, bool]], calls: int) -> list[tuple[ClaimedJob, bool]]:
    """All look-ups and the first `calls` calls, in their order."""
    kept = []
    for job, repeatable in due:
        if not job.looks_up:
            if not calls:
                continue
            calls -= 1
        kept.append((job, repeatable))
    return kept


def _opened(policy: JobPolicy, job: ClaimedJob, attempt_id: uuid.UUID, repeatable: bool) -> OpenedJob:
    if job.asks is not None:
        return OpenedJob(job, attempt_id, repeatable=True)
    reconcile_after = policy.reconcile_after if policy.reconcile_after is not None else policy.orphan_life(job.request)
    return OpenedJob(job, attempt_id, *if_unknown(job, reconcile_after, repeatable=repeatable))


def _opening(policy: JobPolicy, item: OpenedJob, *, now: datetime) -> dict[str, Any]:
    values = opening(item, item.job, item.job.id, policy.account, now=now)
    if item.job.asks is not None:
        values["reconciles"] = item.attempt_id
    return values


def _new_session(
    policy: JobPolicy, result: IssueResult, row: Standing, *, priority: int | None = None
) -> sessions.NewSession:
    """The session of a result that has one. `priority`: the job's, if its row was read again."""
    job = result.opened.job
    assert result.session is not None  # noqa: S101 -- for mypy
    channels = invitation_channels(job.channel) if isinstance(result.ending, Done) else ()
    return sessions.NewSession(
        job_id=job.id,
        batch_id=job.batch_id,
        customer_id=job.request.customer.customer_id,
        purpose=job.purpose,
        channels=channels,
        priority=row.priority if priority is None else priority,
        account=policy.account,
        issued_at=result.began_at,
        replaces=job.session_id,
        session=result.session,
        row=row.row,
        invite_at=row.invite_at,
        cancelled=row.cancelled_at is not None,
        live=row.live_session is not None,
        zones=_zones(policy.hours, channels, job.request.customer),
    )


def _zones(hours: Hours, channels: Sequence[str], customer: Customer) -> tuple[str, ...]:
    if not hours.concern(channels):
        return ()
    return hours.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)


def _texted(results: Sequence[IssueResult], added: sessions.Added) -> list[reminders.Sent]:
    """The customers to whom the provider sent the link by text itself. Reminders by text follow these texts."""
    return [
        reminders.Sent(
            added.sessions[item.opened.job.id],
            item.opened.job.id,
            item.opened.job.batch_id,
            Channel.SMS.value,
            item.opened.job.request.customer,
            item.session.expires_at,
        )
        for item in results
        if item.session is not None and item.opened.job.id in added.invited
    ]


_STANDING = standing(
    Job,
    Job.id == Attempt.job_id,
    Job.priority,  # the batch may have been paused since the claim
    Job.row,
    Job.invite_at,
    Job.cancelled_at,
    sessions.LIVE_SESSION.label("live_session"),
)
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
    },
    by="job_id",
)
_MOVE = bulk.Change(
    Job.id,
    {
        "state": sa.bindparam("new_state"),
        "due_at": sa.bindparam("new_due_at"),
        "lease_until": None,
        "attempts": Job.attempts + sa.bindparam("more_attempts"),
        "waits": Job.waits + sa.bindparam("more_waits"),
        "reissues": Job.reissues + sa.bindparam("more_reissues"),
        "reason": sa.bindparam("new_reason"),
        "detail": sa.bindparam("new_detail"),
        "session_id": sa.bindparam("new_session_id"),
        "floor_seconds": sa.bindparam("new_floor"),
        "asks": sa.bindparam("new_asks"),
        "entity_id": sa.bindparam("new_entity_id"),
        "unknown_attempt": sa.bindparam("new_unknown_attempt"),
        "result": sa.func.coalesce(sa.bindparam("new_result", type_=sa.String()), Job.result),
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)


def _move(result: IssueResult, ending: Ending | None, added: sessions.Added, *, counted: bool) -> dict[str, Any]:
    """The job's new values. `counted`: the attempt was counted already when its outcome became unknown."""
    job = result.opened.job
    move = after_call(ending, result.opened, job, counted=counted) | {
        "job_id": job.id,
        "new_state": JobState.WAITING if ending is None else job_state_after(ending),
        "more_reissues": 0,
        "new_asks": job.asks is not None and not isinstance(ending, Asked),
        "new_result": ending.result if isinstance(ending, Finish) else None,
        "new_session_id": added.sessions.get(job.id, job.session_id),
        "new_floor": _floor_seconds(result),
        "new_entity_id": _entity_id(result),
    }
    if isinstance(ending, Done):
        if job.id in added.invited:
            move["new_state"] = JobState.INVITED
        move["more_reissues"] = int(job.session_id is not None)
    return move


def _closing(result: IssueResult, *, late: bool) -> dict[str, Any]:
    called = result.ending is not None
    values = closing(result.opened.attempt_id, called=called, problem=result.problem, found=result.found)
    if late and result.session is not None:
        # The provider's reference is the only record of a session that was opened and paid for.
        found = f"the result came after the lease; the provider opened {result.session.reference}"
        values |= {"new_outcome": LATE, "new_detail": found[:400], "new_found": result.session.reference[:100]}
    return values
