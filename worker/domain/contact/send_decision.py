"""Why a claimed message does not leave now. Pure: the results of `store.messages.send_checks`."""

from dataclasses import dataclass
from datetime import datetime

from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState


@dataclass(frozen=True)
class Later:
    """The message waits until `due_at` (aware UTC); no attempt is counted."""

    due_at: datetime
    reason: Reason


@dataclass(frozen=True)
class Never:
    """The message will not leave, or not before a person decides. `state` is its state from now on.

    `unreached`: this channel does not reach the customer, and another channel may.
    """

    state: InvitationState
    reason: Reason
    detail: str = ""
    unreached: bool = False


NotNow = Later | Never
