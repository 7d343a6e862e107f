"""Why a claimed message does not leave now. Pure: the results of `store.messages.send_checks`."""

from dataclasses import dataclass
from datetime import datetime

from worker.domain.model.states import InvitationState

# Reasons of waiting messages: until quiet hours end; until the sender's queue has room; until the provider has decided
# about a customer who has submitted.
QUIET = "quiet_hours"
WAITS_FOR_SENDER = "waits_for_sender"
IN_REVIEW = "in_review"
SUPPRESSED = "suppressed"  # the reason of an ended message: its address is suppressed


@dataclass(frozen=True)
class Later:
    """The message waits until `due_at` (aware UTC); no attempt is counted."""

    due_at: datetime
    reason: str


@dataclass(frozen=True)
class Never:
    """The message will not leave, or not before a person decides. `state` is its state from now on.

    `unreached`: this channel does not reach the customer, and another channel may.
    """

    state: InvitationState
    reason: str
    detail: str = ""
    unreached: bool = False


NotNow = Later | Never
