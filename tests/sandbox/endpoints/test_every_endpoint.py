"""Limits, latency and faults do the same at every provider endpoint."""

import json

import pytest

from onboarding_sandbox import Fault, Latency, RateLimit
from onboarding_sandbox.server import LONG_AGO
from tests.sandbox.customers import ENTITY, KYB, KYC

NESTED = {"clientId": "c-1", "tokenType": "IDENTIFICATION", "lifetime": 60}
CALLS = {
    "narrative": ("idenfy-kyc", KYC, {"clientId": "c-1"}),
    "openapi": ("idenfy-kyc", KYC, NESTED),
    "kyb": ("idenfy-kyb", KYB, {"clientId": "c-1", "tokenType": "FORM"}),
    "v1": ("frankieone-v1", "/frankieone/idv/v2/idvalidate/token", {"entity": {"entityId": ENTITY}}),
    "v2": ("frankieone-v2", f"/frankieone/v2/individuals/{ENTITY}/actions/idv/token", {}),
    "hosted": ("frankieone-hosted", "/frankieone/v2/individuals/hostedurl", {"customerRef": "c-1"}),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


async def make(caller, call):
    endpoint, path, body = call
    provider = caller.idenfy if endpoint.startswith("idenfy") else caller.frankieone
    return await provider(body, path=path)


async def test_a_fault_of_one_endpoint_is_that_endpoints(start, subtests):
    for what, call in CALLS.items():
        with subtests.test(what=what):
            caller = await start(faults=(Fault("503", 1.0, endpoint=call[0]),))

            hit = {name for name, other in CALLS.items() if (await make(caller, other))[0] == 503}

            assert hit == {name for name, other in CALLS.items() if other[0] == call[0]}


@calls
async def test_every_status_can_be_requested_with_the_providers_text(start, call, subtests):
    for status in ["401", "402", "403", "408", "429", "500", "502", "503", "504"]:
        with subtests.test(status=status):
            caller = await start(faults=(Fault(status, 1.0),))

            got, _, body = await make(caller, call)

            assert got == int(status)
            assert body
            assert caller.sandbox.log[0]["processed"] is False


async def test_a_limit_is_the_endpoints_or_the_providers(start, subtests):
    for what, call in CALLS.items():
        with subtests.test(what=what):
            caller = await start(limits=(RateLimit(1, call[0]),))

            assert [(await make(caller, call))[0] for _ in range(2)][1] == 429


async def test_idenfys_endpoints_share_a_limit_and_frankieones_do(start):
    caller = await start(limits=(RateLimit(1),))

    answers = [(await make(caller, CALLS[name]))[0] for name in ("narrative", "kyb", "openapi", "v1", "v2")]

    assert answers == [201, 429, 429, 200, 429]


async def test_a_latency_can_be_one_endpoints(start, subtests):
    for what, call in CALLS.items():
        with subtests.test(what=what):
            caller = await start(latencies=(Latency.parse(f"{call[0]}=1ms"),))

            assert (await make(caller, call))[0] in (200, 201)


async def test_an_answer_can_be_wrong_in_one_thing(start, subtests):
    for kind in ["past-expiry", "strange-link", "wrong-token"]:
        for what, call in CALLS.items():
            with subtests.test(what=what, kind=kind):
                caller = await start(faults=(Fault(kind, 1.0),))

                status, _, body = await make(caller, call)

                assert status in (200, 201)
                (entry,) = caller.sandbox.log
                assert (entry["fault"], entry["processed"]) == (kind, True)
                shown = json.dumps(body)
                token = next(body[name] for name in ("authToken", "tokenString", "token", "url") if name in body)
                assert isinstance(token, str) is (kind != "wrong-token")
                assert ("phishing" in shown) is (
                    kind == "strange-link" and call[0] != "idenfy-kyb"
                )  # a form's answer has no link
                assert (LONG_AGO in shown or body.get("expiryTime") == -3600) is (kind == "past-expiry")


async def test_a_refusal_is_not_spoilt(start):
    caller = await start(faults=(Fault("wrong-token", 1.0),))

    status, _, body = await caller.idenfy({"clientId": ""})

    assert (status, body["identifier"]) == (400, "BAD_VALUE")
    assert caller.sandbox.log[0]["processed"] is False
