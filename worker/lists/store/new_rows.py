"""The rows that an accepted or refused line becomes: customer, job, skipped line.

Those values that no transaction decides, encrypted and of plain types, are made before it, in another process too
(`seal`). They are columns: a dictionary for each row cost more to make and to pickle than the rest of the row.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Customer, FieldProblem
from worker.core.database import bulk
from worker.core.database.bulk import Columns, picked, rows_of
from worker.core.database.encrypted_values import contact_digests, encrypt_line, encrypt_person
from worker.core.database.job_ids import Key, job_id
from worker.core.database.tables import CustomerRow
from worker.core.foundation.keyring import Keyring
from worker.core.model.reasons import Reason
from worker.core.model.states import JobState
from worker.lists.lines import AcceptedLine, RefusedLine

LONGEST_KNOWN = 200
FALLBACK_ACCOUNTS_LENGTH = 400  # the column's
# What newer details of a known customer replace, whether a list or an event brings them.
DETAILS = (
    *("kind", "country", "locale", "timezone"),
    *("encrypted", "email_digest", "phone_digest", "details_at", "changed_at"),
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
    """What the lines say of their jobs, for `new_jobs`."""
    customers = [line.customer for line in lines]
    return {
        "id": [job_id(batch_id, line.row) for line in lines],
        "batch_id": [batch_id] * len(lines),
        **_columns(customers, "customer_id", "purpose", "channel", "template", "brand", "entity_id", "consent"),
        **_columns(lines, "row", "account", "floor_seconds", "freshness_seconds", "quiet_until", "planned_at"),
        "encrypted": [encrypt_line(keyring, batch_id, line.row, line.customer) for line in lines],
        "route": [line.route[:200] for line in lines],
        "fallback_accounts": [
            fallbacks_text(line.account, line.fallback_accounts) if line.fallback_accounts else "" for line in lines
        ],
    }


def fallbacks_text(account: str, fallback_accounts: Sequence[str]) -> str:
    """The fallback accounts of a row as its column has them: as many as fit next to its own account's name."""
    kept: list[str] = []
    for other in fallback_accounts:
        if len(",".join([account, *kept, other])) > FALLBACK_ACCOUNTS_LENGTH:
            break
        kept.append(other)
    return ",".join(kept)


def new_jobs(
    values: Columns,
    followed: Mapping[Key, Mapping[str, Any]],
    *,
    priority: int,
    now: datetime,
    invite_at: Sequence[datetime | None] | None = None,
) -> Columns:
    """New jobs with these `job_values`. `followed` has what a job gets if its customer is served already,
    see `admission.following`."""
    jobs = {**values}
    quiet_until, planned_at = jobs.pop("quiet_until"), jobs.pop("planned_at")
    count = len(quiet_until)
    invite_at = invite_at or [None] * count
    due_at: list[Any] = [now] * count
    reason: list[Any] = [""] * count
    for place, (quiet, planned, invite) in enumerate(zip(quiet_until, planned_at, invite_at, strict=True)):
        # A customer in the app gets the link there at any hour.
        if quiet is not None and quiet > now and (invite is None or invite <= now):
            due_at[place], reason[place] = quiet, Reason.QUIET_HOURS
        if planned is not None and planned > due_at[place]:
            due_at[place], reason[place] = planned, Reason.PLANNED
    jobs |= {
        "invite_at": [*invite_at],
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
    """`customers` and `jobs`: what the lines say of their customers' rows, and of their jobs'. `lacks`: as
    `AcceptedLine` has it, by row."""

    customers: Columns
    jobs: Columns
    lacks: dict[int, tuple[FieldProblem, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.jobs["row"])

    @property
    def keys(self) -> list[Key]:
        return list(zip(self.jobs["customer_id"], self.jobs["purpose"], strict=True))

    def at(self, places: Sequence[int]) -> "SealedLines":
        """The lines at these places, in their order."""
        return SealedLines(picked(self.customers, places), picked(self.jobs, places), self.lacks)

    def without(self, rows: Collection[int]) -> "SealedLines":
        return self.at([place for place, row in enumerate(self.jobs["row"]) if row not in rows])


def seal(keyring: Keyring, batch_id: int, lines: Sequence[AcceptedLine]) -> SealedLines:
    """Encrypt what is the customers'."""
    return SealedLines(
        customer_values(keyring, [line.customer for line in lines]),
        job_values(keyring, batch_id, lines),
        {line.row: line.lacks for line in lines if line.lacks},
    )
