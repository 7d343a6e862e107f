"""Checks whether it is quiet where a claimed message goes: then the message waits until the quiet hours end."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.contact_times import message_at
from worker.domain.contact.send_decision import Later
from worker.domain.model.reasons import Reason
from worker.foundation.keyring import Keyring
from worker.store.messages.message_context import InvitationPolicy


def quiet(
    connection: sa.Connection, keyring: Keyring, policy: InvitationPolicy, candidates: Sequence[Any], now: datetime
) -> Mapping[uuid.UUID, Later]:
    """The `gates.Candidate`s that must wait, each with the time at which it may leave."""
    hours, channel = policy.hours, policy.channel
    if not hours.concern((channel,)):
        return {}
    found = {}
    for one in candidates:
        customer = one.item.customer
        zones = hours.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)
        at = message_at(channel, zones, hours.quiet, invite_at=None, now=now)
        if at > now:
            found[one.item.id] = Later(at, Reason.QUIET_HOURS)
    return found
