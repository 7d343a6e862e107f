"""What the contract of adapters runs over: accounts and requests, in which all people are invented; and one endpoint
with answers of its provider and what they mean.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from onboarding_worker.adapters.settings import Prefill
from onboarding_worker.core.model.customers import Customer, CustomerKind, Person
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.providers.contract import HttpAnswer, Provider

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
    per_row: tuple[str, ...] = ()


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
        person, external_ref, entity_id=person.entity_id, parameters=parameters or {}, applicant_id=applicant_id
    )


def shown_of(person: Person) -> set[str]:
    """Every form of the person's values that no message may show."""
    values = {person.email, person.phone, person.first_name, person.last_name, person.address}
    values |= {person.date_of_birth.isoformat()} if person.date_of_birth else set()
    return {form for value in values if value for form in (value, value.upper(), value.lower())}


HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"


def answer(status: int, body: Any = None, **headers: str) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@dataclass(frozen=True)
class Bad:
    """An answer that opens no session, with the expected kind, and the provider's code and text that must be kept."""

    answer: HttpAnswer
    kind: Kind
    code: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class ProviderCase:
    """One endpoint, with answers of its provider and what they mean. `make` builds the adapter of an account with the
    credentials of `onboarding_testing.accounts`; its arguments replace the account's settings.

    `bad` has an answer for each documented error. `of_provider`: the answers are a provider's, not those of a fake.

    `call` is the method and the path of the call that opens a session, and `listing` those of the look-up, "" if there
    is none: "POST /v1/sessions". Copy both from the provider's page, not from the adapter.
    """

    make: Callable[..., Provider]
    opened: HttpAnswer
    token: str
    reference: str
    lives: timedelta  # from `accounts.NOW`, with `opened`
    bad: Mapping[str, Bad]
    broken_after_sending: Kind
    repeatable: bool
    asked: SessionRequest = field(default_factory=request)
    reissued_early: bool = False  # a new session makes sense before the old one has ended
    provider: str = ""  # the name of its entry point; "" for a fake
    call: str = ""
    listing: str = ""

    @property
    def of_provider(self) -> bool:
        return bool(self.provider)


def read(endpoint: ProviderCase, got: HttpAnswer, **settings: Any) -> Session | Problem:
    return endpoint.make(**settings).read(got, endpoint.asked, issued_at=NOW, now=NOW + timedelta(seconds=1))


def opened(endpoint: ProviderCase) -> Session:
    session = read(endpoint, endpoint.opened)
    assert isinstance(session, Session)
    return session


def problem_in(endpoint: ProviderCase, got: HttpAnswer) -> Problem:
    problem = read(endpoint, got)
    assert isinstance(problem, Problem)
    return problem
