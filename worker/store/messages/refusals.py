"""Messages that a sender refused because of who they were for: as those that come back, only at once."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from worker.domain.contact.auto_pause import BounceCounts
from worker.domain.contact.delivery_reports import reason_to_suppress, state_refused
from worker.domain.model.endings import Cancel, Done, Ending, Problem
from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState
from worker.foundation.keyring import Keyring
from worker.store.messages.fallback import address_of, fall_back
from worker.store.messages.message_context import ClaimedInvitation, InvitationPolicy
from worker.store.messages.suppressions import suppress


class Opened(Protocol):
    @property
    def invitation(self) -> ClaimedInvitation: ...


class Result(Protocol):
    """What came of a hand-over."""

    @property
    def opened(self) -> Opened: ...
    @property
    def ending(self) -> Ending | None: ...
    @property
    def problem(self) -> Problem | None: ...


def told_of(result: Result) -> dict[str, Any]:
    """What the message's state and reason are instead, where it was refused because of its address."""
    address = result.problem.address if result.problem is not None else None
    if address is None or not isinstance(result.ending, Cancel):
        return {}
    state = state_refused(address)
    return {"new_state": state, "new_reason": Reason(state)}


def follow_up(
    connection: sa.Connection, keyring: Keyring, policy: InvitationPolicy, results: Sequence[Result], *, now: datetime
) -> None:
    """Suppress the addresses that are refused for good, and write to their customers on the other channel.

    After the messages were written, and before their jobs become what the messages make of them.
    """
    refused = [(_address(result, policy), result) for result in results if told_of(result)]
    # In one order, so that two who write the same addresses cannot lock each other out.
    for address, result in sorted(refused, key=lambda pair: pair[0]):
        reason = reason_to_suppress(result.problem.address if result.problem else None)
        if reason is not None:
            try:
                suppress(connection, keyring, policy.channel, address, reason, f"sender/{policy.channel}", now=now)
            except ValueError:
                continue  # none that could ever be written to
    back = [result for _, result in refused if told_of(result)["new_state"] is InvitationState.BOUNCED]
    fall_back(connection, keyring, policy.delivery, [result.opened.invitation.id for result in back], now=now)


def _address(result: Result, policy: InvitationPolicy) -> str:
    return address_of(result.opened.invitation.customer.person, policy.channel)


def tallies_of(results: Sequence[Result]) -> dict[int, BounceCounts]:
    """What these hand-overs add to their batches' tallies."""
    tried, refused = Counter[int](), Counter[int]()
    for result in results:
        is_refused = isinstance(result.ending, Cancel) and result.ending.reason == Reason.BAD_INPUT
        tried[result.opened.invitation.batch_id] += isinstance(result.ending, Done) or is_refused
        refused[result.opened.invitation.batch_id] += is_refused
    return {batch_id: BounceCounts(number, refused[batch_id], 0) for batch_id, number in tried.items()}
