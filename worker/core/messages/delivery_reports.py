"""A sender's updates on a message after its hand-over, and the state of the invitation after each. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.core.customers.suppression import SuppressionReason
from worker.core.model.endings import AddressIs
from worker.core.model.states import InvitationState

# Our own Message-ID, as services and programs write it. The group is its left part: the message's key.
MESSAGE_ID = re.compile(r"<?([A-Za-z0-9][A-Za-z0-9._-]{0,199})(?:@[^\s<>@]{1,255})?>?", re.ASCII)


def event_name(given: object) -> str:
    """A service's own name of an event, for people; "event" for what is none.

    It reaches terminals, and no database takes a NUL.
    """
    return given[:32] if isinstance(given, str) and given.isascii() and given.isprintable() else "event"


class DeliveryStatus(StrEnum):
    """The delivery status of a message."""

    DELIVERED = "delivered"
    BOUNCED = "bounced"  # it did not arrive, and another attempt would not arrive either
    BLOCKED = "blocked"  # it was filtered, or no reason is given: the same text would be blocked again
    ELSEWHERE = "elsewhere"  # the number is not on this channel; another channel may reach it
    LATER = "later"  # it did not arrive, and another attempt may


class Stop(StrEnum):
    """Why an address must get no more messages."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    STOPPED = "stopped"  # the person asked for it


@dataclass(frozen=True, repr=False)
class DeliveryUpdate:
    """The content of one callback. `reference` is the sender's id of the message (Twilio's sid, an invitation's key).

    `address` is the recipient, where the callback names it: personal, so no repr shows it. `status` None does not
    change the message. `stop`: the address must get no more messages; `resume`: it may get messages again. `code` is
    the provider's own, of digits or letters. `happened_at` is aware UTC, None where the callback has no time.
    """

    event: str
    reference: str = ""
    address: str = ""
    status: DeliveryStatus | None = None
    stop: Stop | None = None
    resume: bool = False
    code: str = ""
    happened_at: datetime | None = None

    def __repr__(self) -> str:
        return f"DeliveryUpdate({self.event}, status={self.status}, stop={self.stop}, code={self.code!r})"


@dataclass(frozen=True)
class NotUnderstood:
    """A genuine callback of the sender that cannot be read. `reason` names no value.

    `malformed`: it is not in the form that our page describes, and its sender should learn so.
    """

    reason: str
    malformed: bool = False


# The states of messages that have left, or may have: a sender may report on these messages.
_OUT = (InvitationState.SENT, InvitationState.DELIVERED, InvitationState.HELD, InvitationState.FAILED)


def invitation_state_by_report(present: InvitationState, update: DeliveryUpdate) -> InvitationState | None:
    """The invitation's state after the update; None where it does not change.

    A bounce outweighs a delivery, in whatever order they come: mail servers accept messages that they refuse later. A
    delivered message with an unknown outcome was sent. LATER changes nothing: the schedule decides about the message.
    """
    if present not in _OUT:
        return None
    match update.status:
        case DeliveryStatus.BOUNCED | DeliveryStatus.BLOCKED | DeliveryStatus.ELSEWHERE:
            return InvitationState.BOUNCED
        case DeliveryStatus.DELIVERED if present is not InvitationState.DELIVERED:
            return InvitationState.DELIVERED
        case _:
            return None


def state_refused(address: AddressIs) -> InvitationState:
    """The state of an invitation whose address the sender refused: like a bounce, but at once."""
    return InvitationState.SUPPRESSED if address is AddressIs.OPTED_OUT else InvitationState.BOUNCED


def reason_to_suppress(report: Stop | AddressIs | None) -> SuppressionReason | None:
    """Why the address must be suppressed; None: it stays usable."""
    return _REASONS.get(report) if report is not None else None


_REASONS: dict[Stop | AddressIs, SuppressionReason] = {
    Stop.BOUNCED: SuppressionReason.BOUNCE,
    Stop.COMPLAINED: SuppressionReason.COMPLAINT,
    Stop.STOPPED: SuppressionReason.STOP,
    AddressIs.GONE: SuppressionReason.BOUNCE,
    AddressIs.OPTED_OUT: SuppressionReason.STOP,
}
