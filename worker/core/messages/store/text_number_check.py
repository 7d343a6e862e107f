"""Checks whether texts that are about to leave go to numbers that may get texts.

Intake refuses such numbers. This check is for a number that an event has changed since, for a configuration that has
changed since, and for the fallback to texts.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.foundation.keyring import Keyring
from worker.core.messages.send_decision import Never
from worker.core.messages.store.message_context import Candidate, InvitationPolicy
from worker.core.messages.text_numbers import why_not_texted
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState


def to_refused_numbers(
    _connection: sa.Connection,
    _keyring: Keyring,
    policy: InvitationPolicy,
    messages: Sequence[Candidate],
    _now: datetime,
) -> Mapping[uuid.UUID, Never]:
    """The texts to numbers that get none, each with the reason. Another channel may reach their customers."""
    if policy.channel != Channel.SMS:
        return {}
    countries = policy.delivery.countries
    found = {one.item.id: why_not_texted(one.item.customer.person.phone, countries) for one in messages}
    return {
        id_: Never(InvitationState.FAILED, Reason.NUMBER_REFUSED, why, unreached=True)
        for id_, why in found.items()
        if why
    }
