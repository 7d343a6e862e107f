"""Calls to providers: written down before they are made, and their results once they are known."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.budgets import Lesson
from worker.endings import Done, Ending, Hold, Kind, Problem, Retry, Snooze
from worker.ids import new_id
from worker.keyring import Keyring
from worker.models import Attempt, Job
from worker.sessions import Session
from worker.states import JobState, job_state_after
from worker.store import budgets, jobs, sessions
from worker.store.database import Database, fetch
from worker.store.jobs import JobTerms, TakenJob

DONE = "done"
UNREACHABLE = "unreachable"  # nothing was sent: certainly not carried out either
NOT_SENT = "not_sent"  # given back before it was written: certainly not carried out
LATE = "late"  # the lease was lost before the result came


@dataclass(frozen=True, repr=False)
class OpenedJob:
    """A job whose attempt is written down: its call may be made, once."""

    job: TakenJob
    attempt_id: uuid.UUID
    repeatable: bool


@dataclass(frozen=True, repr=False)
class IssueResult:
    """What came of one opened attempt. `ending` None: the call was not made. A Done has its `session`."""

    opened: OpenedJob
    began_at: datetime
    ending: Ending | None
    problem: Problem | None = None
    session: Session | None = None


class Attempts:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def open(self, terms: JobTerms, due: Sequence[tuple[TakenJob, bool]], *, now: datetime) -> list[OpenedJob]:
        """Write down the calls that are about to be made: (job, whether it may be repeated).

        Returns those that may be made: none when the account was paused or stopped since they were taken,
        fewer when the cap on credits ends.
        """
        with self._database.write() as connection:
            state = budgets.read(connection, terms.rule.name)
            if state.stopped_at is not None or (state.blocked_until is not None and state.blocked_until > now):
                return []
            allowed = budgets.spend_credits(connection, terms.rule, len(due), now=now)
            opened = [OpenedJob(job, new_id(now), repeatable) for job, repeatable in due[:allowed]]
            if opened:
                connection.execute(sa.insert(Attempt), [_attempt(item, terms.account, now=now) for item in opened])
        return opened

    def finish(self, terms: JobTerms, results: Sequence[IssueResult], *, now: datetime) -> set[str]:
        """Write results, all in one transaction; returns the channels that have invitations due now.

        The attempt is closed, the session and its invitations are added, the job moves on. A result whose
        lease was lost changes nothing but its attempt: somebody else owns the job.
        """
        with self._database.write() as connection:
            outcomes = outcomes_of(connection, [item.opened.attempt_id for item in results])
            # What is closed was written before, and only the answer to that was lost: it must not count twice.
            results, late = (
                [item for item in results if outcomes[item.opened.attempt_id] is None],
                [item for item in results if outcomes[item.opened.attempt_id] == Kind.UNKNOWN and _says_more(item)],
            )
            ours = jobs.still_ours(connection, [(item.opened.job.id, item.opened.job.fence) for item in results])
            kept = [result for result in results if result.opened.job.id in ours]
            added = sessions.add(connection, self._keyring, _new_sessions(terms.account, kept, ours), now=now)
            moves, closings = [], [_closing(result, late=True, now=now) for result in late]
            for result in results:
                job = result.opened.job
                ending = result.ending
                if result.session is not None and job.id in ours and job.id not in added.sessions:
                    found = f"the provider opened {result.session.reference} beside a session that still lives"
                    ending = Hold("second_session", found)
                if job.id in ours:
                    moves.append(_move(result, ending, added, now=now))
                closings.append(_closing(result, late=job.id not in ours, now=now))
            if moves:
                by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
                connection.execute(by_id.values(_MOVE), moves)
            if closings:
                by_id = sa.update(Attempt).where(Attempt.id == sa.bindparam("attempt_id"))
                connection.execute(by_id.values(CLOSE), closings)
            lessons = [lesson_of(item.began_at, item.problem) for item in results if item.ending]
            budgets.learn(connection, terms.rule, lessons, now=now)
            not_made = [item for item in results if item.ending is None]
            if any(item.opened.job.probe for item in not_made):
                budgets.end_probe(connection, terms.rule)
            budgets.give_back(connection, terms.rule, [item.opened.job.slot for item in not_made])
            budgets.refund_credits(connection, terms.rule, len(not_made))
        return added.channels


def outcomes_of(connection: sa.Connection, attempt_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str | None]:
    """How these attempts were closed, None for those that are open; locked until the transaction ends."""
    query = sa.select(Attempt.id, Attempt.outcome).where(Attempt.id.in_(attempt_ids)).order_by(Attempt.id)
    return {row.id: row.outcome for row in fetch(connection, query.with_for_update())}


def _says_more(result: IssueResult) -> bool:
    """Whether a result tells what became of a call that nobody knew about any more."""
    return result.session is not None or (result.problem is not None and result.problem.kind is not Kind.UNKNOWN)


def _attempt(item: OpenedJob, account: str, *, now: datetime) -> dict[str, Any]:
    return {
        "id": item.attempt_id,
        "batch_id": item.job.batch_id,
        "job_id": item.job.id,
        "account": account,
        "fence": item.job.fence,
        "repeatable": item.repeatable,
        "opened_at": now,
        "detail": "",
    }


def _new_sessions(
    account: str, results: Sequence[IssueResult], priorities: Mapping[int, int]
) -> list[sessions.NewSession]:
    return [
        sessions.NewSession(
            job_id=result.opened.job.id,
            batch_id=result.opened.job.batch_id,
            customer_id=result.opened.job.request.customer.customer_id,
            purpose=result.opened.job.purpose,
            channel=result.opened.job.channel,
            priority=priorities[result.opened.job.id],
            account=account,
            issued_at=result.began_at,
            replaces=result.opened.job.session_id,
            session=result.session,
        )
        for result in results
        if result.session is not None
    ]


_MOVE: dict[str, Any] = {
    "state": sa.bindparam("new_state"),
    "due_at": sa.bindparam("new_due_at"),
    "lease_until": None,
    "attempts": Job.attempts + sa.bindparam("more_attempts"),
    "waits": Job.waits + sa.bindparam("more_waits"),
    "reissues": Job.reissues + sa.bindparam("more_reissues"),
    "reason": sa.bindparam("new_reason"),
    "detail": sa.bindparam("new_detail"),
    "session_id": sa.bindparam("new_session_id"),
    "entity_id": sa.bindparam("new_entity_id"),
    "changed_at": sa.bindparam("at"),
}


def _move(result: IssueResult, ending: Ending | None, added: sessions.Added, *, now: datetime) -> dict[str, Any]:
    job = result.opened.job
    move: dict[str, Any] = {
        "job_id": job.id,
        "new_state": JobState.WAITING if ending is None else job_state_after(ending),
        "new_due_at": job.due_at if ending is None else None,
        "more_attempts": 0,
        "more_waits": 0,
        "more_reissues": 0,
        "new_reason": "",
        "new_detail": "",
        "new_session_id": added.sessions.get(job.id, job.session_id),
        # An entity that the provider made for the customer is used from now on: without it, it makes another.
        "new_entity_id": (result.session.references.get("entityId") if result.session else None)
        or job.request.entity_id,
        "at": now,
    }
    match ending:
        case None:
            return move
        case Done():
            if job.id in added.invited:
                move["new_state"] = JobState.INVITED
            move |= {"more_attempts": 1, "more_reissues": int(job.session_id is not None)}
            return move
        case Snooze():
            move |= {"new_due_at": ending.until, "more_waits": 1}
        case Retry():
            move |= {"new_due_at": ending.at, "more_attempts": 1}
        case _:
            move["more_attempts"] = 1
    return move | {"new_reason": ending.reason, "new_detail": ending.detail[:400]}


CLOSE: dict[str, Any] = {
    "closed_at": sa.bindparam("at"),
    "outcome": sa.bindparam("new_outcome"),
    "status": sa.bindparam("new_status"),
    "code": sa.bindparam("new_code"),
    "detail": sa.bindparam("new_detail"),
}


def closing(attempt_id: uuid.UUID, *, called: bool, problem: Problem | None, now: datetime) -> dict[str, Any]:
    """The values that close an attempt, for `CLOSE`."""
    outcome: str = (problem.kind.value if problem else DONE) if called else NOT_SENT
    if problem is not None and problem.unreachable:
        outcome = UNREACHABLE
    return {
        "attempt_id": attempt_id,
        "at": now,
        "new_outcome": outcome,
        "new_status": problem.status if problem else None,
        "new_code": problem.code[:64] if problem and problem.code else None,
        "new_detail": problem.detail[:400] if problem else "",
    }


def _closing(result: IssueResult, *, late: bool, now: datetime) -> dict[str, Any]:
    called = result.ending is not None
    values = closing(result.opened.attempt_id, called=called, problem=result.problem, now=now)
    if late and result.session is not None:
        # The only trace of a session that was opened and paid for: what the provider calls it.
        found = f"the result came after the lease; the provider opened {result.session.reference}"
        values |= {"new_outcome": LATE, "new_detail": found[:400]}
    return values


def lesson_of(began_at: datetime, problem: Problem | None) -> Lesson:
    """What a call teaches about its account."""
    if problem is None:
        return Lesson(began_at)
    return Lesson(began_at, problem.kind, problem.detail, problem.retry_after, problem.unreachable)
