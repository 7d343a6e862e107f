"""Accounts and requests for tests of adapters. All people in them are invented."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from worker.core.customers.customers import Customer, CustomerKind, Person
from worker.core.model.sessions import SessionRequest
from worker.providers.account import Prefill

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
API_KEY = "key-Kq3xVt9sLw"
API_SECRET = "secret-Zr7nBm2cPd"
ENTITY = "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77"


@dataclass
class PlainSecret:
    value: str = field(repr=False)
    next_values: list[str] = field(default_factory=list, repr=False)

    def reveal(self) -> str:
        return self.value

    def reload(self) -> bool:
        if not self.next_values:
            return False
        before, self.value = self.value, self.next_values.pop(0)
        return self.value != before


@dataclass(frozen=True)
class PlainAccount:
    """An account as the configuration gives it, with its defaults."""

    name: str
    provider: str
    base_url: str
    api_key: PlainSecret | None = field(default_factory=lambda: PlainSecret(API_KEY))
    api_secret: PlainSecret | None = field(default_factory=lambda: PlainSecret(API_SECRET))
    customer_id: PlainSecret | None = None
    customer_child_id: PlainSecret | None = None
    channel: str | None = None
    dialect: str = "narrative"
    lifetime: timedelta | None = None
    prefill: Prefill = "none"
    link: str | None = None
    link_hosts: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    unchecked: Mapping[str, Any] = field(default_factory=dict)


AOIFE = Person(
    email="aoife.nibhriain@example.org",
    phone="+353851234567",
    first_name="Aoife",
    last_name="Ní Bhriain",
    date_of_birth=date(1994, 7, 19),
    sex="F",
    nationality="IE",
    address="14 Pelham Street, Dublin",
)


def customer(**fields: Any) -> Customer:
    return Customer(**{"customer_id": "C-88123", "person": AOIFE, "entity_id": ENTITY, **fields})


def company(**fields: Any) -> Customer:
    return customer(**{"customer_id": "ORG-7710", "kind": CustomerKind.COMPANY, "entity_id": "", **fields})


def company_request(parameters: Mapping[str, Any] | None = None, **fields: Any) -> SessionRequest:
    return request(parameters, **{"customer_id": "ORG-7710", "kind": CustomerKind.COMPANY, "entity_id": "", **fields})


def request(
    parameters: Mapping[str, Any] | None = None,
    external_ref: str = "c0ffee00aa11",
    applicant_id: str = "",
    **fields: Any,
) -> SessionRequest:
    person = customer(**fields)
    return SessionRequest(
        person,
        external_ref,
        entity_id=person.entity_id,
        parameters=parameters or {},
        applicant_id=applicant_id,
    )


def shown_of(person: Person) -> set[str]:
    """Every form of the person's values that no message may show."""
    values = {person.email, person.phone, person.first_name, person.last_name, person.address}
    values |= {person.date_of_birth.isoformat()} if person.date_of_birth else set()
    return {form for value in values if value for form in (value, value.upper(), value.lower())}
