"""The rows that an accepted or refused line becomes: customer, job, skipped line."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from worker.domain.limits.failover import joined
from worker.domain.model.customers import Customer, FieldProblem
from worker.domain.model.reasons import Reason
from worker.domain.model.states import JobState
from worker.foundation.keyring import Keyring
from worker.store.base.customer_keys import Key
from worker.store.base.encrypted_values import contact_digests, encrypt_line, encrypt_person


@dataclass  # not frozen: see `domain.model.customers`
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


class SealedLine(NamedTuple):
    """An accepted line as those values of its rows that no transaction decides: encrypted, and of plain types.

    So they can be made before the transaction, in another process too.
    """

    row: int
    key: Key
    customer: dict[str, Any]
    job: dict[str, Any]
    quiet_until: datetime | None
    planned_at: datetime | None


LONGEST_KNOWN = 200
WAS_ERASED = FieldProblem(
    "customer_id",
    "the customer was erased on request",
    "leave the row out; or use --allow-erased to bring the customer back",
)


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
    """The line of a customer who was erased on request, refused."""
    return RefusedLine(row, customer_id, (WAS_ERASED,))


def seal(keyring: Keyring, batch_id: int, line: AcceptedLine) -> SealedLine:
    """Encrypt what is the customer's. A ring with `customer_keys` must have the customer's."""
    customer = line.customer
    return SealedLine(
        line.row,
        (customer.customer_id, customer.purpose),
        _customer_values(keyring, customer),
        job_values(keyring, batch_id, line),
        line.quiet_until,
        line.planned_at,
    )


# What newer details of a known customer replace, whether a list or an event brings them.
DETAILS = (
    "kind",
    "country",
    "locale",
    "timezone",
    "encrypted",
    "email_digest",
    "phone_digest",
    "details_at",
    "changed_at",
)


def customer_row(keyring: Keyring, customer: Customer, *, details_at: datetime, now: datetime) -> dict[str, Any]:
    """A new customer. `details_at` is the time that the details are from."""
    return {**_customer_values(keyring, customer), "details_at": details_at, "created_at": now, "changed_at": now}


def _customer_values(keyring: Keyring, customer: Customer) -> dict[str, Any]:
    return {
        "customer_id": customer.customer_id,
        "kind": customer.kind,
        "country": customer.country,
        "locale": customer.locale,
        "timezone": customer.timezone,
        "encrypted": encrypt_person(keyring, customer.customer_id, customer.person),
        **contact_digests(keyring, customer.person),
    }


def job_values(keyring: Keyring, batch_id: int, line: AcceptedLine) -> dict[str, Any]:
    """What the line says of its job."""
    customer = line.customer
    return {
        "batch_id": batch_id,
        "row": line.row,
        "customer_id": customer.customer_id,
        "purpose": customer.purpose,
        "channel": customer.channel,
        "template": customer.template,
        "entity_id": customer.entity_id,
        "consent": customer.consent,
        "encrypted": encrypt_line(keyring, batch_id, line.row, customer),
        "account": line.account,
        "route": line.route[:200],
        "floor_seconds": line.floor_seconds,
        "fallback_accounts": joined(line.account, line.fallback_accounts),
        "freshness_seconds": line.freshness_seconds,
    }


def job_row(
    values: Mapping[str, Any],
    followed: Mapping[Key, Mapping[str, Any]],
    *,
    priority: int,
    now: datetime,
    quiet_until: datetime | None,
    planned_at: datetime | None = None,
    invite_at: datetime | None = None,
) -> dict[str, Any]:
    """A new job with these `job_values`. `followed` has what it gets if its customer is served already, see
    `admission.following`."""
    # A customer in the app gets the link there at any hour.
    in_app = invite_at is not None and invite_at > now
    quiet_until = None if in_app else quiet_until
    quiet = quiet_until is not None and quiet_until > now
    job: dict[str, Any] = {
        **values,
        "invite_at": invite_at,
        "state": JobState.WAITING,
        "due_at": quiet_until if quiet else now,
        "priority": priority,
        "lease_owner": "",
        "fence": 0,
        "attempts": 0,
        "waits": 0,
        "reissues": 0,
        "reason": Reason.QUIET_HOURS if quiet else "",
        "detail": "",
        "result": "",
        "joins": None,
        "created_at": now,
        "changed_at": now,
    }
    if planned_at is not None and planned_at > job["due_at"]:
        job |= {"due_at": planned_at, "reason": Reason.PLANNED}
    served = followed.get((values["customer_id"], values["purpose"])) if followed else None
    return job | dict(served) if served else job


CANCELLED: dict[str, Any] = {
    "state": JobState.CANCELLED,
    "due_at": None,
    "joins": None,
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
