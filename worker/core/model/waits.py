"""What a row waits for and until when, for `onboard report`. Found when the report is read: stops and pauses change."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from worker.core.foundation.timestamps import written
from worker.core.model.channels import CHANNELS
from worker.core.model.reasons import Reason
from worker.core.model.states import JobState, LineState
from worker.core.model.stops import way_out

# Words that say how a row is served, and nothing that went wrong.
_HEALTHY = frozenset({Reason.JOINED_JOB, Reason.JOINED_SESSION, Reason.ALREADY_FINISHED})
_SERVED = frozenset({JobState.ISSUED, JobState.INVITED, JobState.COMPLETED, LineState.JOINED})
# The reasons whose words say nothing without the time.
_UNTIL_A_TIME = frozenset(
    {
        Reason.QUIET_HOURS,
        Reason.WAITS_FOR_SENDER,
        Reason.IN_REVIEW,
        Reason.LAST_MESSAGE_UNDER_WAY,
        Reason.ADDRESS_SPENT,
        Reason.COUNTRY_SPENT,
        Reason.PLANNED,
    }
)


@dataclass(frozen=True)
class Blocked:
    """An account or sender that makes no calls now: `stopped` says why, it is paused until a time, or the configuration
    does not have it (`is_missing`).

    `asks_again`: the stop in words, where a worker asks again by itself. `full_until`: the next call that its limit
    allows. `silent`: why it is not known to work.
    """

    name: str
    stopped: str = ""
    paused_until: datetime | None = None
    paused_for: str = ""
    is_missing: bool = False
    asks_again: str = ""
    full_until: datetime | None = None
    full_for: str = ""
    silent: str = ""

    @property
    def is_shut(self) -> bool:
        """Whether no process can do its work now, however many there are."""
        return bool(self.stopped or self.paused_until or self.full_until)

    @property
    def called(self) -> str:
        """What it is called in a sentence."""
        return f"the sender {self.name}" if self.name in CHANNELS else self.name

    @property
    def why(self) -> str:
        """As `in_words`, for a line that has a time already: a pause without its end."""
        if self.paused_until is None or self.is_missing or self.stopped:
            return self.in_words
        return f"{self.called} is paused: {self.paused_for}"

    @property
    def in_words(self) -> str:
        """The strongest reason, as a sentence without its stop."""
        if self.is_missing:
            return f"this configuration does not have the account {self.name}"
        if self.stopped:
            return f"{self.called} is stopped: {self.asks_again or self.stopped}"
        if self.paused_until is not None:
            return f"{self.called} is paused until {written(self.paused_until)}: {self.paused_for}"
        if self.full_until is not None:
            return f"{self.called} has used up {self.full_for}, until {written(self.full_until)}"
        return f"{self.called} did not answer: {self.silent}"


@dataclass(frozen=True)
class Wait:
    """Why a row waits; until when, if that is known; what a person does, if any."""

    reason: str
    detail: str
    until: datetime | None
    action: str = ""

    @property
    def why(self) -> str:
        """In the words of the column `error`."""
        if self.until is not None and self.reason in _UNTIL_A_TIME:
            return "; ".join(filter(None, [f"{self.reason}: not before {written(self.until)}", self.detail]))
        return explained(self.reason, self.detail)


def explained(reason: str, detail: str) -> str:
    """The reason with its detail."""
    return f"{reason}: {detail}" if detail else reason


def is_healthy(state: str, reason: str) -> bool:
    """True for a row that is served, if the reason says only how."""
    return state in _SERVED and reason in _HEALTHY


def wait_of(
    reason: str,
    detail: str,
    due_at: datetime | None,
    *,
    paused: str,
    batch_id: int,
    blocked: Iterable[Blocked],
    now: datetime,
) -> Wait:
    """Why a row waits. `paused` is why its batch is paused, or the batch `batch_id` whose row serves its customer."""
    if paused:
        return Wait(Reason.BATCH_PAUSED, f"batch {batch_id}: {paused}", None, f"`onboard resume {batch_id}`")
    blocked = list(blocked)
    for one in blocked:
        if one.is_missing:
            return Wait(Reason.ACCOUNT_MISSING, one.in_words, None, "put the account back into the configuration")
        if one.stopped:
            stop = f"{one.name}: {one.stopped}"
            return Wait(Reason.ACCOUNT_STOPPED, stop, None, way_out(one.name, one.stopped))
    until = due_at if due_at is not None and due_at > now else None
    pauses = [one for one in blocked if one.paused_until is not None and one.paused_until > (until or now)]
    if pauses:
        last = max(pauses, key=lambda one: one.paused_until or now)
        return Wait(Reason.ACCOUNT_PAUSED, f"{last.name}: {last.paused_for}", last.paused_until)
    if until is not None and reason in _UNTIL_A_TIME:
        causes = [one.in_words for one in blocked if one.name in CHANNELS] if reason == Reason.WAITS_FOR_SENDER else []
        return Wait(reason, "; ".join(causes), until)
    full = [one for one in blocked if one.full_until is not None and one.full_until > (until or now)]
    if full:
        last = max(full, key=lambda one: one.full_until or now)
        return Wait(Reason.LIMIT_USED_UP, f"{last.name}: {last.full_for}", last.full_until)
    return Wait(reason, detail, until)
