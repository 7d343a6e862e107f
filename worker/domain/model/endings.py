"""What went wrong, and how a step ends because of it.

    Problem(kind)  --ending_for-->  Done | Snooze | Retry | LookUp | Hold | Cancel

Adapters say *what* an answer was (a `Problem` of one `Kind`, or a value); this module alone says what
becomes of the row. Being told to wait is not a failure: waits and failures are counted apart.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState, JobState


class Kind(StrEnum):
    """The few outcomes that the core knows; every provider's and sender's codes map to one."""

    RATE_LIMITED = "rate_limited"  # the account must wait; the customer did nothing wrong
    TRANSIENT = "transient"  # certainly not done, worth another try
    BAD_INPUT = "bad_input"  # this row is refused, and would be again
    AUTH = "auth"  # the account's credentials or set-up are refused: every row would be
    OUT_OF_CREDIT = "out_of_credit"  # the account has no credit left
    CONFLICT = "conflict"  # a live session already exists there
    UNKNOWN = "unknown"  # the call may have been carried out


class AddressIs(StrEnum):
    """What a sender's refusal says of the address that was written to."""

    REFUSED = "refused"  # nothing is taken for it now, which may change: a full mailbox
    GONE = "gone"  # nothing ever will be
    OPTED_OUT = "opted_out"  # the person said so


@dataclass(frozen=True)
class Problem:
    """A classified bad answer. `detail` is shown to people: it never holds a personal value, token or link.

    `code` is the provider's own code, where it gave one; `status` the HTTP or SMTP status.
    `retry_after` is how long the other side asked us to wait, already bounded. `unreachable`: the other side
    could not be reached at all, so nothing was sent and every other row would have fared the same.
    `most_attempts` bounds retries below the policy's bound, where each of them may cost. `address`: of a message that
    was refused because of who it was for.
    """

    kind: Kind
    detail: str
    code: str | None = None
    status: int | None = None
    retry_after: timedelta | None = None
    unreachable: bool = False
    most_attempts: int | None = None
    address: AddressIs | None = None

    @property
    def reason(self) -> Reason:
        """The reason of a row whose step ended with this problem."""
        return Reason.UNREACHABLE if self.unreachable else Reason(self.kind)

    @property
    def concerns_account(self) -> bool:
        """Whether the account, not the row, has to wait or to be put right before anything else is called."""
        return self.unreachable or self.kind in (Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT)


@dataclass(frozen=True)
class RetryPolicy:
    """Bounds of retrying; the same for rows and, where a 429 names no time, for account pauses."""

    attempts: int = 8
    first: timedelta = timedelta(seconds=1)
    most: timedelta = timedelta(minutes=10)

    def ceiling(self, tries: int) -> timedelta:
        """The longest wait after `tries` failures in a row (1 or more): `first`, doubling, at most `most`."""
        enough = (self.most // self.first).bit_length()  # as many pass `most`; many more overflow a timedelta
        doublings = min(max(tries, 1) - 1, enough)
        longest: timedelta = min(self.first * 2**doublings, self.most)
        return longest


@dataclass(frozen=True)
class Done:
    """The step succeeded."""


@dataclass(frozen=True)
class Snooze:
    """Due later through no fault of the row: counted as a wait, never as a failed attempt."""

    until: datetime
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Retry:
    """Due later because it failed: counted, with backoff and jitter."""

    at: datetime
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Reconcile:
    """Due later, to be looked up at the other side: nobody knows whether the call was carried out."""

    at: datetime
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Hold:
    """Stopped until a person decides."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class Cancel:
    """Final: the row failed, with its reason."""

    reason: Reason
    detail: str


Ending = Done | Snooze | Retry | Reconcile | Hold | Cancel


def job_state_after(ending: Ending) -> JobState:
    """The state of a job whose call for a session ended so."""
    match ending:
        case Done():
            return JobState.ISSUED
        case Snooze() | Retry() | Reconcile():
            return JobState.WAITING
        case Hold():
            return JobState.HELD
        case Cancel():
            return JobState.FAILED


def invitation_state_after(ending: Ending) -> InvitationState:
    """The state of an invitation whose hand-over to a sender ended so."""
    match ending:
        case Done():
            return InvitationState.SENT
        case Snooze() | Retry() | Reconcile():
            return InvitationState.WAITING
        case Hold():
            return InvitationState.HELD
        case Cancel():
            return InvitationState.FAILED


def resume_at(problem: Problem, policy: RetryPolicy, now: datetime) -> datetime:
    """When a row that only waits for its account says that it is due: the account's pause decides when it is called."""
    waits = problem.unreachable or problem.kind is Kind.RATE_LIMITED
    return now + (problem.retry_after or policy.first) if waits else now


def ending_for(
    problem: Problem,
    *,
    attempt: int,
    repeatable: bool,
    policy: RetryPolicy,
    resume_at: datetime,
    now: datetime,
    jitter: float,
    reconcile_at: datetime | None = None,
) -> Ending:
    """How the step ends.

    `attempt` counts this one. `repeatable`: repeating neither costs nor duplicates, or the account says
    `on_unknown = "repeat"`. `resume_at` is when the account may be called again, for a row that only has
    to wait for it. `jitter` in [0, 1) spreads retries over the whole backoff (full jitter). `reconcile_at` is when the
    call may be looked up at the other side, not before it can have been carried out late; None: it cannot be.
    """
    reason = problem.reason
    if problem.concerns_account:
        # An outage of hours must not spend the attempts of rows that were never sent.
        return Snooze(resume_at, reason, problem.detail)
    match problem.kind:
        case Kind.BAD_INPUT:
            return Cancel(reason, problem.detail)
        case Kind.CONFLICT if reconcile_at is not None:
            # Evidence, not a failure: the call was refused, so there is nothing that could still arrive.
            return Reconcile(now, reason, problem.detail)
        case Kind.CONFLICT:
            return Hold(reason, problem.detail)
        case Kind.UNKNOWN if not repeatable and reconcile_at is not None:
            return Reconcile(reconcile_at, reason, f"{problem.detail}; looked up from {reconcile_at:%H:%M:%S} UTC")
        case Kind.UNKNOWN if not repeatable:
            return Hold(reason, problem.detail)
        case _:
            if attempt >= min(policy.attempts, problem.most_attempts or policy.attempts):
                return Cancel(Reason.ATTEMPTS_SPENT, f"{attempt} attempts failed, the last with: {problem.detail}")
            wait = problem.retry_after or policy.ceiling(attempt) * jitter
            return Retry(now + wait, reason, problem.detail)
