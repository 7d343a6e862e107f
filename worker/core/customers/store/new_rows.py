"""The rows that an accepted or refused line becomes: customer, job, skipped line.

Those values that no transaction decides, encrypted and of plain types, are made before it, in another process too
(`seal`). They are columns: a dictionary for each row cost more to make and to pickle than the rest of the row.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa

from worker.core.customers.customers import Customer, FieldProblem
from worker.core.customers.routing import fallbacks_text
from worker.core.database import bulk
from worker.core.database.bulk import Columns, picked, rows_of
from worker.core.database.encrypted_values import contact_digests, encrypt_line, encrypt_person
from worker.core.database.job_ids import Key, job_id
from worker.core.database.tables import CustomerRow
from worker.core.foundation.keyring import Keyring
from worker.core.model.reasons import Reason
from worker.core.model.states import JobState


class OldLink(NamedTuple):
    """A session's link that went to an address which is corrected. `channels`: on which messages about the session, or
    one in its place, go to the customer. `corrected`: those of them whose address it is."""

    account: str
    ends: datetime
    channels: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()


@dataclass  # not frozen: see `customers.customers`
class AcceptedLine:
    """A line that becomes a job: its account, the reason for this account, and the freshness floor of its link.

    `fallback_accounts` could serve the job too, in order of preference. `freshness_seconds` is the route's floor, which
    holds for all accounts; None: the floor of the account. `quiet_until`: no session before then; None: at once.
    """

    row: int
    customer: Customer
    account: str
    route: str
    floor_seconds: int
    fallback_accounts: tuple[str, ...] = ()
    freshness_seconds: int | None = None
    quiet_until: datetime | None = None
    warnings: tuple[FieldProblem, ...] = ()  # for the operator; not stored
    planned_at: datetime | None = None  # when it goes by its list's deadline; None: as soon as it may
    old_links: tuple[OldLink, ...] = ()  # that an address has which it changes; for the operator, not stored


LONGEST_KNOWN = 200
WAS_ERASED = FieldProblem(
    "customer_id",
    "the customer was erased on request",
    "leave the row out; or use --allow-erased to bring the customer back",
)
ANOTHER_PERSON = FieldProblem(
    "customer_id",
    "same id, another person?",
    "nothing agrees with what is stored: give each person an id of its own; or use --another-person",
)


TAKE_OVER = "leave the row out; or take the customer over with --take-over, by command"


@dataclass(frozen=True)
class RefusedLine:
    """A line that becomes no job. `duplicate_of` is the earlier row of the same customer. `known`: what became of the
    line of a known customer, in words without personal data. Neither: it was refused.

    `warnings` are for the operator; they are not stored.
    """

    row: int
    customer_id: str
    problems: tuple[FieldProblem, ...] = ()
    duplicate_of: int | None = None
    known: str = ""
    warnings: tuple[FieldProblem, ...] = ()


def erased_line(row: int, customer_id: str) -> RefusedLine:
    return RefusedLine(row, customer_id, (WAS_ERASED,))


def another_line(row: int, customer_id: str) -> RefusedLine:
    """The line of another person under the id of a customer who is known, refused."""
    return RefusedLine(row, customer_id, (ANOTHER_PERSON,))


def owned_line(row: int, customer_id: str, owner: str) -> RefusedLine:
    """The line of a customer who belongs to a sender of events, refused."""
    return RefusedLine(
        row, customer_id, (FieldProblem("customer_id", f"first requested by sender {owner}", TAKE_OVER),)
    )


# What newer details of a known customer replace, whether a list or an event brings them.
DETAILS = (
    *("kind", "country", "locale", "timezone"),
    *("encrypted", "email_digest", "phone_digest", "details_at", "changed_at"),
)


# What is left of a customer whose details are gone.
PERSON_GONE = {"encrypted": None, "email_digest": None, "phone_digest": None} | dict.fromkeys(
    ("country", "locale", "timezone"), ""
)


def customer_row(keyring: Keyring, customer: Customer, *, details_at: datetime, now: datetime) -> dict[str, Any]:
    """A new customer. `details_at` is the time that the details are from."""
    values = rows_of(customer_values(keyring, [customer]))[0]
    return {**values, "details_at": details_at, "created_at": now, "changed_at": now}


def change_details(connection: sa.Connection, customers: Sequence[Mapping[str, Any]]) -> None:
    """Give customers who are known these rows' details. They must be locked."""
    _CHANGE.run(connection, [{f"new_{name}": row[name] for name in ("customer_id", *DETAILS)} for row in customers])


_CHANGE = bulk.Change(CustomerRow.customer_id, bulk.new(*DETAILS), by="new_customer_id")


def _columns(of: Sequence[Any], *names: str) -> Columns:
    return {name: list(map(attrgetter(name), of)) for name in names}


