"""What a check of the installation found: one line each, for people and for scripts."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


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
