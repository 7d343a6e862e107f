"""The evidence of a trial, arranged by row. The promises are checked against it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from trials.customers import Listed
from trials.evidence import Attempt, Evidence, Invitation, Job

K = TypeVar("K")
V = TypeVar("V")
# The endpoint that receives an account's calls.
ENDPOINTS = {
    "kyc": "idenfy-kyc",
    "kyc-lt": "idenfy-kyc",
    "kyb": "idenfy-kyb",
    "au": "frankieone-v2",
    "au-new": "frankieone-v1",
}
ISSUING = frozenset(ENDPOINTS.values())
# At these endpoints each successful call opens, and charges, one more session. FrankieOne v2 returns the same session.
BOUGHT = ISSUING - {"frankieone-v2"}


@dataclass(frozen=True)
class Cap:
    """A budget's limits: calls a second over these endpoints, and the most sessions if it has credits."""

    endpoints: frozenset[str]
    rate: float
    credits: int | None = None
    accounts: frozenset[str] = frozenset()
    uncounted: int = 0  # credits that were spent before a restore, and that a person took from the cap


@dataclass(frozen=True)
class Restore:
    """A copy of the database, `dumped` then, was put back after all processes had `ended`, and a person `resumed`.

    What was done in between the database does not know, except about the customers who were erased or suppressed: these
    are `left_alone`.
    """

    dumped: datetime
    ended: datetime
    resumed: datetime
    left_alone: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """The evidence by row. `caps` are the configured budgets, by name.

    `lease` is in seconds; None: it is not checked. A call may be reconciled `reconcile_after` seconds after the end of
    its lease. `stops` is how often a worker was stopped (SIGSTOP).
    """

    customers: Sequence[Listed]
    evidence: Evidence
    caps: Mapping[str, Cap] = field(default_factory=dict)
    lease: float | None = None
    reconcile_after: float = 0
    stops: int = 0
    events: Sequence[str] = ()  # their ids, also of those that were sent twice
    restores: Sequence[Restore] = ()  # in the order of `resumed`

    @cached_property
    def jobs(self) -> dict[int, Job]:
        return {job.row: job for job in self.evidence.jobs}

    @cached_property
    def calls(self) -> dict[int, list[dict[str, Any]]]:
        """The received calls for a session, by row. FrankieOne v2 gets an entity, the other endpoints our own id."""
        rows = {one.entity_id or one.customer_id: one.row for one in self.customers}
        found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for call in self.evidence.received.calls:
            if call["endpoint"] in ISSUING:
                found[rows.get(call["client"], 0)].append(call)  # no row has the number 0
        return found

    @cached_property
    def asked(self) -> dict[int, list[Attempt]]:
        """The attempts to open a session, by row, in order."""
        rows = {job.id: job.row for job in self.evidence.jobs}
        calls = (one for one in self.evidence.attempts if not one.invitation_id and not one.reconciles)
        return _grouped((rows[one.job_id], one) for one in calls)

    @cached_property
    def handed(self) -> dict[str, list[Attempt]]:
        """The hand-overs of each invitation, in order."""
        calls = (one for one in self.evidence.attempts if not one.reconciles)
        return _grouped((one.invitation_id, one) for one in calls if one.invitation_id)

    @cached_property
    def invitations(self) -> dict[int, list[Invitation]]:
        """By row."""
        rows = {job.id: job.row for job in self.evidence.jobs}
        return _grouped((rows[one.job_id], one) for one in self.evidence.invitations)

    @cached_property
    def mails(self) -> dict[str, list[dict[str, Any]]]:
        return _grouped((to, mail) for mail in self.evidence.received.mails for to in mail["to"])

    @cached_property
    def texts(self) -> dict[str, list[dict[str, Any]]]:
        return _grouped((text["to"], text) for text in self.evidence.received.texts)

    def lives(self, arrived: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
        """What had arrived in each history of the database: those that ended with a restore, and the last one."""
        for restore in self.restores:
            yield [one for one in arrived if at(one) < restore.resumed]
            arrived = [one for one in arrived if not restore.dumped <= at(one) < restore.resumed]
        yield arrived

    def known(self, arrived: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """What had arrived in the last history; the database does not know the rest, and may have had it repeated."""
        *_, last = self.lives(arrived)
        return last

    @cached_property
    def left_alone(self) -> dict[str, datetime]:
        """The customers who were erased or suppressed before a restore, and when its processes had ended."""
        return {name: restore.ended for restore in self.restores for name in restore.left_alone}

    def waits_for_credit(self, job: Job) -> bool:
        """True if a row waits because its account has no credit left."""
        cap = next((cap for cap in self.caps.values() if job.account in cap.accounts), None)
        return job.state == "waiting" and cap is not None and cap.credits is not None


def at(arrived: Mapping[str, Any]) -> datetime:
    """When a call, a mail or a text arrived."""
    return datetime.fromisoformat(arrived["at"])


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    found: defaultdict[K, list[V]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return dict(found)
