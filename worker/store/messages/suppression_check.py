"""Checks whether messages that are about to leave go to suppressed addresses."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.domain.contact.fallback_channel import UNREACHED
from worker.domain.contact.send_decision import Never
from worker.domain.contact.suppression import SuppressionReason, detail_of
from worker.domain.model.channels import CHANNELS, address_of
from worker.domain.model.customers import Person
from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState
from worker.foundation.keyring import Keyring
from worker.store.messages.message_context import Candidate, InvitationPolicy
from worker.store.messages.suppressions import suppressed


def reachable(
    connection: sa.Connection, keyring: Keyring, people: Mapping[str, Person], channels: Collection[str] = CHANNELS
) -> dict[str, dict[str, SuppressionReason | None]]:
    """For each person, by customer, the channels with an address, each with the reason why the address is suppressed,
    or None. One statement for all people."""
    addresses = {
        (customer_id, channel): address
        for customer_id, person in people.items()
        for channel in channels
        if (address := address_of(person, channel))
    }
    found = suppressed(connection, keyring, [(channel, address) for (_, channel), address in addresses.items()])
    ways: dict[str, dict[str, SuppressionReason | None]] = {customer_id: {} for customer_id in people}
    for (customer_id, channel), address in addresses.items():
        ways[customer_id][channel] = found.get((channel, address))
    return ways


def to_suppressed_addresses(
    connection: sa.Connection, keyring: Keyring, policy: InvitationPolicy, messages: Sequence[Candidate], now: datetime
) -> Mapping[uuid.UUID, Never]:
    """The messages whose addresses are suppressed by now."""
    if not any(one.row.any_suppressed for one in messages):
        return {}
    to = {one.item.id: (policy.channel, address_of(one.item.customer.person, policy.channel)) for one in messages}
    found = suppressed(connection, keyring, to.values())
    return {
        id_: Never(InvitationState.SUPPRESSED, Reason.SUPPRESSED, detail_of(reason), unreached=reason in UNREACHED)
        for id_, address in to.items()
        if (reason := found.get(address)) is not None
    }
