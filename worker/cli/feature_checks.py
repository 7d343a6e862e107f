"""What a check of the installation found, a line each, for people and for scripts; and what features add to `onboard
doctor`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.wiring.container import Parts


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


Check = Callable[[Parts], Iterator[Finding]]


class FeatureCheck(NamedTuple):
    """`of_database`: it needs a database that can be used."""

    run: Check
    of_database: bool = False


# The feature `oidc` says whether its issuer answers.
DOCTOR_CHECKS = Hook("DOCTOR_CHECKS", FeatureCheck)
