"""Hand-overs of messages to senders: each is written before it is made."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.domain.model.endings import Ending, Problem
from worker.domain.model.reconciliation import Found
from worker.foundation.ids import new_ids
from worker.store.attempts.attempt_log import if_unknown, opening
from worker.store.base import bulk
from worker.store.messages.message_context import ClaimedInvitation, InvitationPolicy
from worker.store.tables import Attempt


@dataclass(repr=False)
class OpenedInvitation:
    """An invitation whose hand-over is recorded: the hand-over may be made, once."""

    invitation: ClaimedInvitation
    attempt_id: uuid.UUID
    repeatable: bool
    reconcile_at: datetime | None = None


@dataclass(repr=False)  # not frozen: see `domain.model.customers`
class InviteResult:
    """The result of one recorded hand-over.

    `ending` None: the hand-over was not made. `reference` is the sender's id for the message.
    """

    opened: OpenedInvitation
    began_at: datetime
    ending: Ending | None
    problem: Problem | None = None
    reference: str = ""
    found: Found | None = None  # the answer of a look-up that did not find the message


def open_handovers(
    connection: sa.Connection, policy: InvitationPolicy, items: Sequence[ClaimedInvitation], *, now: datetime
) -> list[OpenedInvitation]:
    """Record the hand-overs of invitations that this transaction has claimed."""
    opened = [
        OpenedInvitation(item, attempt_id, *if_unknown(item, policy.reconcile_after, repeatable=policy.repeatable))
        for item, attempt_id in zip(items, new_ids(now, len(items)), strict=True)
    ]
    rows = [
        opening(item, item.invitation, item.invitation.job_id, policy.channel, now=now)
        | {"invitation_id": item.invitation.id}
        for item in opened
    ]
    bulk.add(connection, Attempt, rows)
    return opened
