"""Whom a refusal is about, where its code does not say. Pure.

The same "554" comes for one odd message, and for each message of a sender that is blocked. So the row is tried again
soon, and what the other rows got meanwhile decides:

    refused ──▶ tried again ──▶ most others succeeded since: it is about the row
                           └──▶ nobody has, in the last tries or for a minute: it is about us, and the account stops

A single row without others proves nothing: after a minute it is about the row if others succeeded before, and else its
problem is what the code alone says.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from worker.core.model.endings import Backoff, Kind, Problem

LAST_TRIES = 20
LONGEST_LOOK = timedelta(minutes=1)
# When the row is tried again: soon, since nothing costs an attempt; but a server that greylists is not asked often.
LOOKS = Backoff.steps(5, 10, 20, 30)
LEAST_WORDS = 2


class Subject(Enum):
    """Whom a refusal is about."""

    ROW = "row"
    US = "us"
    AS_ITS_CODE = "as its code"  # the other rows say nothing, and will not
    OPEN = "open"  # the next look may tell


class Try(NamedTuple):
    """One call of the account: a success, or a refusal whose code does not say whom it is about."""

    row: Hashable
    began_at: datetime
    succeeded: bool


def subject_of(row: Hashable, first_at: datetime, tries: Sequence[Try], *, now: datetime) -> Subject:
    """Whom the refusal of this row is about.

    `tries`: the account's last ones in their order, with the row's own. `first_at`: when the row was refused first.
    """
    last = tries[-LAST_TRIES:]
    others = [one for one in last if one.row != row and one.began_at > first_at]
    succeeded = sum(one.succeeded for one in others)
    if 2 * succeeded > len(others):
        return Subject.ROW
    if _nobody_succeeds(last, now=now):
        return Subject.US
    if now - first_at < LONGEST_LOOK:
        return Subject.OPEN
    return Subject.ROW if any(one.succeeded for one in last if one.row != row) else Subject.AS_ITS_CODE


def _nobody_succeeds(last: Sequence[Try], *, now: datetime) -> bool:
    """Whether more than one row was refused, and none succeeded in all of the last tries, or for a minute."""
    successes = [one.began_at for one in last if one.succeeded]
    refused = [one for one in last if not one.succeeded and (not successes or one.began_at > successes[-1])]
    if len({one.row for one in refused}) < 2:
        return False
    return len(refused) >= LAST_TRIES or now - refused[0].began_at >= LONGEST_LOOK


def shared_words(one: str, other: str) -> str:
    """How both sentences begin. What is the same for two customers names neither of them, so it may be shown."""
    same = []
    for word, again in zip(one.split(), other.split(), strict=False):
        if word != again:
            break
        same.append(word)
    return " ".join(same) if len(same) >= LEAST_WORDS else ""


MOST_ROWS = 10_000  # beyond them the row that was refused first is looked at anew
MOST_SAID = 100
# What a refusal is once it is known whom it is about. A request to wait is no reason to stop.
ABOUT_US = {Kind.BAD_INPUT: Kind.AUTH, Kind.TRANSIENT: Kind.RATE_LIMITED}
ABOUT_ROW = {Kind.AUTH: Kind.BAD_INPUT}


@dataclass
class _Refused:
    first_at: datetime
    times: int = 0


@dataclass
class SecondLook:
    """Lives on one loop."""

    _tries: deque[Try] = field(default_factory=lambda: deque(maxlen=LAST_TRIES))
    _refused: dict[Hashable, _Refused] = field(default_factory=dict)  # in the order of their first refusal
    # By our own words for a refusal: the other side's words, which several rows got or only this one.
    _said: dict[str, tuple[Hashable, str]] = field(default_factory=dict)

    def succeeded(self, row: Hashable, began_at: datetime) -> None:
        self._tries.append(Try(row, began_at, succeeded=True))
        self._refused.pop(row, None)

    def judged(self, row: Hashable, began_at: datetime, problem: Problem, *, now: datetime) -> Problem:
        """The problem of the row's call, with the kind that it has by what the other rows got."""
        if problem.unreachable:
            return problem
        quoted = self._quoted(row, problem)  # of the first refusals too: the sentence stands when they add up to a stop
        if problem.unclear:
            problem = self._looked_at(row, began_at, problem, now=now)
        return replace(problem, detail=quoted) if problem.concerns_account else problem

    def _looked_at(self, row: Hashable, began_at: datetime, problem: Problem, *, now: datetime) -> Problem:
        self._tries.append(Try(row, began_at, succeeded=False))
        refused = self._refused.setdefault(row, _Refused(began_at))
        refused.times += 1
        if len(self._refused) > MOST_ROWS:
            del self._refused[next(iter(self._refused))]
        look_again = LOOKS.ceiling(refused.times)
        match subject_of(row, refused.first_at, tuple(self._tries), now=now):
            case Subject.OPEN:
                return replace(problem, kind=Kind.UNCLEAR, retry_after=look_again, address=None)
            case Subject.ROW:
                return replace(problem, kind=ABOUT_ROW.get(problem.kind, problem.kind))
            case Subject.US:
                problem = replace(problem, kind=ABOUT_US.get(problem.kind, problem.kind), address=None)
        if problem.kind is Kind.AUTH:  # the next row asks whether the stop is over, in case it was about this one
            return replace(problem, retry_after=look_again)
        return replace(problem, retry_after=None) if problem.kind is Kind.RATE_LIMITED else problem

    def _quoted(self, row: Hashable, problem: Problem) -> str:
        """Our words for a refusal of each row, with what the other side says to several of them alike."""
        if not problem.words:
            return problem.detail
        if len(self._said) > MOST_SAID:
            self._said.clear()
        first, words = self._said.setdefault(problem.detail, (row, problem.words))
        if first == row:
            return problem.detail
        shared = shared_words(words, problem.words)
        self._said[problem.detail] = (None, shared) if shared else (row, problem.words)
        return f"{problem.detail}; the answer says: {shared}" if shared else problem.detail
