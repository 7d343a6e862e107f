"""What a customer has had already, in sessions and in messages: what its caps are held against.

Counted from the rows each time. A counter of its own would be one more thing to keep true through late answers, calls
in doubt, and messages that come back.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from worker.domain.contact.caps import COUNTED
from worker.domain.model.states import InvitationState
from worker.store.base import bulk
from worker.store.base.customer_keys import Key
from worker.store.base.database import fetch
from worker.store.tables import InvitationRow, SessionRow


@dataclass(frozen=True)
class Messages:
    """A customer's messages: handed over, or perhaps so; and those that are being, or are looked up."""

    sent: int = 0
    sending: int = 0

    @property
    def all(self) -> int:
        return self.sent + self.sending


_SESSIONS = (
    sa.select(SessionRow.customer_id, SessionRow.purpose, sa.func.count().label("number"))
    .where(bulk.among(SessionRow.customer_id, "customers"))
    .group_by(SessionRow.customer_id, SessionRow.purpose)
)
_THEIRS = sa.select(SessionRow.id).where(bulk.among(SessionRow.customer_id, "customers"))
# A hand-over that is to be looked up may have been carried out; until that is known it is on its way.
_RECONCILING = sa.and_(
    InvitationRow.state == bulk.fixed(InvitationState.WAITING), InvitationRow.unknown_attempt.is_not(None)
)
_SENDING = sa.case((sa.or_(InvitationRow.state == bulk.fixed(InvitationState.WORKING), _RECONCILING), 1), else_=0)
# Session by session, through the index. Joined, and by statistics from before a list, all invitations would be read;
# and this is asked each time that messages are taken.
_MESSAGES = (
    sa.select(
        sa.select(SessionRow.customer_id)
        .where(SessionRow.id == InvitationRow.session_id)
        .scalar_subquery()
        .label("customer_id"),
        sa.func.count().label("number"),
        sa.func.sum(_SENDING).label("sending"),
    )
    .where(
        bulk.within(InvitationRow.session_id, _THEIRS),
        sa.or_(InvitationRow.state.in_([bulk.fixed(state) for state in sorted(COUNTED)]), _RECONCILING),
    )
    .group_by(InvitationRow.session_id)
)


def sessions_of(connection: sa.Connection, customer_ids: Iterable[str]) -> Counter[Key]:
    """How many sessions these customers have had for each purpose, of whichever list."""
    rows = fetch(connection, _SESSIONS, {"customers": bulk.keys(set(customer_ids))})
    return Counter({(row.customer_id, row.purpose): row.number for row in rows})


def messages_of(connection: sa.Connection, customer_ids: Iterable[str]) -> dict[str, Messages]:
    """What counts against these customers' cap, each of them: for all purposes, reminders included (`caps.COUNTED`)."""
    found = dict.fromkeys(customer_ids, Messages())
    for row in fetch(connection, _MESSAGES, {"customers": bulk.keys(found)}):
        before = found[row.customer_id]
        found[row.customer_id] = Messages(before.sent + row.number - row.sending, before.sending + row.sending)
    return found
