"""Whether a customer who is about to be written to has had all the messages that it may have.

Counted at that moment, the messages that others are just sending it among them. Two dispatchers, of email and of texts,
may each be about to send the last one: whoever would use it up locks the customer, and counts once more.
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.domain.contact.caps import may_send
from worker.domain.contact.send_decision import Later, Never, NotNow
from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState
from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.messages.message_context import InvitationPolicy
from worker.store.messages.reminders import About
from worker.store.onboarding.sessions import FIRST
from worker.store.onboarding.usage import messages_of
from worker.store.tables import CustomerRow

# What is being sent to the customer may come back, and then counts for nothing: until that is known.
ASK_AGAIN = timedelta(minutes=1)

_LOCKED = (
    sa.select(CustomerRow.customer_id)
    .where(bulk.among(CustomerRow.customer_id, "customers"))
    .order_by(CustomerRow.customer_id)
    # Not waited for: who locks customers (an import) may want rows that this transaction holds.
    .with_for_update(key_share=True, skip_locked=True)
)


def spent(
    connection: sa.Connection, keyring: Keyring, policy: InvitationPolicy, messages: Sequence[About], now: datetime
) -> Mapping[uuid.UUID, NotNow]:
    """Those of these messages, which count as being sent themselves, that would be more than the customer may have."""
    if policy.caps is None:
        return {}
    ours = Counter(one.item.customer.customer_id for one in messages)
    had = messages_of(connection, ours)
    last = [who for who in ours if had[who].sent < policy.caps.messages <= had[who].all]
    locked = set(ours) - set(last)
    if last:
        locked |= {row.customer_id for row in fetch(connection, _LOCKED, {"customers": bulk.keys(last)})}
        had |= messages_of(connection, last)
    found: dict[uuid.UUID, NotNow] = {}
    leaving: Counter[str] = Counter()
    for one in messages:
        who = one.item.customer.customer_id
        others = had[who].all - ours[who]
        if not may_send(policy.caps, had[who].sent):
            state = InvitationState.SUPPRESSED if one.item.kind == FIRST else InvitationState.SUPERSEDED
            found[one.item.id] = Never(state, Reason.MESSAGES_SPENT, Reason.MESSAGES_SPENT.meaning)
        elif who not in locked or not may_send(policy.caps, others + leaving[who]):
            found[one.item.id] = Later(now + ASK_AGAIN, Reason.LAST_MESSAGE_UNDER_WAY)
        else:
            leaving[who] += 1
    return found
