"""How many sessions and messages a customer has had, for the caps.

The rows are counted each time. A separate counter would have to stay correct through late answers, unknown outcomes,
and messages that bounce.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.customer_keys import Key
from worker.core.database.database import fetch
from worker.core.database.tables import InvitationRow, SessionRow
from worker.core.messages.caps import COUNTED
from worker.core.model.states import InvitationState, SessionState


@dataclass(frozen=True)
class Messages:
    """A customer's messages. `sent`: handed over, or perhaps handed over. `sending`: in work, or being reconciled."""

    sent: int = 0
    sending: int = 0

    @property
    def all(self) -> int:
        return self.sent + self.sending


_SESSIONS = (
    sa.select(SessionRow.customer_id, SessionRow.purpose, sa.func.count().label("number"))
    .where(bulk.among(SessionRow.customer_id, "customers"), SessionRow.state != bulk.fixed(SessionState.UNBOUGHT))
    .group_by(SessionRow.customer_id, SessionRow.purpose)
)
_SESSIONS_OF = sa.select(SessionRow.id).where(bulk.among(SessionRow.customer_id, "customers"))
# A hand-over with an unknown outcome may have been carried out. Until it is reconciled, it counts as being sent.
_RECONCILING = sa.and_(
    InvitationRow.state == bulk.fixed(InvitationState.WAITING), InvitationRow.unknown_attempt.is_not(None)
)
_SENDING = sa.case((sa.or_(InvitationRow.state == bulk.fixed(InvitationState.WORKING), _RECONCILING), 1), else_=0)
# With a message that was given up or cancelled before its outcome was known: it may have arrived.
_COUNTS = sa.or_(
    InvitationRow.state.in_([bulk.fixed(state) for state in sorted(COUNTED)]),
    InvitationRow.unknown_attempt.is_not(None),
)
# Session by session, through the index. With a join, and statistics from before a list, PostgreSQL would read all
# invitations. This query runs at each claim of messages.
_MESSAGES = (
    sa.select(
        sa.select(SessionRow.customer_id)
        .where(SessionRow.id == InvitationRow.session_id)
        .scalar_subquery()
        .label("customer_id"),
        sa.func.sum(InvitationRow.unknown_handovers + sa.case((_COUNTS, 1), else_=0)).label("number"),
        sa.func.sum(_SENDING).label("sending"),
    )
    .where(
        bulk.within(InvitationRow.session_id, _SESSIONS_OF),
        # A hand-over that was repeated because its outcome was unknown counts whatever became of the message.
        sa.or_(_COUNTS, InvitationRow.unknown_handovers > 0),
    )
    .group_by(InvitationRow.session_id)
)


def sessions_of(connection: sa.Connection, customer_ids: Iterable[str]) -> Counter[Key]:
    """How many sessions these customers have had, by customer and purpose, over all lists."""
    rows = fetch(connection, _SESSIONS, {"customers": bulk.keys(set(customer_ids))})
    return Counter({(row.customer_id, row.purpose): row.number for row in rows})


def messages_of(connection: sa.Connection, customer_ids: Iterable[str]) -> dict[str, Messages]:
    """The messages that count against each customer's cap: of all purposes, with reminders (`caps.COUNTED`)."""
    found = dict.fromkeys(customer_ids, Messages())
    for row in fetch(connection, _MESSAGES, {"customers": bulk.keys(found)}):
        before = found[row.customer_id]
        found[row.customer_id] = Messages(before.sent + row.number - row.sending, before.sending + row.sending)
    return found
