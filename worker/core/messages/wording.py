"""Which words a message has: invitation, reminder, or new link for a customer whose earlier link has ended. Pure."""

from enum import StrEnum

from worker.core.model.states import InvitationState

# The customer was reached by such a message. A bounced message reached nobody, and a held one perhaps nobody.
REACHED = frozenset({InvitationState.SENT, InvitationState.DELIVERED})


class Wording(StrEnum):
    """The value of the template variable `kind`."""

    INVITATION = "invitation"
    REMINDER = "reminder"
    NEW_LINK = "new_link"


def wording_of(*, first: bool, reached_before: bool) -> Wording:
    """The words of a message.

    `first`: it is the first message of its session on its channel, or repeats that on request; not a reminder.
    `reached_before`: a message with the link of an earlier session of the customer, for the same purpose, is in one of
    the states of REACHED. Without the words of a new link the customer would get the first message twice, and take the
    second for a mistake or for fraud. Our own link survives its session: sent again, it has the words of an invitation
    (`message_context.use_own_link`).
    """
    if not first:
        return Wording.REMINDER
    return Wording.NEW_LINK if reached_before else Wording.INVITATION
