"""Checks before a message leaves whether its customer has had all the messages that the cap allows.

The count includes the messages in flight. Two dispatchers, for email and for SMS, may each be about to send the last
allowed message: the dispatcher that would use up the cap locks the customer and counts again. Of two messages that are
due at once the email goes, whichever dispatcher is faster.

Checks whether a country has had its texts of this hour, and counts those that leave (`messages.text_numbers`).

The last of the gates: only a text that leaves is counted. A text that is handed over again counts again. One that is
not handed over after all is not counted any more.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.customers.store.usage import messages_of
from worker.core.database import bulk
from worker.core.database.database import fetch, insert
from worker.core.database.tables import CustomerRow, InvitationRow, TextCount
from worker.core.limits.store import budgets
from worker.core.messages.caps import may_send
from worker.core.messages.delivery_reports import unknown_in_words
from worker.core.messages.store.message_context import ClaimedInvitation, InvitationPolicy, MessageClaim
from worker.core.messages.text_numbers import HOUR, country_of, hour_of, may_go
from worker.core.model.channels import CHANNELS
from worker.core.model.endings import Later, Never, NotNow
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


def spent(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Mapping[uuid.UUID, NotNow]:
    """The messages that would exceed their customer's cap. The counts include these messages themselves.

    Most customers have one message: nothing is counted for them, if a cap allows more than one.
    """
    connection, caps = claim.connection, claim.policy.contact.caps
    if caps.messages > 1:
        messages = [one for one in messages if not one.leased.alone or one.unknown_handovers]
        if not messages:
            return {}
    ours = Counter(one.customer.customer_id for one in messages)
    had = messages_of(connection, ours)
    last = [customer_id for customer_id in ours if had[customer_id].sent < caps.messages <= had[customer_id].all]
    locked = set(ours) - set(last)
    if last:
        locked |= {row.customer_id for row in fetch(connection, _LOCKED, {"customers": bulk.keys(last)})}
        had |= messages_of(connection, last)
    going_first = _going_first(claim, [one for one in messages if one.customer.customer_id in last])
    found: dict[uuid.UUID, NotNow] = {}
    leaving: Counter[str] = Counter()
    for one in messages:
        customer_id = one.customer.customer_id
        other_messages = had[customer_id].all - ours[customer_id]
        if not may_send(caps, had[customer_id].sent):
            found[one.id] = no_more(one, Reason.MESSAGES_SPENT)
        elif (
            customer_id not in locked
            or one.session_id in going_first
            or not may_send(caps, other_messages + leaving[customer_id])
        ):
            found[one.id] = Later(claim.now + ASK_AGAIN, Reason.LAST_MESSAGE_UNDER_WAY)
        else:
            leaving[customer_id] += 1
    return found


def _going_first(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> set[uuid.UUID]:
    """The sessions of these messages that have one due, too, on a channel that goes first."""
    before = list(CHANNELS)[: list(CHANNELS).index(claim.policy.channel)]
    if not before or not messages:
        return set()
    of_sessions = InvitationRow.session_id.in_({one.session_id for one in messages})
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
    if not repeats:
        return
    had = messages_of(connection, set(repeats.values()))
    ended = [id_ for id_, customer_id in repeats.items() if not may_send(policy.contact.caps, had[customer_id].sent)]
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


KEPT = timedelta(days=2)
_LOCKED_TEXTS = (
    sa.select(TextCount.country, TextCount.count.label("number"))
    .where(bulk.among(TextCount.country, "countries"), TextCount.hour == sa.bindparam("hour"))
    .order_by(TextCount.country)
    .with_for_update()
)
_COUNT = (
    sa.update(TextCount)
    .where(TextCount.country == sa.bindparam("of_country"), TextCount.hour == sa.bindparam("of_hour"))
    .values(
        count=TextCount.count + sa.bindparam("more"),
        refused=TextCount.refused + sa.bindparam("more_refused"),
    )
)


def is_capped(policy: InvitationPolicy) -> bool:
    """Whether the policy's messages are texts, of which a country gets so many an hour."""
    return policy.channel == Channel.SMS and policy.contact.texts_per_country is not None


def countries_spent(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Mapping[uuid.UUID, NotNow]:
    """The texts that wait for the next hour, because their country has had its texts of this one."""
    cap, connection = claim.policy.contact.texts_per_country, claim.connection
    if cap is None or not is_capped(claim.policy):
        return {}
    hour = hour_of(claim.now)
    by_country: dict[str, list[uuid.UUID]] = {}
    for one in messages:
        by_country.setdefault(country_of(one.customer.person.phone), []).append(one.id)
    # Always in the same order: two transactions must not deadlock.
    rows = [{"country": name, "hour": hour, "count": 0, "refused": 0} for name in sorted(by_country)]
    connection.execute(insert(TextCount, connection.dialect.name).on_conflict_do_nothing(), rows)
    had = {
        row.country: row.number
        for row in fetch(connection, _LOCKED_TEXTS, {"countries": bulk.keys(sorted(by_country)), "hour": hour})
    }
    found: dict[uuid.UUID, NotNow] = {}
    counts = []
    for country, ids in sorted(by_country.items()):
        going = may_go(cap, had[country], len(ids))
        found |= {id_: Later(hour + HOUR, Reason.COUNTRY_SPENT) for id_ in ids[going:]}
        counts.append(
            {"of_country": country, "of_hour": hour, "more": going, "more_refused": len(ids) - going},
        )
    connection.execute(_COUNT, counts)
    if 0 in had.values():  # now and then: an hour's first text to a country
        connection.execute(sa.delete(TextCount).where(TextCount.hour < hour - KEPT))
    return found


def take_back(connection: sa.Connection, policy: InvitationPolicy, items: Iterable[ClaimedInvitation]) -> None:
    """Count no more the texts that were claimed to leave, and did not: they are due as before."""
    if not is_capped(policy):
        return
    stay = Counter(
        (country_of(item.customer.person.phone), hour_of(item.lease_until - policy.lease))  # when they were claimed
        for item in items
        if item.unknown_call is None
    )
    counts = [
        {"of_country": country, "of_hour": hour, "more": -number, "more_refused": 0}
        for (country, hour), number in sorted(stay.items())
    ]
    if counts:
        budgets.lock(connection, policy.rule)  # before the counts, as in a claim
        connection.execute(_COUNT, counts)
