"""Customers who may have come under another id before: their address is that of a customer with a live link. A system
writes one id in several forms (`lists.same_person.is_same_id`). Two people may share an address: this is a warning."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.customers.customers import FieldProblem
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.job_ids import IS_LIVE
from onboarding_worker.core.database.tables import CustomerRow, SessionRow
from onboarding_worker.core.model.channels import ADDRESSES
from onboarding_worker.lists.same_person import is_same_id

Digests = tuple[int, str, str | None, str | None]  # a row, its customer, and the digests of the two addresses
_ONE_ID = "the same id in another form? the customer would have two sessions: write the id as it was"
_TWO = "one person under two ids has two sessions: write the id as it was; two people who share the address may go on"
_OPENS = (IS_LIVE, SessionRow.past.is_(False), SessionRow.expires_at > sa.bindparam("now"))
_ANY = sa.select(sa.exists(sa.select(SessionRow.id).where(*_OPENS)))
_THEIRS = [
    (name, sa.select(CustomerRow.customer_id, digest.label("digest")).where(bulk.among(digest, "digests")))
    for name, digest in zip(ADDRESSES, (CustomerRow.email_digest, CustomerRow.phone_digest), strict=True)
]
_OF_CUSTOMER = sa.exists().where(SessionRow.customer_id == CustomerRow.customer_id, *_OPENS)


def has_links(connection: sa.Connection, *, now: datetime) -> bool:
    """Whether any customer has a live link. On a new database none has: then no address is looked up."""
    return bool(connection.execute(_ANY, {"now": now}).scalar_one())


def with_their_address(
    connection: sa.Connection, rows: Iterable[Digests], *, now: datetime
) -> list[tuple[int, FieldProblem]]:
    """A warning for each of these rows of new customers whose address a customer with a live link has."""
    rows, found = list(rows), dict[int, FieldProblem]()
    for place, (name, query) in enumerate(_THEIRS, 2):
        digests = {row[place] for row in rows} - {None}
        if not digests:
            continue
        others: dict[str, list[str]] = {}
        asked = {"digests": bulk.keys(digests), "now": now}
        for one in fetch(connection, query.where(_OF_CUSTOMER).order_by(CustomerRow.customer_id), asked):
            others.setdefault(one.digest, []).append(one.customer_id)
        for number, customer_id, *of_row in rows:
            theirs = [one for one in others.get(of_row[place - 2] or "", ()) if one != customer_id]
            if theirs and number not in found:
                found[number] = _warning(name, customer_id, theirs)
    return sorted(found.items())


def _warning(address: str, customer_id: str, others: Sequence[str]) -> FieldProblem:
    same = next((other for other in others if is_same_id(customer_id, other)), "")
    told = f"{customer_id} has the {address} of customer {same or others[0]}, who has a live link"
    return FieldProblem("customer_id", told, _ONE_ID if same else _TWO)
