"""Deliveries of messages that had left: most of all delivery updates, written by one statement.

Such an update changes its message alone. The job was invited when the message left; the update stops no address, and no
other channel follows.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk, tally
from worker.core.database.tables import InvitationRow
from worker.core.messages.delivery_reports import DeliveryStatus, DeliveryUpdate
from worker.core.model.states import InvitationState
from worker.core.work.store.sessions import FIRST

_DELIVERED = bulk.Change(
    InvitationRow.id,
    {
        "state": InvitationState.DELIVERED,
        "delivery_at": sa.bindparam("at"),
        "due_at": None,
        "unknown_attempt": None,
        "reason": "",
        "detail": "",
        "counted": InvitationRow.counted + sa.bindparam("counts"),
    },
    by="invitation_id",
)


def is_plain(message: sa.Row[Any], update: DeliveryUpdate) -> bool:
    """True for a delivery of this locked message, and nothing else."""
    return (
        update.status is DeliveryStatus.DELIVERED
        and update.stop is None
        and not update.resume
        and message.state is InvitationState.SENT
    )


def write(connection: sa.Connection, delivered: Sequence[tuple[sa.Row[Any], datetime]]) -> None:
    """Write the deliveries of `is_plain`, each with its time, one for each message."""
    counts = tally.pays(len(delivered))
    if counts:
        _count(connection, [message for message, _ in delivered if message.kind == FIRST])
    rows = [{"invitation_id": message.id, "at": at} for message, at in delivered]
    _DELIVERED.run(connection, rows, counts=counts)


def _count(connection: sa.Connection, first: Sequence[sa.Row[Any]]) -> None:
    """Count first messages that have arrived."""
    counts = tally.of(connection)
    for (batch_id, channel), number in Counter((message.batch_id, message.channel) for message in first).items():
        counts.add(tally.message(batch_id, InvitationState.SENT, channel), -number)
        counts.add(tally.message(batch_id, InvitationState.DELIVERED, channel), number)
