"""Why a claimed message does not leave now: what `store.messages.send_checks` finds out. Pure."""

from dataclasses import dataclass
from datetime import datetime

from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState


@dataclass(frozen=True)
class Later:
    """It goes back to waiting until `due_at` (aware UTC); nothing is counted against it."""

    due_at: datetime
    reason: Reason


@dataclass(frozen=True)
class Never:
    """It will not leave, or not before a person has decided: this is its state from now on.

    `unreached`: the customer is not reached on this channel, and may be on another.
    """

    state: InvitationState
    reason: Reason
    detail: str = ""
    unreached: bool = False


NotNow = Later | Never
