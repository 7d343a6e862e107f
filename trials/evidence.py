"""What a trial left behind: the rows of its database, and what the sandbox received. Gathered, not judged.

Read with plain SQL and over the sandbox's own pages, so that the code on trial has no say in what is found.
"""

import json
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Ask = Callable[[str], Sequence[Mapping[str, Any]]]
T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Job:
    id: int
    row: int
    customer_id: str
    account: str
    state: str
    reason: str
    detail: str
    session_id: str | None


@dataclass(frozen=True)
class Attempt:
    """`invitation_id` None: it asked for a session. `outcome` "": still open. Times as texts, which sort as they do.

    `reconciles`: it asked for nothing new, but what had become of another one.
    """

    job_id: int
    invitation_id: str | None
    account: str
    opened_at: str
    closed_at: str | None
    outcome: str
    status: int | None
    detail: str
    reconciles: bool = False


@dataclass(frozen=True)
class Session:
    id: str
    customer_id: str
    purpose: str
    job_id: int
    account: str
    reference: str
    state: str


@dataclass(frozen=True)
class Invitation:
    id: str
    session_id: str
    job_id: int
    channel: str
    kind: str
    state: str
    reason: str


@dataclass(frozen=True)
class Received:
    """What the sandbox says: each call, mail and text, in order of arrival."""

    calls: Sequence[dict[str, Any]] = ()
    mails: Sequence[dict[str, Any]] = ()
    texts: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Evidence:
    jobs: Sequence[Job] = ()
    attempts: Sequence[Attempt] = ()
    sessions: Sequence[Session] = ()
    invitations: Sequence[Invitation] = ()
    credits_used: dict[str, int] = field(default_factory=dict)  # by budget
    received: Received = field(default_factory=Received)
    report: Sequence[dict[str, Any]] = ()  # the lines of `onboard report --with-links`


def received(url: str) -> Received:
    """Everything, from a sandbox at this address. Its log holds the mails too: those are left to the mailbox."""
    lines = [json.loads(line) for line in _fetched(f"{url}/_sandbox/log").splitlines()]
    return Received(
        calls=[line for line in lines if line["endpoint"] != "smtp"],
        mails=json.loads(_fetched(f"{url}/_sandbox/mailbox")),
        texts=json.loads(_fetched(f"{url}/_sandbox/texts")),
    )


def _fetched(url: str) -> str:
    # Ten thousand mails are read before the first byte comes: a minute on a machine of its own, minutes on a busy one.
    with urllib.request.urlopen(url, timeout=900) as answer:
        return str(answer.read().decode())


def gather(ask: Ask, url: str, report: Sequence[dict[str, Any]]) -> Evidence:
    """`ask` runs a query on the trial's database, whose rows have names; `url` is the sandbox's."""
    return Evidence(
        jobs=[_told(Job, row) for row in ask("select * from job")],
        attempts=[_attempt(row) for row in ask("select * from attempt order by opened_at, id")],
        sessions=[_told(Session, row) for row in ask("select * from session")],
        invitations=[_told(Invitation, row) for row in ask("select * from invitation")],
        credits_used={row["name"]: row["credits_used"] for row in ask("select * from budget")},
        received=received(url),
        report=report,
    )


def _attempt(row: Mapping[str, Any]) -> Attempt:
    told = {"outcome": row["outcome"] or "", "closed_at": row["closed_at"] and str(row["closed_at"])}
    told |= {"opened_at": str(row["opened_at"]), "reconciles": bool(row.get("reconciles"))}
    return _told(Attempt, {**row, **told})


def _told(kind: type[T], row: Mapping[str, Any]) -> T:
    """What a row says of a kind of evidence: a column for each field."""
    return kind(**{one.name: _plain(row[one.name]) for one in fields(kind)})


def _plain(value: Any) -> Any:
    """A UUID as SQLite gives it."""
    return value.hex if isinstance(value, uuid.UUID) else value
