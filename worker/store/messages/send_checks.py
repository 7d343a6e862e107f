"""Which of the messages that were taken may leave now: asked under their leases, just before they do.

The questions are asked in a fixed order, each of those that no earlier one has kept back. What each means is decided by
pure modules; here is only who is asked about what.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.send_decision import Later, Never, NotNow
from worker.domain.model.reasons import Reason
from worker.domain.model.reconciliation import UnknownCall
from worker.domain.model.states import LIVE_SESSIONS, InvitationState, JobState, SessionState
from worker.domain.verification.session_updates import Result
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.store.base import bulk
from worker.store.base.encrypted_values import Erased
from worker.store.messages import message_cap_check as spent_messages
from worker.store.messages import quiet_hours_check as quiet_messages
from worker.store.messages import reminders as reminding
from worker.store.messages import suppression_check as suppressing
from worker.store.messages.message_context import ClaimedInvitation, InvitationPolicy, opened
from worker.store.onboarding import in_review as reviewing
from worker.store.onboarding.job_from_messages import move_jobs
from worker.store.onboarding.sessions import FIRST
from worker.store.tables import InvitationRow

# A verdict ends what waits for it at once; this is for a review that ends without one.
ASK_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, repr=False)
class Candidate:
    """A message that may be about to leave, and the row of `contexts_of` that it was opened from."""

    item: ClaimedInvitation
    context: sa.Row[Any]


Question = Callable[
    [sa.Connection, Keyring, InvitationPolicy, Sequence[Candidate], datetime], Mapping[uuid.UUID, NotNow]
]


def in_review(
    connection: sa.Connection,
    _keyring: Keyring,
    _policy: InvitationPolicy,
    messages: Sequence[Candidate],
    now: datetime,
) -> Mapping[uuid.UUID, NotNow]:
    """The first messages to customers who had the link elsewhere and have done their part: nobody asks them again,
    nor buys them another link because this one has grown old.

    Nor those to customers who have done it by the link before this one, just as this one was asked for: until that is
    decided, however long this one is to live.
    """
    firsts = [one for one in messages if one.item.kind == FIRST]
    before = {one.context.replaces for one in firsts if one.context.reissues and one.context.replaces is not None}
    reviewed = reviewing.among_these(connection, before)
    return {
        one.item.id: Later(now + ASK_AGAIN, Reason.IN_REVIEW)
        for one in firsts
        if (one.context.result == Result.REVIEW and not one.item.ended)
        or (one.context.reissues and one.context.replaces in reviewed)
    }


# Asked of all that are not in doubt: those are looked up, not sent.
QUESTIONS: tuple[Question, ...] = (
    in_review,
    suppressing.to_suppressed_addresses,
    spent_messages.spent,
    reminding.still_right,
    quiet_messages.quiet,
)


@dataclass(frozen=True)
class Sorted:
    """The taken messages: those that may leave, in the order in which they were taken, and why the others do not."""

    leave: list[ClaimedInvitation]
    stay: dict[uuid.UUID, NotNow]


def sort_out(
    connection: sa.Connection,
    keyring: Keyring,
    policy: InvitationPolicy,
    rows: Sequence[sa.Row[Any]],
    contexts: Mapping[uuid.UUID, sa.Row[Any]],
    unknown_calls: Mapping[uuid.UUID, UnknownCall],
    *,
    now: datetime,
) -> Sorted:
    """Ask of each row that is of use whether it may leave now. Changes nothing: see `keep_back`."""
    stay: dict[uuid.UUID, NotNow] = {}
    found = []
    for row in rows:
        context = contexts[row.id]
        try:
            found.append(Candidate(opened(keyring, row, context, unknown_calls.get(row.id)), context))
        except CannotDecrypt as error:
            stay[row.id] = Never(InvitationState.HELD, Reason.CANNOT_DECRYPT, str(error)[:400])
        except Erased as error:
            stay[row.id] = Never(InvitationState.FAILED, Reason.ERASED, str(error))
    for question in QUESTIONS:
        left = [one for one in found if one.item.unknown_call is None and one.item.id not in stay]
        stay |= question(connection, keyring, policy, left, now) if left else {}
    return Sorted([one.item for one in found if one.item.id not in stay], stay)


def of_no_use(rows: Sequence[sa.Row[Any]], contexts: Mapping[uuid.UUID, sa.Row[Any]]) -> dict[uuid.UUID, NotNow]:
    """Those whose session or job has ended meanwhile, or whose job or batch was cancelled, and which of these.

    Not where the link has ended before it reached anybody: that one is to be replaced, unless it has been.
    """
    return {row.id: why for row in rows if (why := _of_no_use(contexts[row.id])) is not None}


def _of_no_use(context: sa.Row[Any]) -> Never | None:
    if context.cancelled_at is not None:
        return Never(InvitationState.SUPERSEDED, Reason.CANCELLED)
    of_now = context.job_session_id == context.session_id
    replaceable = context.job_state is JobState.ISSUED and context.kind == FIRST and of_now
    if context.session_state is SessionState.EXPIRED and replaceable:
        return None
    if context.session_state not in LIVE_SESSIONS or context.job_state in (JobState.COMPLETED, JobState.LAPSED):
        return Never(InvitationState.SUPERSEDED, Reason.SESSION_ENDED)
    return None


def keep_back(
    connection: sa.Connection, rows: Sequence[sa.Row[Any]], stay: Mapping[uuid.UUID, NotNow], *, now: datetime
) -> None:
    """Let go of the taken rows that do not leave; their jobs become what their messages make of them."""
    kept = [row for row in rows if row.id in stay]
    _CHANGE.run(connection, [{"invitation_id": row.id} | _values(stay[row.id]) for row in kept])
    # A superseded message says nothing of its job: another one, or another session, takes its place.
    ended = [row.job_id for row in kept if _ends(stay[row.id])]
    if ended:
        move_jobs(connection, ended, now=now)


def _ends(why: NotNow) -> bool:
    return isinstance(why, Never) and why.state is not InvitationState.SUPERSEDED


def _values(why: NotNow) -> dict[str, Any]:
    match why:
        case Later():
            return {
                "new_state": InvitationState.WAITING,
                "new_due_at": why.due_at,
                "new_reason": why.reason,
                "new_detail": "",
            }
        case Never():
            return {
                "new_state": why.state,
                "new_due_at": None,
                "new_reason": why.reason,
                "new_detail": why.detail[:400],
            }


_CHANGE = bulk.Change(
    InvitationRow.id,
    {
        "state": sa.bindparam("new_state"),
        "due_at": sa.bindparam("new_due_at"),
        "lease_until": None,
        "reason": sa.bindparam("new_reason"),
        "detail": sa.bindparam("new_detail"),
    },
    by="invitation_id",
)
