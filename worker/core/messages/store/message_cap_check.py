"""Checks before a message leaves whether its customer has had all the messages that the cap allows.

The count includes the messages in flight. Two dispatchers, for email and for SMS, may each be about to send the last
allowed message: the dispatcher that would use up the cap locks the customer and counts again. Of two messages that are
due at once the email goes, whichever dispatcher is faster.
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.core.customers.store.usage import messages_of
from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.tables import CustomerRow, InvitationRow
from worker.core.messages.caps import may_send
from worker.core.messages.repeats import unknown_in_words
from worker.core.messages.send_decision import Later, Never, NotNow
from worker.core.messages.store.message_context import Candidate, Claim, ClaimedInvitation, InvitationPolicy
from worker.core.model.channels import CHANNELS
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState
from worker.core.work.store.sessions import FIRST

# A message in flight may bounce, and then does not count: wait until its result is known.
ASK_AGAIN = timedelta(minutes=1)
# So long the last message waits for one that goes first; a sender that stands still must not keep it for ever.
GOES_FIRST = timedelta(minutes=5)

_WAITING = InvitationState.WAITING
_LOCKED = (
    sa.select(CustomerRow.customer_id)
    .where(bulk.among(CustomerRow.customer_id, "customers"))
    .order_by(CustomerRow.customer_id)
    # Skips locked rows: an import that holds a customer's lock may wait for rows that this transaction holds.
    .with_for_update(key_share=True, skip_locked=True)
)


def spent(claim: Claim, messages: Sequence[Candidate]) -> Mapping[uuid.UUID, NotNow]:
    """The messages that would exceed their customer's cap. The counts include these messages themselves.

    Most customers have one message: nothing is counted for them, if a cap allows more than one.
    """
    connection, caps = claim.connection, claim.policy.caps
    if caps is None:
        return {}
    if caps.messages > 1:
        messages = [one for one in messages if not one.row.alone or one.item.unknown_handovers]
        if not messages:
            return {}
    ours = Counter(one.item.customer.customer_id for one in messages)
    had = messages_of(connection, ours)
    last = [customer_id for customer_id in ours if had[customer_id].sent < caps.messages <= had[customer_id].all]
    locked = set(ours) - set(last)
    if last:
        locked |= {row.customer_id for row in fetch(connection, _LOCKED, {"customers": bulk.keys(last)})}
        had |= messages_of(connection, last)
    going_first = _going_first(claim, [one for one in messages if one.item.customer.customer_id in last])
    found: dict[uuid.UUID, NotNow] = {}
    leaving: Counter[str] = Counter()
    for one in messages:
        customer_id = one.item.customer.customer_id
        other_messages = had[customer_id].all - ours[customer_id]
        if not may_send(caps, had[customer_id].sent):
            found[one.item.id] = no_more(one.item, Reason.MESSAGES_SPENT)
        elif (
            customer_id not in locked
            or one.item.session_id in going_first
            or not may_send(caps, other_messages + leaving[customer_id])
        ):
            found[one.item.id] = Later(claim.now + ASK_AGAIN, Reason.LAST_MESSAGE_UNDER_WAY)
        else:
            leaving[customer_id] += 1
    return found


def _going_first(claim: Claim, messages: Sequence[Candidate]) -> set[uuid.UUID]:
    """The sessions of these messages that have one due, too, on a channel that goes first."""
    before = list(CHANNELS)[: list(CHANNELS).index(claim.policy.channel)]
    if not before or not messages:
        return set()
    of_sessions = InvitationRow.session_id.in_({one.item.session_id for one in messages})
    waits = of_sessions & (InvitationRow.state == _WAITING) & InvitationRow.channel.in_(before)
    due = InvitationRow.due_at.between(claim.now - GOES_FIRST, claim.now)
    return {row.session_id for row in fetch(claim.connection, sa.select(InvitationRow.session_id).where(waits & due))}


def end_waits(
    connection: sa.Connection, policy: InvitationPolicy, repeats: Mapping[uuid.UUID, str], *, now: datetime
) -> None:
    """Make repeats due that their customer's cap lets leave no more, so that the check before they leave ends them.

    `repeats` are messages whose last hand-over has an unknown outcome, with their customers. A wait of half an hour
    would only keep the row from the person who must decide about it.
    """
    if policy.caps is None or not repeats:
        return
    had = messages_of(connection, set(repeats.values()))
    ended = [id_ for id_, customer_id in repeats.items() if not may_send(policy.caps, had[customer_id].sent)]
    if ended:
        waiting = sa.update(InvitationRow).where(InvitationRow.id.in_(ended), InvitationRow.state == _WAITING)
        connection.execute(waiting.values(due_at=now))


def no_more(item: ClaimedInvitation, cap: Reason) -> Never:
    """The end of a message that a cap lets leave no more. A first message that may have arrived waits for a person."""
    if item.kind != FIRST:
        return Never(InvitationState.SUPERSEDED, cap, cap.meaning)
    if item.unknown_handovers:
        return Never(InvitationState.HELD, Reason.UNKNOWN, f"{unknown_in_words(item.unknown_handovers)}; {cap.meaning}")
    return Never(InvitationState.SUPPRESSED, cap, cap.meaning)
