"""The problems that a call may have, and the ending of the step for each of them.

    Problem(kind)  --ending_for-->  Done | Snooze | Retry | Reconcile | Hold | Cancel

Adapters classify an answer (a `Problem` of one `Kind`, or a value); this module decides what becomes of the row, how
long it waits after a failure, and when it is given up. (Of a look-up, `rules.reconciliation` decides.) A rate-limited
call is not a failure: waits and failures are counted apart. Here are also the answers of the gates of `work.store` and
`messages`: why a claimed job is not called, or a claimed message does not leave now. Pure.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.model.stops import About


@dataclass(frozen=True)
class Backoff:
    """The waits after 1, 2, 3 … failures in a row: `first`, then twice as long each time, at most `most`.

    `attempts` failures are the most; then nothing is tried again. None: no end. `waits` replaces the doubling.
    """

    first: timedelta
    most: timedelta
    attempts: int | None = None
    waits: tuple[timedelta, ...] = ()

    @classmethod
    def steps(cls, *seconds: float) -> "Backoff":
        """These waits in this order, and one last attempt after them."""
        waits = tuple(timedelta(seconds=each) for each in seconds)
        return cls(waits[0], max(waits), len(waits) + 1, waits)

    def ceiling(self, failures: int) -> timedelta:
        """The longest wait after this many failures (1 or more), whether or not attempts are left."""
        earlier = max(failures, 1) - 1
        if self.waits:
            return self.waits[min(earlier, len(self.waits) - 1)]
        enough = (self.most // self.first).bit_length()  # so many doublings pass `most`; many more overflow a timedelta
        longest: timedelta = min(self.first * 2 ** min(earlier, enough), self.most)
        return longest

    def given_up(self, failures: int) -> bool:
        """Whether no attempt is left after this many failures."""
        return self.attempts is not None and failures >= self.attempts

    def after(self, failures: int, jitter: float = 1.0) -> timedelta | None:
        """The wait after this many failures; None: no attempt is left. `jitter` in [0, 1] is the share of the wait."""
        return None if self.given_up(failures) else self.ceiling(failures) * jitter


class Kind(StrEnum):
    """The kinds of problem; each code of a provider or sender maps to one of them."""

    RATE_LIMITED = "rate_limited"  # the account must wait; the customer did nothing wrong
    TRANSIENT = "transient"  # worth another try: it was not done, or at worst another try costs one spare credit
    BAD_INPUT = "bad_input"  # this row is refused, and would be refused again
    AUTH = "auth"  # the account's credentials or set-up are refused, so every row would be
    OUT_OF_CREDIT = "out_of_credit"  # the account has no credit left
    UNCLEAR = "unclear"  # refused, and it is not known yet whether because of this row or of the account
    SHORT_LIVED = "short_lived"  # the session was opened, and its link is too short-lived to be sent, as all would be
    CONFLICT = "conflict"  # a live session already exists there
    UNKNOWN = "unknown"  # the call may have been carried out


class AddressIs(StrEnum):
    """What a sender's refusal says about the address of the message."""

    REFUSED = "refused"  # it accepts nothing now, but may later: a full mailbox
    ELSEWHERE = "elsewhere"  # it is not on this channel; another channel may reach it
    GONE = "gone"  # it will never accept anything
    OPTED_OUT = "opted_out"  # the person asked for no more messages


@dataclass(frozen=True)
class Problem:
    """A classified bad answer. `detail` is shown to people and stored in clear: it holds our own words, and of the
    answer only what is documented. `words` is the other side's own sentence: it may quote a person, so it is stored
    encrypted, and is in no repr.

    `code` is the provider's own code, if it gave one; `status` the HTTP or SMTP status.
    `retry_after` is how long the other side asked us to wait, already bounded. `unreachable`: the other side
    could not be reached, so nothing was sent, and every other row would have the same problem.
    `most_attempts` is below the policy's attempts where each attempt may cost. `address` is set where a message was
    refused because of its recipient. `unclear`: the answer does not say whether it is about this row or about the
    account (`rules.call_outcomes`); `kind` is what it is if no other row's call tells. `undocumented`: its code is not
    in our table of the service, and is counted (`budgets.reports`).
    """

    kind: Kind
    detail: str
    code: str | None = None
    status: int | None = None
    retry_after: timedelta | None = None
    unreachable: bool = False
    most_attempts: int | None = None
    address: AddressIs | None = None
    unclear: bool = False
    undocumented: bool = False
    words: str = field(default="", repr=False)

    @property
    def unread(self) -> str:
        """What is counted of a code that is not in our table: the code, or the status, where the code may be a name. ""
        for any other."""
        return (self.code or f"HTTP-{self.status}") if self.undocumented else ""

    @property
    def about(self) -> About:
        """Whom the refusal is about, by its code alone."""
        if self.unclear or self.undocumented:
            return About.UNKNOWN
        if self.kind in (Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.SHORT_LIVED, Kind.RATE_LIMITED):
            return About.US
        if self.kind in (Kind.BAD_INPUT, Kind.CONFLICT):
            return About.CUSTOMER if self.address is None else About.ADDRESS
        return About.WAY

    @property
    def reason(self) -> Reason:
        """The reason of a row whose step ended with this problem."""
        return Reason.UNREACHABLE if self.unreachable else Reason(self.kind)

    @property
    def concerns_account(self) -> bool:
        """Whether the account, not the row, has to wait or be corrected before another call is made."""
        return self.unreachable or self.kind in (Kind.RATE_LIMITED, Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.SHORT_LIVED)


