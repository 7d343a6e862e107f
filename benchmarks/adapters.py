"""What building a request and reading an answer cost: `python -m benchmarks.adapters`.

For each endpoint: an account with the configuration's defaults, a customer's request, and an answer with a session.
The output has a line for each endpoint: its name, and the microseconds of processor time to build and to read.
"""

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from benchmarks.processes import Failed
from worker.domain.model.customers import Customer, CustomerKind, Person
from worker.domain.model.sessions import Session, SessionRequest
from worker.providers.account import Prefill
from worker.providers.contract import HttpAnswer
from worker.providers.registry import build_provider

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ENTITY = "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77"
TOKEN = "pgYQX0z2T8mtcpNj9I20uWVCLKNuG0vgr12f0wAC"  # noqa: S105  # invented
PERSON = Person(
    email="aoife.nibhriain@example.org",
    phone="+353851234567",
    first_name="Aoife",
    last_name="Ní Bhriain",
    date_of_birth=date(1994, 7, 19),
    sex="F",
    nationality="IE",
    address="14 Pelham Street, Dublin",
)
ANSWERS = 4_000
ROUNDS = 7


class Key:
    """A secret of an invented account."""

    def reveal(self) -> str:
        return "key-Kq3xVt9sLw"

    def reload(self) -> bool:
        return False


KEY = Key()


@dataclass(frozen=True)
class Account:
    """An account with the configuration's defaults."""

    provider: str
    base_url: str
    link_hosts: tuple[str, ...]
    name: str = "bench"
    dialect: str = "narrative"
    api_key: Key = KEY
    api_secret: Key = KEY
    customer_id: Key = KEY
    customer_child_id: None = None
    channel: None = None
    lifetime: timedelta | None = None
    prefill: Prefill = "none"
    link: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    unchecked: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """One of the five calls: whose account, what it is asked for, and the answer."""

    settings: Account
    answer: Mapping[str, Any]
    asked: SessionRequest

    def account(self, *, base_url: str) -> Account:
        return replace(self.settings, base_url=base_url)


def _asked(**fields: Any) -> SessionRequest:
    customer = Customer(**{"customer_id": "C-88123", "person": PERSON, **fields})
    return SessionRequest(customer, external_ref="c0ffee00aa11", entity_id=customer.entity_id)


IDENFY, FRANKIE = "https://ivs.idenfy.com", "https://api.uat.frankie.one"
LINK, LINK_HOSTS = "https://verify.example.com/start#token={token}", ("verify.example.com",)
KYC = Endpoint(
    Account("idenfy-kyc", IDENFY, ("ivs.idenfy.com", "ui.idenfy.com"), lifetime=timedelta(days=7)),
    {"message": "Token created successfully", "authToken": TOKEN, "scanRef": ENTITY, "clientId": "C-88123"}
    | {"firstName": None, "lastName": None, "successUrl": None, "errorUrl": None, "locale": "en", "expiryTime": 604800}
    | {
        "sessionLength": 600,
        "country": None,
        "documents": ["ID_CARD", "PASSPORT"],
        "digitString": None,
        "isValid": True,
    }
    | {"tokenType": "IDENTIFICATION", "externalRef": "c0ffee00aa11"},
    _asked(),
)
ENDPOINTS = {
    "idenfy-kyc": KYC,
    "idenfy-kyc, openapi": Endpoint(
        replace(KYC.settings, dialect="openapi"),
        {"tokenString": TOKEN, "scanRef": ENTITY, "clientId": "C-88123", "expiration": "2026-11-27T00:00:00Z"}
        | {"sessionUrl": f"https://ui.idenfy.com/session?authToken={TOKEN}", "tokenType": "IDENTIFICATION"},
        _asked(),
    ),
    "idenfy-kyb": Endpoint(
        Account("idenfy-kyb", IDENFY, ("kyb.ui.idenfy.com", "ivs.idenfy.com"), lifetime=timedelta(days=7)),
        {"tokenString": TOKEN, "clientId": "ORG-7710", "tokenType": "FORM", "isValid": True, "companyId": None}
        | {"externalRef": "c0ffee00aa11", "expiration": "2026-11-27T00:00:00+00:00", "locale": "en", "tags": []},
        _asked(customer_id="ORG-7710", kind=CustomerKind.COMPANY),
    ),
    "frankieone-v1": Endpoint(
        Account("frankieone-v1", FRANKIE, LINK_HOSTS, link=LINK, prefill="all"),
        {"token": TOKEN, "entity": {"entityId": ENTITY, "entityType": "INDIVIDUAL"}, "applicantId": "a-1"}
        | {"requestId": "r-1", "provider": "onfido", "vendorParameters": {"region": "EU"}},
        _asked(entity_id=ENTITY, consent=True),
    ),
    "frankieone-v2": Endpoint(
        Account("frankieone-v2", FRANKIE, LINK_HOSTS, link=LINK),
        {"token": TOKEN, "tokenExpiry": "2026-11-20T01:30:00.000Z", "applicantId": "a-1", "requestId": "r-1"}
        | {"provider": "onfido", "vendorParameters": {"region": "EU"}},
        _asked(entity_id=ENTITY),
    ),
}


def microseconds(function: Callable[[HttpAnswer], object], answers: Sequence[HttpAnswer]) -> float:
    """The processor time of one call of `function`: the median of some rounds, each over all answers."""

    def one_round() -> float:
        began = time.thread_time()
        for answer in answers:
            function(answer)
        return 1e6 * (time.thread_time() - began) / len(answers)

    one_round()
    gc.collect()
    return statistics.median(one_round() for _ in range(ROUNDS))


def measured(endpoint: Endpoint) -> tuple[float, float]:
    """Microseconds to build a request, and to read its answer."""
    provider, asked = build_provider(endpoint.settings), endpoint.asked
    text = json.dumps(endpoint.answer)
    bodies = [text.replace(TOKEN, f"{TOKEN}{number}").encode() for number in range(ANSWERS)]  # each has its own token
    answers = [HttpAnswer(201, {"content-type": "application/json"}, body) for body in bodies]

    def read(answer: HttpAnswer) -> bool:
        return isinstance(provider.read(answer, asked, issued_at=NOW, now=NOW), Session)

    if not all(map(read, answers)):
        raise Failed("an answer has no session")
    return microseconds(lambda _: provider.build(asked), answers), microseconds(read, answers)


if __name__ == "__main__":
    for name, endpoint in ENDPOINTS.items():
        build, read = measured(endpoint)
        print(f"{build:.1f} {read:.1f} {name}")
