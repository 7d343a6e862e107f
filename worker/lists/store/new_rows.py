"""The rows that lists and events write: of customers, also of those who were erased on request; of jobs; and of refused
lines.

Those values that no transaction decides, encrypted and of plain types, are made before it, in another process too
(`Chunk`). They are columns: a dictionary for each row cost more to make and to pickle than the rest of the row.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.bulk import Columns, picked, rows_of
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import (
    CUSTOMER,
    contact_digests,
    context_of_line,
    decrypt_line,
    encrypt_line,
    encrypt_person,
    of_our_shape,
    read_person,
)
from onboarding_worker.core.database.job_ids import Key, job_id
from onboarding_worker.core.database.journal import Happened, Note, note
from onboarding_worker.core.database.tables import CustomerRow, Tombstone
from onboarding_worker.core.database.tables.work import SETS_LENGTH
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.customers import Customer, FieldProblem
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine

LONGEST_KNOWN = 200
FALLBACK_ACCOUNTS_LENGTH = 400  # the column's
_OF_CUSTOMER = ("customer_id", "purpose", "channel", "template", "brand", "entity_id", "consent")
_OF_CUSTOMER_ROW = ("kind", "country", "locale", "timezone")
_OF_LINE = ("row", "account", "floor_seconds", "freshness_seconds", "quiet_until", "planned_at")
# What newer details of a known customer replace, whether a list or an event brings them.
DETAILS = (*_OF_CUSTOMER_ROW, *("encrypted", "email_digest", "phone_digest", "details_at", "changed_at"))


def customer_values(keyring: Keyring, customers: Sequence[Customer]) -> Columns:
    """What lines or an event say of their customers."""
    digests = [contact_digests(keyring, customer.person) for customer in customers]
    names = ("customer_id", *_OF_CUSTOMER_ROW)
    return {name: [getattr(customer, name) for customer in customers] for name in names} | {
        "encrypted": [encrypt_person(keyring, customer.customer_id, customer.person) for customer in customers],
        "email_digest": [found["email_digest"] for found in digests],
        "phone_digest": [found["phone_digest"] for found in digests],
    }


def customer_row(keyring: Keyring, customer: Customer, *, details_at: datetime, now: datetime) -> dict[str, Any]:
    """A new customer. `details_at` is the time that the details are from."""
    values = rows_of(customer_values(keyring, [customer]))[0]
    return {**values, "details_at": details_at, "created_at": now, "changed_at": now}


def change_details(connection: sa.Connection, customers: Sequence[Mapping[str, Any]]) -> None:
    """Give customers who are known these rows' details. They must be locked."""
    _CHANGE.run(connection, [{f"new_{name}": row[name] for name in ("customer_id", *DETAILS)} for row in customers])


_CHANGE = bulk.Change(CustomerRow.customer_id, bulk.new(*DETAILS), by="new_customer_id")


def opened(keyring: Keyring, row: Mapping[str, Any]) -> Customer:
    """The customer of one of `Chunk.customers`."""
    named = {name: row[name] for name in _OF_CUSTOMER_ROW}
    person = read_person(keyring, row["customer_id"], row["encrypted"])
    return Customer(row["customer_id"], person=person, **named)


def job_values(keyring: Keyring, batch_id: int, lines: Sequence[AcceptedLine]) -> Columns:
    """What the lines say of their jobs, for `new_jobs`."""
    customers = [line.customer for line in lines]
    return {
        "id": [job_id(batch_id, line.row) for line in lines],
        "batch_id": [batch_id] * len(lines),
        **{name: [getattr(customer, name) for customer in customers] for name in _OF_CUSTOMER},
        **{name: [getattr(line, name) for line in lines] for name in _OF_LINE},
        "encrypted": [encrypt_line(keyring, batch_id, line.row, line.customer, line.origin) for line in lines],
        "route": [line.route[:200] for line in lines],
        "sets": [_whole(" ".join(line.sets), " ", SETS_LENGTH) for line in lines],
        "fallback_accounts": [
            fallbacks_text(line.account, line.fallback_accounts) if line.fallback_accounts else "" for line in lines
        ],
    }


def as_it_was(keyring: Keyring, job: sa.Row[Any], known: sa.Row[Any]) -> tuple[Customer, str]:
    """All that the row of this job was, for a row that it makes (`intake.made_of_another`); and its origin. `known`:
    the customer's own row. Raises keyring.CannotDecrypt, Erased."""
    with of_our_shape(context_of_line(job.batch_id, job.row)):
        line = asdict(decrypt_line(keyring, job.batch_id, job.row, job.encrypted))
    origin = line.pop("origin")
    of_job = {name: getattr(job, name) for name in (*_OF_CUSTOMER, "account")}
    return replace(opened(keyring, known._asdict()), **of_job, **line), origin


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
    alike = {"state": JobState.WAITING, "priority": priority, "detail": "", "result": "", "leader_id": None}
    jobs |= {name: [value] * count for name, value in (alike | {"created_at": now, "changed_at": now}).items()}
    jobs |= {"invite_at": [*invite_at], "due_at": due_at, "reason": reason}
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


def _whole(parts: str, end: str, most: int) -> str:
    """As many of the parts as fit: half of a command would be worse than none."""
    return parts if len(parts) <= most else parts[: most + 1].rpartition(end)[0] or parts[:most]


