"""What one customer may cost at most, in sessions and in messages, and the reason once it is used up. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState

# A message in one of these has been handed over, or may have been: held, nobody knows whether it has arrived.
COUNTED = frozenset(
    {
        InvitationState.WORKING,
        InvitationState.SENT,
        InvitationState.DELIVERED,
        InvitationState.BOUNCED,
        InvitationState.HELD,
    }
)


@dataclass(frozen=True)
class Caps:
    """`reissues`: sessions after the first, by customer and purpose. `messages`: to one customer, whatever for."""

    reissues: int
    messages: int


def messages_counted(states: Iterable[InvitationState]) -> int:
    """How many of a customer's messages count: of all its sessions and channels, reminders and texts of the
    provider's own included."""
    return sum(state in COUNTED for state in states)


def may_send(caps: Caps, messages: int) -> bool:
    """Whether one more message may be handed over, where so many count already."""
    return messages < caps.messages


def spent(caps: Caps, *, reissues: int, messages: int) -> Reason | None:
    """Why the customer gets no new session; None: it may have one.

    A session whose link nobody can be told costs, and is of no use: so messages that are used up end sessions too.
    """
    if reissues >= caps.reissues:
        return Reason.REISSUES_SPENT
    return None if may_send(caps, messages) else Reason.MESSAGES_SPENT