def customer_values(keyring: Keyring, customers: Sequence[Customer]) -> Columns:
    """What lines or an event say of their customers."""
    digests = [contact_digests(keyring, customer.person) for customer in customers]
    return _columns(customers, "customer_id", "kind", "country", "locale", "timezone") | {
        "encrypted": [encrypt_person(keyring, customer.customer_id, customer.person) for customer in customers],
        "email_digest": [found["email_digest"] for found in digests],
        "phone_digest": [found["phone_digest"] for found in digests],
    }


def job_values(keyring: Keyring, batch_id: int, lines: Sequence[AcceptedLine]) -> Columns:
    """What the lines say of their jobs."""
    customers = [line.customer for line in lines]
    return {
        "id": [job_id(batch_id, line.row) for line in lines],
        "batch_id": [batch_id] * len(lines),
        **_columns(customers, "customer_id", "purpose", "channel", "template", "entity_id", "consent"),
        **_columns(lines, "row", "account", "floor_seconds", "freshness_seconds"),
        "encrypted": [encrypt_line(keyring, batch_id, line.row, line.customer) for line in lines],
        "route": [line.route[:200] for line in lines],
        "fallback_accounts": [fallbacks_text(line.account, line.fallback_accounts) for line in lines],
    }


def new_jobs(
    values: Columns,
    followed: Mapping[Key, Mapping[str, Any]],
    *,
    priority: int,
    now: datetime,
    quiet_until: Sequence[datetime | None],
    planned_at: Sequence[datetime | None] | None = None,
    invite_at: Sequence[datetime | None] | None = None,
) -> Columns:
    """New jobs with these `job_values`. `followed` has what a job gets if its customer is served already,
    see `admission.following`."""
    count = len(quiet_until)
    none: list[Any] = [None] * count
    due_at: list[Any] = [now] * count
    reason: list[Any] = [""] * count
    times = zip(quiet_until, planned_at or none, invite_at or none, strict=True)
    for place, (quiet, planned, invite) in enumerate(times):
        # A customer in the app gets the link there at any hour.
        if quiet is not None and quiet > now and (invite is None or invite <= now):
            due_at[place], reason[place] = quiet, Reason.QUIET_HOURS
        if planned is not None and planned > due_at[place]:
            due_at[place], reason[place] = planned, Reason.PLANNED
    jobs: Columns = {
        **values,
        "invite_at": [*(invite_at or none)],
        "state": [JobState.WAITING] * count,
        "due_at": due_at,
        "priority": [priority] * count,
        "reason": reason,
        "detail": [""] * count,
        "result": [""] * count,
        "leader_id": [None] * count,
        "created_at": [now] * count,
        "changed_at": [now] * count,
    }
    if followed:
        for place, key in enumerate(zip(values["customer_id"], values["purpose"], strict=True)):
            for name, value in followed.get(key, {}).items():
                jobs[name][place] = value
    return jobs


CANCELLED: dict[str, Any] = {
    "state": JobState.CANCELLED,
    "due_at": None,
    "leader_id": None,
    "result": "",
    "reason": Reason.CANCELLED,
    "detail": "",
}


def refusal_row(batch_id: int, line: RefusedLine) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "row": line.row,
        "duplicate_of": line.duplicate_of,
        "known": line.known[:LONGEST_KNOWN] or None,
        "customer_id": line.customer_id or None,
        "problems": [asdict(problem) for problem in line.problems],
    }


@dataclass
class SealedLines:
    """`customers` and `jobs`: what the lines say of their customers' rows, and of their jobs'."""

    customers: Columns
    jobs: Columns
    quiet_until: list[datetime | None]
    planned_at: list[datetime | None]

    def __len__(self) -> int:
        return len(self.quiet_until)

    @property
    def keys(self) -> list[Key]:
        return list(zip(self.jobs["customer_id"], self.jobs["purpose"], strict=True))

    def at(self, places: Sequence[int]) -> "SealedLines":
        """The lines at these places, in their order."""
        times = [[values[place] for place in places] for values in (self.quiet_until, self.planned_at)]
        return SealedLines(picked(self.customers, places), picked(self.jobs, places), *times)

    def without(self, rows: Collection[int]) -> "SealedLines":
        return self.at([place for place, row in enumerate(self.jobs["row"]) if row not in rows])


Lines = Sequence[AcceptedLine] | SealedLines


def seal(keyring: Keyring, batch_id: int, lines: Sequence[AcceptedLine]) -> SealedLines:
    """Encrypt what is the customers'."""
    return SealedLines(
        customer_values(keyring, [line.customer for line in lines]),
        job_values(keyring, batch_id, lines),
        [line.quiet_until for line in lines],
        [line.planned_at for line in lines],
    )


def numbers_of(lines: Lines) -> Sequence[int]:
    return lines.jobs["row"] if isinstance(lines, SealedLines) else [line.row for line in lines]


def customers_of(lines: Lines) -> Sequence[str]:
    if isinstance(lines, SealedLines):
        return lines.jobs["customer_id"]
    return [line.customer.customer_id for line in lines]


def without(lines: Lines, rows: Collection[int]) -> Lines:
    if not rows:
        return lines
    return lines.without(rows) if isinstance(lines, SealedLines) else [line for line in lines if line.row not in rows]