def refusal_row(batch_id: int, line: RefusedLine) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "row": line.row,
        "duplicate_of": line.duplicate_of,
        "known": _whole(line.known, "; ", LONGEST_KNOWN) or None,
        "customer_id": line.customer_id or None,
        "problems": [asdict(problem) for problem in line.problems],
    }


@dataclass
class Chunk:
    """Lines that are stored together. `customers` and `jobs`: what the accepted ones say of their customers' rows, and
    of their jobs'. `lacks`: as `AcceptedLine` has it, by row. `warnings` are of all lines, each with its row.

    `done`: the lines of the list up to here. `last`: the row of the last of them. `hint`: `CustomerList.hint` up to
    here.
    """

    customers: Columns
    jobs: Columns
    lacks: dict[int, tuple[FieldProblem, ...]]
    refused: list[RefusedLine]
    warnings: list[tuple[int, FieldProblem]]
    done: int = 0
    last: int = 0
    hint: FieldProblem | None = None

    @classmethod
    def of(cls, keyring: Keyring, batch_id: int, lines: Sequence[AcceptedLine | RefusedLine], **more: Any) -> "Chunk":
        """Encrypt what is the customers' of the judged lines. `more`: where they are in their list."""
        accepted = [line for line in lines if isinstance(line, AcceptedLine)]
        return cls(
            customer_values(keyring, [line.customer for line in accepted]),
            job_values(keyring, batch_id, accepted),
            {line.row: line.lacks for line in accepted if line.lacks},
            [line for line in lines if isinstance(line, RefusedLine)],
            [(line.row, warning) for line in lines for warning in line.warnings],
            **more,
        )

    def __len__(self) -> int:
        return len(self.jobs["row"])

    @property
    def keys(self) -> list[Key]:
        return list(zip(self.jobs["customer_id"], self.jobs["purpose"], strict=True))

    def at(self, places: Sequence[int]) -> "Chunk":
        """Of the accepted lines those at these places, in their order."""
        return replace(self, customers=picked(self.customers, places), jobs=picked(self.jobs, places))

    def without(self, rows: Collection[int]) -> "Chunk":
        return self.at([place for place, row in enumerate(self.jobs["row"]) if row not in rows])

    def opened_at(self, keyring: Keyring, places: Sequence[int]) -> list[tuple[int, Customer]]:
        """The accepted lines at these places, each with its row."""
        customers = rows_of(picked(self.customers, places))
        return [(self.jobs["row"][place], opened(keyring, row)) for place, row in zip(places, customers, strict=True)]


# Who was erased on request is remembered by keyed hashes of the ids: no list and no event brings them back unasked.
BY_EVENT = "the customer was erased on request: only `onboard import --allow-erased` brings the customer back"


class Erasure(NamedTuple):
    """When a customer was erased, and whether events cannot undo that."""

    at: datetime
    final: bool


def bury(connection: sa.Connection, keyring: Keyring, customer_id: str, at: datetime, *, final: bool) -> None:
    """Remember that this customer was erased. What is final stays final, and keeps the time of the first erasure.

    Of two erasures by events the later one counts: an event from between them must not bring the customer back.
    """
    digest = keyring.digests(CUSTOMER, customer_id)[0]
    note(connection, Happened.ERASED, [digest], as_of=at, final=final)
    _bury(connection, [{"digest": digest, "erased_at": at, "final": final}])


def bury_again(connection: sa.Connection, noted: Sequence[Note]) -> list[str]:
    """Remember who was erased as a journal has noted; returns the digests of those who were not known as erased."""
    if not noted:
        return []
    digests = [one.digest for one in noted]
    known = {row.digest for row in fetch(connection, _FOUND, {"digests": bulk.keys(digests)})}
    _bury(connection, [{"digest": one.digest, "erased_at": one.as_of, "final": one.final} for one in noted])
    return [digest for digest in digests if digest not in known]


def _bury(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    new = bulk.insert(Tombstone, connection.dialect.name)
    is_final = sa.or_(Tombstone.final, new.excluded.final)
    kept = {"erased_at": sa.case((is_final, Tombstone.erased_at), else_=new.excluded.erased_at), "final": is_final}
    connection.execute(new.on_conflict_do_update(index_elements=["digest"], set_=kept), rows)


_FOUND = sa.select(Tombstone.__table__).where(bulk.among(Tombstone.digest, "digests"))
_ANY = sa.select(sa.exists(sa.select(Tombstone.digest)))


def erased_among(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> Mapping[str, Erasure]:
    # Most databases have none: then nothing is hashed.
    if not customer_ids or not connection.execute(_ANY).scalar_one():
        return {}
    by_digest = {digest: one for one in customer_ids for digest in keyring.digests(CUSTOMER, one)}
    rows = fetch(connection, _FOUND, {"digests": bulk.keys(by_digest)})
    return {by_digest[row.digest]: Erasure(row.erased_at, row.final) for row in rows}


def bring_back(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> None:
    digests = [digest for one in customer_ids for digest in keyring.digests(CUSTOMER, one)]
    gone = sa.delete(Tombstone).where(bulk.among(Tombstone.digest, "digests"))
    connection.execute(gone, {"digests": bulk.keys(digests)})
    note(connection, Happened.BROUGHT_BACK, digests)
