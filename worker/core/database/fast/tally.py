"""Counts the rows that a transaction changes, for `BatchCount`. The counts are written at its end.

A statement that changes many rows counts them here, and raises the rows' column `counted`, which tells the triggers.

Plain: triggers count every change of a row (migration 0002). For few rows that costs less: it needs no round trip.

Gain: 150 of 410 microseconds of PostgreSQL for a customer, 12 % of all. Leans on nothing of a library.

After the counts comes what locks a row that many transactions write (`last`). Each of them waits for it: it is locked
from there to the commit, and no other lock is taken after it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk, fast
from onboarding_worker.core.database.bulk import Columns
from onboarding_worker.core.database.fast import Twin
from onboarding_worker.core.database.tables import BatchCountChange
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState

OPTION = "onboarding_tally"  # the execution option of a transaction that has its tally
MANY = 8  # from so many rows on, one more statement costs less than the triggers
# The reasons for which a row waits until a later hour.
LATER = frozenset(
    {Reason.QUIET_HOURS, Reason.WAITS_FOR_SENDER, Reason.ADDRESS_SPENT, Reason.CREDITS_SPENT, Reason.IN_REVIEW}
)


class CountOf(StrEnum):
    """What is counted. A look-up costs no session."""

    JOB = "job"
    MESSAGE = "message"
    CALL = "call"
    LOOK_UP = "look_up"


class Alike(NamedTuple):
    """What rows that are counted together have in common: the columns of `BatchCount`."""

    batch_id: int
    kind: str
    state: str
    channel: str = ""
    account: str = ""
    result: str = ""
    reason: str = ""


def job(batch_id: int, state: str, channel: str, account: str, result: str = "", reason: str = "") -> Alike:
    """How a job that joined no other is counted; as the triggers see it."""
    keeps = reason in LATER if state == JobState.WAITING else (state, reason) == (JobState.FAILED, Reason.SUPPRESSED)
    return Alike(batch_id, CountOf.JOB, _counted(state), channel, account, result, reason if keeps else "")


def message(batch_id: int, state: str, channel: str, reason: str = "") -> Alike:
    """How a session's first message is counted. Reminders are not."""
    later = state == InvitationState.WAITING and reason in LATER
    return Alike(batch_id, CountOf.MESSAGE, _counted(state), channel, reason=reason if later else "")


def call(batch_id: int, outcome: str, account: str, *, look_up: bool = False) -> Alike:
    """How a call for a session is counted. `outcome` empty: it is open."""
    return Alike(batch_id, CountOf.LOOK_UP if look_up else CountOf.CALL, outcome, account=account)


_COUNTED = ("batch_id", "state", "channel", "account", "result", "reason")


def _counted(state: str) -> str:
    """A leased row counts as a waiting one."""
    return "waiting" if state == "working" else str(state)


class Tally:
    """The differences that one transaction makes.

    `last`: what its end calls with the connection. `committed`: what is called once it is known to be committed.
    `noted`: what the journal notes before that. `budgets`: what it has read of budgets' rows (`budgets.budgets`).
    """

    def __init__(self) -> None:
        self.last: list[Callable[[sa.Connection], None]] = []
        self.committed: list[Callable[[], None]] = []
        self.noted: list[Any] = []
        self.budgets: dict[str, Any] = {}
        self._rows: dict[Alike, int] = defaultdict(int)
        self._sessions: dict[Alike, int] = defaultdict(int)

    def add(self, alike: Alike, rows: int, *, sessions: int = 0) -> None:
        self._rows[alike] += rows
        if sessions:
            self._sessions[alike] += sessions

    def changes(self) -> list[dict[str, Any]]:
        return [
            {**alike._asdict(), "rows": rows, "sessions": self._sessions[alike]}
            for alike, rows in self._rows.items()
            if rows or self._sessions[alike]
        ]


def of(connection: sa.Connection) -> Tally:
    """The tally of the connection's transaction, one of `Database.write`."""
    found: Tally = connection.get_execution_options()[OPTION]
    return found


def write(connection: sa.Connection) -> None:
    """Write what the transaction has counted, and what it keeps for its end."""
    tally = of(connection)
    bulk.add(connection, BatchCountChange, tally.changes())
    for write_last in tally.last:
        write_last(connection)


def counts_in_bulk(rows: int) -> int:
    """By how much a statement over so many rows raises their `counted`: 1 if it is to count them itself."""
    return int(rows >= MANY and Twin.TALLY not in fast.plain)


def count_new_jobs(connection: sa.Connection, jobs: Columns) -> None:
    """Count the rows of a statement that adds jobs, with `counted` = 1."""
    tally = of(connection)
    counted = zip(*(jobs[name] for name in _COUNTED), strict=True)
    leads = Counter(values for values, leader in zip(counted, jobs["leader_id"], strict=True) if leader is None)
    for values, number in leads.items():
        tally.add(job(*values), number)
