"""Messages that a sender refused; those refused because of their address are handled like bounces, but at once."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.store.suppressions import suppress
from worker.core.database.job_ids import batch_of
from worker.core.foundation.keyring import Keyring
from worker.core.messages.auto_pause import BounceCounts
from worker.core.messages.delivery_reports import reason_to_suppress, state_refused
from worker.core.messages.store.fallback import fall_back
from worker.core.messages.store.handovers import InviteResult
from worker.core.messages.store.message_context import InvitationPolicy
from worker.core.model.channels import address_of
from worker.core.model.endings import AddressIs, Cancel, Done
from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState


def address_refused(result: InviteResult) -> dict[str, Any]:
    """The message's state and reason where the sender refused its address; empty otherwise."""
    address = result.problem.address if result.problem is not None else None
    if address is None or not isinstance(result.ending, Cancel):
        return {}
    state = state_refused(address)
    return {"new_state": state, "new_reason": Reason(state)}


def refused(result: InviteResult) -> dict[str, Any]:
    """What is to be stored of the message where the sender refused it for good; empty otherwise."""
    if isinstance(result.ending, Cancel) and result.ending.reason == Reason.BAD_INPUT:
        # Of a message it says nothing about the customer's data: a retry sends the same link.
        return {"new_reason": Reason.MESSAGE_REFUSED} | address_refused(result)
    return address_refused(result)


def follow_up(
    connection: sa.Connection,
    keyring: Keyring,
    policy: InvitationPolicy,
    results: Sequence[InviteResult],
    *,
    now: datetime,
) -> None:
    """Suppress the addresses that are refused for good, and write to their customers on the other channel.

    Call this after the messages are stored and before their jobs' states follow from the messages.
    """
    refused = [(_address(result, policy), result) for result in results if address_refused(result)]
    # Always in the same order, so that two transactions with the same addresses cannot deadlock.
    for address, result in sorted(refused, key=lambda pair: pair[0]):
        reason = reason_to_suppress(result.problem.address if result.problem else None)
        if reason is not None:
            try:
                suppress(connection, keyring, policy.channel, address, reason, f"sender/{policy.channel}", now=now)
            except ValueError:
                continue  # not an address that a message could be sent to
    back = [result for _, result in refused if address_refused(result)["new_state"] is InvitationState.BOUNCED]
    fall_back(connection, keyring, policy.delivery, [result.opened.invitation.id for result in back], now=now)


def _address(result: InviteResult, policy: InvitationPolicy) -> str:
    return address_of(result.opened.invitation.customer.person, policy.channel)


def counts_of(results: Sequence[InviteResult], jobs: Mapping[uuid.UUID, int]) -> dict[int, BounceCounts]:
    """What these hand-overs add to the counts of each batch. `jobs`: by message, its job by now."""
    tried, refused = Counter[int](), Counter[int]()
    for result in results:
        if result.problem is not None and result.problem.address is AddressIs.ELSEWHERE:
            continue  # it says nothing about the list: the number may be a good one, and gets a text
        is_refused = isinstance(result.ending, Cancel) and result.ending.reason == Reason.BAD_INPUT
        batch_id = batch_of(jobs[result.opened.invitation.id])
        tried[batch_id] += isinstance(result.ending, Done) or is_refused
        refused[batch_id] += is_refused
    return {batch_id: BounceCounts(number, refused[batch_id], 0) for batch_id, number in tried.items()}
