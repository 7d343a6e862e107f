"""What a check found: of the installation, a line each, for people and for scripts; of records, their problems."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

MOST_SHOWN = 20  # problems of records, in words; the others are counted


class Grade(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, what was found, and what to do (empty if nothing is to be done)."""

    grade: Grade
    what: str
    found: str
    action: str = ""


def ok(what: str, found: str) -> Finding:
    return Finding(Grade.OK, what, found)


def warning(what: str, found: str, action: str) -> Finding:
    return Finding(Grade.WARNING, what, found, action)


def failure(what: str, found: str, action: str) -> Finding:
    return Finding(Grade.FAILURE, what, found, action)


def failed(findings: Iterable[Finding]) -> bool:
    return any(one.grade is Grade.FAILURE for one in findings)


@dataclass
class Checked:
    """What a check of records found, which may be many. `problems`, for people, are the first MOST_SHOWN; `more`: how
    many are not among them."""

    problems: list[str] = field(default_factory=list)
    more: int = 0

    @property
    def is_whole(self) -> bool:
        return not self.problems

    def add(self, problem: str) -> None:
        if len(self.problems) < MOST_SHOWN:
            self.problems.append(problem)
        else:
            self.more += 1
