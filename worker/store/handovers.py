"""Hand-overs to senders: written down before they are made, and their results once they are known."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.endings import Done, Ending, Problem, Retry, Snooze
from worker.ids import new_id
from worker.models import Attempt, InvitationRow
from worker.states import InvitationState, invitation_state_after
from worker.store import budgets
from worker.store.attempts import CLOSE, closing, lesson_of, outcomes_of
from worker.store.database import Database
from worker.store.invitations import InvitationTerms, TakenInvitation, still_ours
from worker.store.inviting import move_jobs


@dataclass(frozen=True, repr=False)
class OpenedInvitation:
    """An invitation whose hand-over is written down: it may be made, once."""

    invitation: TakenInvitation
    attempt_id: uuid.UUID
    repeatable: bool


@dataclass(frozen=True, repr=False)
class InviteResult:
    """What came of one opened hand-over. `ending` None: it was not made. `reference` is the sender's id of it."""

    opened: OpenedInvitation
    began_at: datetime
    ending: Ending | None
    problem: Problem | None = None
    reference: str = ""


class Handovers:
    def __init__(self, database: Database) -> None:
        self._database = database

    def open(
        self, terms: InvitationTerms, due: Sequence[TakenInvitation], *, repeatable: bool, now: datetime
    ) -> list[OpenedInvitation]:
        """Write down the hand-overs that are about to be made; none when the sender was paused or stopped."""
        with self._database.write() as connection:
            state = budgets.read(connection, terms.rule.name)
            if state.stopped_at is not None or (state.blocked_until is not None and state.blocked_until > now):
                return []
            opened = [OpenedInvitation(item, new_id(now), repeatable) for item in due]
            rows = [
                {
                    "id": item.attempt_id,
                    "batch_id": item.invitation.batch_id,
                    "job_id": item.invitation.job_id,
                    "invitation_id": item.invitation.id,
                    "account": terms.channel,
                    "fence": item.invitation.fence,
                    "repeatable": repeatable,
                    "opened_at": now,
                    "detail": "",
                }
                for item in opened
            ]
            if rows:
                connection.execute(sa.insert(Attempt), rows)
        return opened

    def finish(self, terms: InvitationTerms, results: Sequence[InviteResult], *, now: datetime) -> None:
        """Write results, all in one transaction: the attempt, the invitation, and what its job makes of it."""
        with self._database.write() as connection:
            # What is closed was written before, and only the answer to that was lost: it must not count twice.
            outcomes = outcomes_of(connection, [item.opened.attempt_id for item in results])
            results = [item for item in results if outcomes[item.opened.attempt_id] is None]
            leases = [(item.opened.invitation.id, item.opened.invitation.fence) for item in results]
            ours = still_ours(connection, leases)
            kept = [item for item in results if item.opened.invitation.id in ours]
            if kept:
                by_id = sa.update(InvitationRow).where(InvitationRow.id == sa.bindparam("invitation_id"))
                connection.execute(by_id.values(_MOVE), [_move(item, now=now) for item in kept])
                move_jobs(connection, ours.values(), now=now)
            closings = [
                closing(item.opened.attempt_id, called=item.ending is not None, problem=item.problem, now=now)
                for item in results
            ]
            if closings:
                by_id = sa.update(Attempt).where(Attempt.id == sa.bindparam("attempt_id"))
                connection.execute(by_id.values(CLOSE), closings)
            lessons = [lesson_of(item.began_at, item.problem) for item in results if item.ending]
            budgets.learn(connection, terms.rule, lessons, now=now)
            not_made = [item.opened.invitation for item in results if item.ending is None]
            if any(item.probe for item in not_made):
                budgets.end_probe(connection, terms.rule)
            budgets.give_back(connection, terms.rule, [item.slot for item in not_made])


_MOVE: dict[str, Any] = {
    "state": sa.bindparam("new_state"),
    "due_at": sa.bindparam("new_due_at"),
    "lease_until": None,
    "attempts": InvitationRow.attempts + sa.bindparam("more_attempts"),
    "waits": InvitationRow.waits + sa.bindparam("more_waits"),
    "reason": sa.bindparam("new_reason"),
    "detail": sa.bindparam("new_detail"),
    "reference": sa.bindparam("new_reference"),
    "sent_at": sa.bindparam("new_sent_at"),
}


def _move(result: InviteResult, *, now: datetime) -> dict[str, Any]:
    ending = result.ending
    move: dict[str, Any] = {
        "invitation_id": result.opened.invitation.id,
        "new_state": InvitationState.WAITING if ending is None else invitation_state_after(ending),
        "new_due_at": result.opened.invitation.due_at if ending is None else None,
        "more_attempts": 0,
        "more_waits": 0,
        "new_reason": "",
        "new_detail": "",
        "new_reference": result.reference[:100],
        "new_sent_at": None,
    }
    match ending:
        case None:
            return move
        case Done():
            return move | {"more_attempts": 1, "new_sent_at": now}
        case Snooze():
            move |= {"new_due_at": ending.until, "more_waits": 1}
        case Retry():
            move |= {"new_due_at": ending.at, "more_attempts": 1}
        case _:
            move["more_attempts"] = 1
    return move | {"new_reason": ending.reason, "new_detail": ending.detail[:400]}
