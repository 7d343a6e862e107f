"""What the calls of one account or sender got lately, in this process, and what that makes of the next refusal.

`limits.second_look` decides. The memory is short and is lost with the process: then rows are looked at anew.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from datetime import datetime

from worker.core.limits.second_look import LAST_TRIES, LOOKS, Subject, Try, shared_words, subject_of
from worker.core.model.endings import Kind, Problem

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
