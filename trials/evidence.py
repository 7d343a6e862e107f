"""Gathers a trial's evidence: the rows of its database, and what the sandbox received. The promises check it.

It reads with plain SQL and over the sandbox's pages, so that the tested code does not influence the evidence.
"""

import json
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
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
    """`invitation_id` None: a call for a session. `outcome` "": still open. Times are strings that sort by time.

    `reconciles`: the call only looked up the outcome of another attempt.
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
    """The calls, emails and texts that the sandbox received, in order of arrival."""

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
    inbox: Sequence[str] = ()  # the ids of the stored events


def received(url: str) -> Received:
    """Everything that the sandbox at this address received. Emails are read from its mailbox, not from its log."""
    return Received(
        calls=[line for line in logged(url) if line["endpoint"] != "smtp"],
        mails=json.loads(_fetched(f"{url}/_sandbox/mailbox")),
        texts=json.loads(_fetched(f"{url}/_sandbox/texts")),
    )


def logged(url: str) -> list[dict[str, Any]]:
    """The log of the sandbox at this address."""
    return [json.loads(line) for line in _fetched(f"{url}/_sandbox/log").splitlines()]


def _fetched(url: str) -> str:
    # The sandbox reads ten thousand emails before its first byte: a minute on an idle machine, minutes on a busy one.
    with urllib.request.urlopen(url, timeout=900) as answer:
        return str(answer.read().decode())


def gather(ask: Ask, url: str, report: Sequence[dict[str, Any]]) -> Evidence:
    """The evidence. `ask` runs a query on the trial's database and returns rows as mappings; `url` is the sandbox's."""
    return Evidence(
        jobs=[_evidence(Job, row) for row in ask("select * from job")],
        attempts=[_attempt(row) for row in ask("select * from attempt order by opened_at, id")],
        sessions=[_evidence(Session, row) for row in ask("select * from session")],
        invitations=[_evidence(Invitation, row) for row in ask("select * from invitation")],
        credits_used={row["name"]: row["credits_used"] for row in ask("select * from budget")},
        received=received(url),
        report=report,
        inbox=[row["event_id"] for row in ask("select event_id from inbox")],
    )


def by_customer(evidence: Evidence, rows: Mapping[str, int]) -> Evidence:
    """The same, with the rows of these customers: rows of events have numbers of their own."""
    return replace(
        evidence,
        jobs=[replace(job, row=rows[job.customer_id]) for job in evidence.jobs],
        report=[line | {"row": rows[line["customer_id"]]} for line in evidence.report],
    )


def _attempt(row: Mapping[str, Any]) -> Attempt:
    fields = {"outcome": row["outcome"] or "", "closed_at": row["closed_at"] and str(row["closed_at"])}
    fields |= {"opened_at": str(row["opened_at"]), "reconciles": bool(row.get("reconciles"))}
    return _evidence(Attempt, {**row, **fields})


def _evidence(kind: type[T], row: Mapping[str, Any]) -> T:
    """One piece of evidence from a row: each field is the column of the same name."""
    return kind(**{one.name: _plain(row[one.name]) for one in fields(kind)})


def _plain(value: Any) -> Any:
    """The value; a UUID as the hex text that SQLite has."""
    return value.hex if isinstance(value, uuid.UUID) else value
