"""Why a message that was taken does not leave now. Pure words for what `store.messages.send_checks` finds out."""

from dataclasses import dataclass
from datetime import datetime

from worker.domain.model.states import InvitationState

# Reasons of what waits: until its message may leave; until there is room for it in its sender's queue; until it is
# decided about a customer who has handed everything in.
QUIET = "quiet_hours"
WAITS_FOR_SENDER = "waits_for_sender"
IN_REVIEW = "in_review"
SUPPRESSED = "suppressed"  # of what ends: no address may be written to


@dataclass(frozen=True)
class Later:
    """It goes back to waiting until `due_at` (aware UTC); nothing is counted against it."""

    due_at: datetime
    reason: str


@dataclass(frozen=True)
class Never:
    """It will not leave, or not before a person has decided: this is its state from now on.

    `unreached`: the customer is not reached on this channel, and may be on another.
    """

    state: InvitationState
    reason: str
    detail: str = ""
    unreached: bool = False


NotNow = Later | Never
