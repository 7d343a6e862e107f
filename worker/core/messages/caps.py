"""The caps on one customer's sessions and messages, and the reasons when a cap is used up. Pure."""

from dataclasses import dataclass

from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState

# A message in one of these states has been handed over, or may have been: the outcome of a held message is unknown.
# Of all sessions and channels of the customer, with reminders and the texts that a provider sends.
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
    """`reissues`: sessions after the first, per customer and purpose. `messages`: to one customer, for all purposes."""

    reissues: int
    messages: int


def may_send(caps: Caps, messages: int) -> bool:
    """True if one more message may be handed over when `messages` count already."""
    return messages < caps.messages


def spent(caps: Caps, *, reissues: int, messages: int) -> Reason | None:
    """Why the customer gets no new session; None: it may have one.

    A session whose link cannot be sent costs money and is of no use: so the cap on messages limits sessions too.
    """
    if reissues >= caps.reissues:
        return Reason.REISSUES_SPENT
    return None if may_send(caps, messages) else Reason.MESSAGES_SPENT
