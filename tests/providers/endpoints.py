"""The endpoints that the contract suite runs over, each with its own table of answers.

A new endpoint is one more entry in CASES. Sources of the answers: the samples
printed on the providers' pages.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from onboarding_testing.accounts import (
    ENTITY,
    HTML,
    NOW,
    Bad,
    PlainAccount,
    PlainSecret,
    answer,
    company,
    company_request,
    customer,
    request,
)
from onboarding_testing.fakes import FakeHttp, FakeProvider
from onboarding_testing.provider_contract import ProviderCase
from onboarding_worker.core.model.customers import Customer
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.core.model.sessions import SessionRequest
from onboarding_worker.providers.frankieone_hosted import FrankieOneHosted
from onboarding_worker.providers.frankieone_v1 import FrankieOneV1
from onboarding_worker.providers.frankieone_v2 import FrankieOneV2
from onboarding_worker.providers.idenfy_kyb import IdenfyKyb
from onboarding_worker.providers.idenfy_kyc import IdenfyKyc
from tests.providers.accounts import (
    frankie_account,
    frankie_hosted_account,
    frankie_v1_account,
    idenfy_account,
    kyb_account,
    openapi_account,
)
from tests.providers.frankieone_answers import (
    FRANKIE_OPENED,
    HOSTED_BAD,
    HOSTED_OPENED,
    V1_KNOWN_BAD,
    V1_NEW_BAD,
    V1_OPENED,
    V2_BAD,
)
from tests.providers.idenfy_answers import (
    IDENFY_BAD,
    IDENFY_OPENED,
    IDENFY_REFUSES,
    KYB_OPENED,
    OPENAPI_OPENED,
    spoilt_tokens,
)


@dataclass(frozen=True)
class Adapter:
    """One of our own endpoints as its tests use it. `opened`: the answer's fields that open a session."""

    of: Callable[[PlainAccount], Any]
    account: Callable[..., PlainAccount]
    opened: dict[str, Any]
    status: int = 201
    asked: Callable[..., SessionRequest] = request
    customer: Callable[..., Customer] = customer

    @property
    def opens(self) -> HttpAnswer:
        return answer(self.status, self.opened)

    def make(self, **settings: Any) -> Any:
        return self.of(self.account(**settings))

    def body(self, parameters: Any = None, account: Any = None, **fields: Any) -> dict[str, Any]:
        """What is sent for a customer with these fields."""
        return json.loads(self.make(**(account or {})).build(self.asked(parameters, **fields)).body)

    def read(self, account: Any = None, asked: SessionRequest | None = None, **answered: Any) -> Any:
        """What is made of the answer that opens a session, with these fields in it."""
        got = answer(self.status, {**self.opened, **answered})
        return self.make(**(account or {})).read(got, asked or self.asked(), issued_at=NOW, now=NOW)


KYC = Adapter(IdenfyKyc, idenfy_account, IDENFY_OPENED)
OPENAPI = Adapter(IdenfyKyc, openapi_account, OPENAPI_OPENED)
KYB = Adapter(IdenfyKyb, kyb_account, KYB_OPENED, asked=company_request, customer=company)
V1 = Adapter(FrankieOneV1, frankie_v1_account, V1_OPENED, 200)
V2 = Adapter(FrankieOneV2, frankie_account, FRANKIE_OPENED, 200)
HOSTED = Adapter(FrankieOneHosted, frankie_hosted_account, HOSTED_OPENED, 200)

FAKE_BAD = {
    "429": Bad(answer(429), Kind.RATE_LIMITED),
    "401": Bad(answer(401), Kind.AUTH),
    "402": Bad(answer(402), Kind.OUT_OF_CREDIT),
    "400": Bad(answer(400), Kind.BAD_INPUT),
    "409": Bad(answer(409), Kind.CONFLICT),
    "500": Bad(answer(500), Kind.TRANSIENT),
    "html": Bad(answer(200, HTML), Kind.UNKNOWN),
    "no address": Bad(answer(201, {"token": "t", "link": "!", "reference": "r"}), Kind.UNKNOWN),
    "strange host": Bad(answer(201, {"token": "t", "link": "https://other.test/t", "reference": "r"}), Kind.UNKNOWN),
}


def _fake(**settings: Any) -> FakeProvider:
    changing = isinstance(settings.get("api_key"), PlainSecret)
    return FakeProvider(reloads=[True] if changing else [])


def case(adapter: Adapter, token: str, *, repeatable: bool = False, **more: Any) -> ProviderCase:
    """`token`: the field of the answer that has it. Not `repeatable`: another call may cost."""
    return ProviderCase(
        make=adapter.make,
        opened=adapter.opens,
        token=str(adapter.opened[token]),
        provider=adapter.account().provider,
        repeatable=repeatable,
        broken_after_sending=Kind.TRANSIENT if repeatable else Kind.UNKNOWN,
        **{"asked": adapter.asked(), **more},
    )


CASES = {
    "idenfy-kyc": case(
        KYC,
        "authToken",
        reference=str(IDENFY_OPENED["scanRef"]),
        lives=timedelta(days=3),
        bad=IDENFY_BAD,
        call="POST /api/v2/token",
        listing="GET /kyc/identifications/",
    ),
    "idenfy-kyc-openapi": case(
        OPENAPI,
        "tokenString",
        reference=str(OPENAPI_OPENED["scanRef"]),
        lives=timedelta(days=2),
        bad=IDENFY_REFUSES | spoilt_tokens(OPENAPI_OPENED),
        call="POST /api/v2/token",
        listing="GET /kyc/identifications/",
    ),
    "idenfy-kyb": case(
        KYB,
        "tokenString",
        reference=str(KYB_OPENED["externalRef"]),
        lives=timedelta(days=7),
        bad=IDENFY_REFUSES | spoilt_tokens(KYB_OPENED),
        reissued_early=True,
        call="POST /kyb/tokens/",
    ),
    "frankieone-v1": case(
        V1,
        "token",
        reference=ENTITY,
        lives=timedelta(hours=1),
        bad=V1_KNOWN_BAD,
        repeatable=True,  # at worst one more token for the same entity
        asked=request(entity_id=ENTITY),
        reissued_early=True,
        call="POST /idv/v2/idvalidate/token",
    ),
    "frankieone-v1, new entity": case(
        V1,
        "token",
        reference=ENTITY,
        lives=timedelta(hours=1),
        bad=V1_NEW_BAD,
        asked=request(entity_id=""),
        reissued_early=True,
        call="POST /idv/v2/idvalidate/token",
    ),
    "frankieone-v2": case(
        V2,
        "token",
        reference="7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77",
        lives=timedelta(hours=1, minutes=30),
        bad=V2_BAD,
        repeatable=True,  # the same call returns the same token
        call="POST /v2/individuals/7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77/actions/idv/token",
    ),
    "frankieone-hosted": case(
        HOSTED,
        "url",
        reference=ENTITY,
        lives=timedelta(days=7),
        bad=HOSTED_BAD,
        repeatable=True,  # at worst one more address
        reissued_early=True,
        call="POST /v2/individuals/hostedurl",
    ),
    "fake": ProviderCase(
        make=_fake,
        opened=FakeHttp().session(1),
        token="token-00000001",
        reference="session-1",
        lives=timedelta(days=7),
        bad=FAKE_BAD,
        broken_after_sending=Kind.UNKNOWN,
        repeatable=False,
    ),
}
