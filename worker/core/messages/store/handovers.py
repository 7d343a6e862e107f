"""Hand-overs of messages to senders: each is written before it is made."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.tables import Attempt
from worker.core.foundation.ids import new_ids
from worker.core.messages.store.message_context import ClaimedInvitation, InvitationPolicy
from worker.core.model.endings import Done, Kind
from worker.core.work.row_forms import CallResult, Opened
from worker.core.work.store.attempt_log import LATE, if_unknown, opening


@dataclass(repr=False)
class OpenedInvitation(Opened[ClaimedInvitation]):
    """An invitation whose hand-over is written down."""

    first_at: datetime  # when it was; of a repeat, when the first one was that may have arrived

    @property
    def job_id(self) -> int:
        return self.row.job_id


@dataclass(repr=False)
class InviteResult(CallResult[OpenedInvitation]):
    """The result of one hand-over. `reference` is the sender's id for the message."""

    reference: str = ""
    segments: int = 1  # the texts that the message is charged as
    template: str = ""  # `Rendered.digest` of the message; "": none was made

    @property
    def succeeded(self) -> bool:
        return isinstance(self.ending, Done)


def open_handovers(
    connection: sa.Connection, policy: InvitationPolicy, items: Sequence[ClaimedInvitation], *, now: datetime
) -> list[OpenedInvitation]:
    """Record the hand-overs of invitations that this transaction has claimed."""
    first = _first_handovers(connection, [item for item in items if item.unknown_handovers])
    opened = [
        OpenedInvitation(
            item,
            attempt_id,
            *if_unknown(item, policy.reconcile_after, repeatable=policy.repeatable),
            first.get(item.id, now),
        )
        for item, attempt_id in zip(items, new_ids(now, len(items)), strict=True)
    ]
    columns = opening(opened, policy.channel, counted=0, now=now)
    bulk.add_columns(connection, Attempt, columns | {"invitation_id": [item.id for item in items]})
    return opened


def _first_handovers(connection: sa.Connection, items: Sequence[ClaimedInvitation]) -> dict[uuid.UUID, datetime]:
    """When the first hand-over of each of these messages was recorded that may have arrived.

    The repeat has the same Message-ID, so it gets the same Date: a relay or a mailbox that compares both sees one mail.
    """
    if not items:
        return {}
    query = (
        sa.select(Attempt.invitation_id, sa.func.min(Attempt.opened_at).label("first_at"))
        .where(
            Attempt.job_id.in_([item.job_id for item in items]),
            Attempt.invitation_id.in_([item.id for item in items]),
            Attempt.outcome.in_([Kind.UNKNOWN.value, LATE]),
        )
        .group_by(Attempt.invitation_id)
    )
    return {row.invitation_id: row.first_at for row in connection.execute(query)}
