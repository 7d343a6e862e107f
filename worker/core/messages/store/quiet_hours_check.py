"""Checks whether it is quiet where a claimed message goes: then the message waits until the quiet hours end."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.core.foundation.keyring import Keyring
from worker.core.messages.contact_times import message_at
from worker.core.messages.send_decision import Later
from worker.core.messages.store.message_context import Candidate, ClaimedInvitation, InvitationPolicy
from worker.core.model.reasons import Reason


def leaves_at(policy: InvitationPolicy, item: ClaimedInvitation, now: datetime) -> datetime:
    """When the message may leave, `now` or later."""
    hours, channel, customer = policy.hours, policy.channel, item.customer
    if not hours.concern((channel,)):
        return now
    zones = hours.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)
    return message_at(channel, zones, hours.quiet, invite_at=None, now=now)


def quiet(
    connection: sa.Connection, keyring: Keyring, policy: InvitationPolicy, messages: Sequence[Candidate], now: datetime
) -> Mapping[uuid.UUID, Later]:
    """The messages that must wait, each with the time at which it may leave."""
    times = {one.item.id: leaves_at(policy, one.item, now) for one in messages}
    return {id_: Later(at, Reason.QUIET_HOURS) for id_, at in times.items() if at > now}