@dataclass(frozen=True)
class RetryPolicy(Backoff):
    """The configured backoff of rows and look-ups, and of accounts where no time is named: after a 429, while the
    breaker is open, and while the account cannot be reached."""

    first: timedelta = timedelta(seconds=1)
    most: timedelta = timedelta(minutes=10)
    attempts: int | None = 8


@dataclass(frozen=True)
class Done:
    """The step succeeded."""


@dataclass(frozen=True)
class Snooze:
    """Due later, and not because of the row: counted as a wait, never as a failed attempt."""

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
    """Due later, to be reconciled with the other side: it is unknown whether the call was carried out."""

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


@dataclass(frozen=True)
class Finish:
    """Final: the customer has finished, with this result, in a session whose token was lost."""

    result: str


@dataclass(frozen=True)
class Asked:
    """The provider was asked what became of the job's session: the job waits for its customer as before."""


Ending = Done | Snooze | Retry | Reconcile | Hold | Cancel | Finish | Asked


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
        case Finish():
            return JobState.COMPLETED
        case Asked():
            return JobState.INVITED


def invitation_state_after(ending: Ending) -> InvitationState:
    """The state of an invitation whose hand-over to a sender ended so."""
    match ending:
        case Done():
            return InvitationState.SENT
        case Snooze() | Retry() | Reconcile():
            return InvitationState.WAITING
        case Hold():
            return InvitationState.HELD
        case Cancel() | Finish() | Asked():  # no message ends in the last two ways
            return InvitationState.FAILED


def row_due_after_pause(problem: Problem, policy: RetryPolicy, now: datetime) -> datetime:
    """The due time of a row that only waits for its account. The account's pause decides when the call is made.

    A row whose refusal may be its own lets others go first."""
    waits = problem.unreachable or problem.unclear or problem.kind is Kind.RATE_LIMITED
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

    `attempt` is this attempt's number. `repeatable`: repeating neither costs nor duplicates, or the account has
    `on_unknown = "repeat"`. `resume_at` is when a row is due again that only has to wait for its account. `jitter` in
    [0, 1) spreads retries over the whole backoff (full jitter). `reconcile_at` is when the call may be reconciled: not
    before a late execution of it is impossible. None: it cannot be reconciled.
    """
    reason = problem.reason
    if problem.concerns_account or problem.kind is Kind.UNCLEAR:
        # An outage of hours must not use up the attempts of rows that were never sent.
        return Snooze(resume_at, reason, problem.detail)
    match problem.kind:
        case Kind.BAD_INPUT:
            return Cancel(reason, problem.detail)
        case Kind.CONFLICT if reconcile_at is not None:
            # Evidence, not a failure: the call was refused, so it cannot be carried out late.
            return Reconcile(now, reason, problem.detail)
        case Kind.CONFLICT:
            return Hold(reason, problem.detail)
        case Kind.UNKNOWN if not repeatable and reconcile_at is not None:
            form = "%H:%M:%S" if reconcile_at - now < timedelta(days=1) else "%Y-%m-%d %H:%M:%S"
            return Reconcile(reconcile_at, reason, f"{problem.detail}; reconciled from {reconcile_at:{form}} UTC")
        case Kind.UNKNOWN if not repeatable:
            return Hold(reason, problem.detail)
        case _:
            wait = policy.after(attempt, jitter)
            if wait is None or attempt >= (problem.most_attempts or attempt + 1):
                return Cancel(Reason.ATTEMPTS_SPENT, f"{attempt} attempts failed, the last with: {problem.detail}")
            return Retry(now + (problem.retry_after or wait), reason, problem.detail)


@dataclass(frozen=True)
class Later:
    """The row waits until `due_at` (aware UTC); no attempt is counted."""

    due_at: datetime
    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class Never:
    """There is no call or hand-over, or not before a person decides. `state` is the row's state from now on.

    `unreached`: this channel does not reach the customer, and another channel may. `at`: when a message's end was
    decided.
    """

    state: InvitationState | JobState
    reason: Reason
    detail: str = ""
    unreached: bool = False
    at: datetime | None = None


NotNow = Later | Never
