"""Rows whose sessions another tool opened: what their cells say of the session. Pure; the command asks the provider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from onboarding_worker.adapters.bodies import LONGEST_TOKEN
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.rules.reconciliation import LONGEST_LIFE
from onboarding_worker.lists.importing.intake import Intake
from onboarding_worker.lists.lines import AcceptedLine, Line, RefusedLine
from onboarding_worker.lists.options import ADOPTED, SESSION
from onboarding_worker.providers import parameters

LONGEST = {"token": LONGEST_TOKEN, "reference": 100, "expires_at": 40}
_COLUMNS = {ours.partition(".")[2]: theirs for theirs, ours in ADOPTED.items()}  # by the field of `Told`


class Adopts(Protocol):
    """Judges rows that name a session, and stores the sessions of the accepted ones."""

    def judge(self, lines: Sequence[Line], intake: Intake) -> list[AcceptedLine | RefusedLine]:
        """Judge the lines, also by what the provider says of their sessions. The answers are in the lines' order."""

    def store(self, connection: sa.Connection, job_ids: Sequence[int]) -> None:
        """Store the sessions of these jobs, which the transaction has added."""


@dataclass(frozen=True, repr=False)
class Told:
    """What a row says of its session. The token is a secret: no repr shows it."""

    token: str
    reference: str
    expires_at: datetime


def parse_cell(provider: str, name: str, cell: Any) -> tuple[Any, str | None]:
    """As `providers.parameters.parse_cell`, also of the columns of sessions."""
    if provider != SESSION:
        return parameters.parse_cell(provider, name, cell)
    if not isinstance(cell, str):
        return cell, "not a text: keep the column as text"
    return cell, f"more than {LONGEST[name]} characters" if len(cell) > LONGEST[name] else None


def unknown_parameter(provider: str, name: str, *, near: bool = True) -> str | None:
    """As `providers.parameters.unknown_parameter`, also of the columns of sessions."""
    return None if provider == SESSION else parameters.unknown_parameter(provider, name, near=near)


def parted(line: AcceptedLine, *, now: datetime) -> tuple[AcceptedLine, Told | tuple[FieldProblem, ...]]:
    """The line without its session, and what it says of that; or what is wrong with it."""
    given = line.customer.parameters.get(SESSION, {})
    others = {name: value for name, value in line.customer.parameters.items() if name != SESSION}
    return replace(line, customer=replace(line.customer, parameters=others)), _told(given, now=now)


def _told(given: Mapping[str, str], *, now: datetime) -> Told | tuple[FieldProblem, ...]:
    why = "a row of --adopt names a session that is open"
    missing = tuple(
        FieldProblem(column, "it is empty", why) for name, column in _COLUMNS.items() if not given.get(name)
    )
    if missing:
        return missing
    expires_at = utc_time(given["expires_at"])
    if expires_at is None:
        return (FieldProblem("session_expires_at", "not a time", "write it as 2026-11-30T12:00:00Z"),)
    if expires_at <= now:
        return (ended("its time is over"),)
    if expires_at > now + LONGEST_LIFE:
        return (FieldProblem("session_expires_at", "later than any session lives", "check the year, and the column"),)
    return Told(given["token"], given["reference"], expires_at)


def ended(why: str) -> FieldProblem:
    """That a session cannot be adopted because it is over."""
    return FieldProblem("session_reference", f"the session has ended: {why}", "import the row without --adopt")
