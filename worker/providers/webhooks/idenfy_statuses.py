"""What iDenfy's status of an identification means, in its webhooks and in its list (docs/reference/webhooks.md)."""

from worker.core.lifecycle.session_updates import Result
from worker.core.model.states import SessionState

VERDICTS = {
    "APPROVED": (SessionState.COMPLETED, Result.APPROVED),
    "SUSPECTED": (SessionState.COMPLETED, Result.SUSPECTED),
    "DENIED": (SessionState.FAILED, Result.DENIED),
}
EXPIRIES = ("EXPIRED", "EXPIRED-DELETED")
GONE = ("DELETED", "ARCHIVED")
REVIEWING = "REVIEWING"


def meaning(status: str) -> tuple[SessionState | None, Result | None]:
    """The session's state and result; (None, None) where the status says nothing new: it is open, or not known."""
    if status in VERDICTS:
        return VERDICTS[status]
    if status in EXPIRIES:
        return SessionState.EXPIRED, None
    if status in GONE:
        return SessionState.FAILED, None
    return (SessionState.STARTED, Result.REVIEW) if status == REVIEWING else (None, None)
