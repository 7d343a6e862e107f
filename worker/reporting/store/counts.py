"""The numbers of a batch, and the form in which a purged batch keeps them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from onboarding_worker.core.database.tables.types import word_of
from onboarding_worker.core.model.states import REACHED_JOBS, UNSENT_JOBS, InvitationState, JobState, LineState


@dataclass
class AccountFacts:
    """The calls of one account for a batch. `requests` counts every call that was made or may have been, including
    refused calls."""

    requests: int = 0
    issued: int = 0
    rate_limited: int = 0
    errors: int = 0
    late: int = 0  # sessions that were opened, and whose answers were lost or too late for their jobs


@dataclass
class Waits:
    """The rows of a batch that wait for one reason, and when they are due.

    `calls` counts jobs by the account to be called, `messages` counts messages by channel.
    """

    rows: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None

    def add(self, rows: int, *, account: str, channels: Iterable[str]) -> None:
        """Add jobs, or messages of jobs that have their session: then `account` is empty."""
        self.rows += rows
        if account:
            self.calls[account] += rows
        self.messages.update(dict.fromkeys(channels, rows))

    def between(self, first: datetime | None, last: datetime | None) -> None:
        """Some of the rows are due from `first` until `last`."""
        self.first = min((at for at in (self.first, first) if at is not None), default=None)
        self.last = max((at for at in (self.last, last) if at is not None), default=None)


@dataclass
class BatchCounts:
    """The numbers of a batch. `issued_only`: jobs in state issued that need no message."""

    jobs: Counter[JobState] = field(default_factory=Counter)
    issued_only: int = 0
    joined: int = 0  # jobs in state invited that joined another list's: that invitation is not theirs
    sessions: int = 0  # jobs whose session was opened, whether or not it still is; or its place, if it is not bought
    rejected: int = 0
    corrected: int = 0  # rejected lines whose customers have a later row
    duplicate: int = 0
    known: int = 0
    results: Counter[str] = field(default_factory=Counter)
    in_review_since: datetime | None = None  # of the customer who is in review the longest: the last report
    invitations: Counter[InvitationState] = field(default_factory=Counter)
    accounts: dict[str, AccountFacts] = field(default_factory=dict)
    waiting: Counter[str] = field(default_factory=Counter)  # jobs that still need a call, by account
    silent: Counter[str] = field(default_factory=Counter)  # those of them that ask for no message
    unsent: Counter[str] = field(default_factory=Counter)  # invitations that have not left, by channel
    to_come: Counter[str] = field(default_factory=Counter)  # invitations of jobs that still need a call, by channel
    last_due: datetime | None = None  # when the last message is due
    last_end: datetime | None = None  # when the last job is due that waits for the end of a session, or for a look-up
    waits: dict[str, Waits] = field(default_factory=dict)  # by reason
    kept: dict[int, Waits] = field(default_factory=dict)  # rows that joined jobs of paused batches, by that batch
    lapsed_unsent: int = 0  # lapsed jobs of which no message ever left
    cancelled_out: int = 0  # cancelled jobs that were out before

    @property
    def lines(self) -> dict[str, int]:
        """The jobs by the state of their lines."""
        lines: dict[str, int] = {str(state): rows for state, rows in self.jobs.items()}
        if self.joined:
            lines[JobState.INVITED] -= self.joined
            lines[LineState.JOINED] = self.joined
        return lines

    @property
    def total(self) -> int:
        """All rows of the batch, the same wherever a number of them is given."""
        return sum(self.jobs.values()) + self.rejected + self.duplicate + self.known

    @property
    def bought(self) -> int:
        """The sessions that calls of the batch have opened, reissues among them."""
        return sum(facts.issued for facts in self.accounts.values())

    @property
    def rows_kept(self) -> int:
        """The rows that wait until a person resumes the batches whose rows serve their customers."""
        return sum(waits.rows for waits in self.kept.values())

    @property
    def places(self) -> tuple[int, int]:
        """The places of a batch's pace that sessions have left to take, and those of messages: one for each first
        message, and for a row without any."""
        messages = self.to_come.total() - sum(waits.messages.total() for waits in self.kept.values())
        return max(self.waiting.total() - self.rows_kept, messages), messages + self.unsent.total()

    @property
    def out(self) -> int:
        """The rows whose first invitation left, or that need no message and have their session."""
        reached = sum(self.jobs.get(state, 0) for state in REACHED_JOBS)
        return reached - self.lapsed_unsent + self.issued_only + self.cancelled_out

    @property
    def left(self) -> int:
        """The rows that wait for their session or for their first message, also those that another list's row serves: a
        pause does not hold these back (`waiting.left_of`)."""
        return sum(self.jobs.get(state, 0) for state in UNSENT_JOBS) - self.issued_only


# Those that are kept as they are. A batch that was purged by an older release may lack some.
_KEPT = ("issued_only", "joined", "sessions", "lapsed_unsent", "cancelled_out", "rejected", "duplicate", "known")


def totals_of(counts: BatchCounts) -> dict[str, Any]:
    """The numbers of a finished batch, to be kept when its rows are purged."""
    return {name: getattr(counts, name) for name in _KEPT} | {
        "jobs": dict(counts.jobs),
        "results": dict(counts.results),
        "invitations": dict(counts.invitations),
        "accounts": {name: asdict(facts) for name, facts in counts.accounts.items()},
    }


def from_totals(totals: dict[str, Any]) -> BatchCounts:
    return BatchCounts(
        **{name: totals.get(name, 0) for name in _KEPT},
        jobs=Counter({word_of(JobState, state): number for state, number in totals["jobs"].items()}),
        results=Counter(totals["results"]),
        invitations=Counter({word_of(InvitationState, one): number for one, number in totals["invitations"].items()}),
        accounts={name: AccountFacts(**facts) for name, facts in totals["accounts"].items()},
    )
