"""Why a claimed job is not called, or a claimed message does not leave now. Pure: the answers of the gates of
`work.store` and `messages.store`."""

from dataclasses import dataclass
from datetime import datetime

from worker.core.model.reasons import Reason
from worker.core.model.states import InvitationState, JobState


@dataclass(frozen=True)
class Later:
    """The row waits until `due_at` (aware UTC); no attempt is counted."""

    due_at: datetime
    reason: Reason


@dataclass(frozen=True)
class Never:
    """There is no call or hand-over, or not before a person decides. `state` is the row's state from now on.

    `unreached`: this channel does not reach the customer, and another channel may.
    """

    state: InvitationState | JobState
    reason: Reason
    detail: str = ""
    unreached: bool = False


NotNow = Later | Never
