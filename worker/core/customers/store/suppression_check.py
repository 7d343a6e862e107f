"""Checks whether messages that are about to leave go to suppressed addresses."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.core.customers.customers import Person
from worker.core.customers.store.suppressions import suppressed
from worker.core.customers.suppression import SuppressionReason, detail_of
from worker.core.foundation.keyring import Keyring
from worker.core.messages.fallback_channel import UNREACHED
from worker.core.messages.send_decision import Never
from worker.core.messages.store.message_context import Candidate, InvitationPolicy
from worker.core.model.channels import CHANNELS, address_of
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState


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
