"""What a sender's provider tells of a message after it was taken, and what becomes of the invitation. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.domain.contact.suppression import SuppressionReason
from worker.domain.model.endings import AddressIs
from worker.domain.model.states import InvitationState


class DeliveryStatus(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    BOUNCED = "bounced"  # it did not arrive, and would not arrive there another time
    BLOCKED = "blocked"  # it was filtered, or nobody says why: the same words again would be as well
    LATER = "later"  # it did not arrive, and may another time


class Stop(StrEnum):
    """Why an address is not to be written to any more."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    STOPPED = "stopped"  # the person said so


@dataclass(frozen=True, repr=False)
class DeliveryUpdate:
    """What one callback says. `reference` is the sender's own id of the message (Twilio's sid, an invitation's key).

    `address` is who it is about, where that is said: personal, so no repr shows it. `status` None changes nothing of
    the message. `stop` says that the address is not to be written to, `resume` that it may be again. `code` is the
    provider's own, of digits or letters. `happened_at` is aware UTC, None where it is not said.
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
        return f"DeliveryNews({self.event}, fate={self.status}, stop={self.stop}, code={self.code!r})"


@dataclass(frozen=True)
class NotUnderstood:
    """A callback that is the sender's and says nothing that can be read. `reason` names no value."""

    reason: str


# What has left, or may have: of these a sender may tell what became of them.
_OUT = (InvitationState.SENT, InvitationState.DELIVERED, InvitationState.HELD, InvitationState.FAILED)


def invitation_state_after(present: InvitationState, update: DeliveryUpdate) -> InvitationState | None:
    """The state of the invitation that the news is about; None where it does not change.

    A bounce outweighs a delivery, in whatever order they come: mail servers take what they refuse later. A message in
    doubt that was delivered was sent. What may arrive another time is for the schedule to decide, and changes nothing.
    """
    if present not in _OUT:
        return None
    match update.status:
        case DeliveryStatus.BOUNCED | DeliveryStatus.BLOCKED:
            return InvitationState.BOUNCED
        case DeliveryStatus.DELIVERED if present is not InvitationState.DELIVERED:
            return InvitationState.DELIVERED
        case _:
            return None


def state_refused(address: AddressIs) -> InvitationState:
    """The state of an invitation that was refused because of who it was for: it came back, only sooner."""
    return InvitationState.SUPPRESSED if address is AddressIs.OPTED_OUT else InvitationState.BOUNCED


def reason_to_suppress(said: Stop | AddressIs | None) -> SuppressionReason | None:
    """Why the address is not to be written to again; None: it may be."""
    return _REASONS.get(said) if said is not None else None


_REASONS: dict[Stop | AddressIs, SuppressionReason] = {
    Stop.BOUNCED: SuppressionReason.BOUNCE,
    Stop.COMPLAINED: SuppressionReason.COMPLAINT,
    Stop.STOPPED: SuppressionReason.STOP,
    AddressIs.GONE: SuppressionReason.BOUNCE,
    AddressIs.OPTED_OUT: SuppressionReason.STOP,
}
