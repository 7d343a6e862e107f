"""Our readers read the sandbox's webhooks: both were written from the providers' pages, and must agree."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_worker.core.model.states import Result, SessionState
from onboarding_worker.providers.webhooks.contract import Delivery, Key
from onboarding_worker.web.webhooks.session_chain import KnownSession
from tests.providers.webhooks.accounts import frankie, idenfy, pem
from tests.sandbox.receiver import receiving
from tests.suite.rsa_keys import OURS as PRIVATE
from tests.suite.waiting import ENDS_WITHIN
from tests.web.webhooks.test_session_updates import known_after_all

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ENTITY = "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77"
COMPLETED, FAILED, EXPIRED = SessionState.COMPLETED, SessionState.FAILED, SessionState.EXPIRED
STARTED, WAITING = SessionState.STARTED, SessionState.WAITING
PEM = PRIVATE.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

BASIC = "Basic " + base64.b64encode(b"sandbox-key:sandbox-secret").decode()
FRANKIE = {"api_key": "sandbox-key", "X-Frankie-CustomerID": "11111111-1111-4111-8111-111111111111"}
PROVIDERS = {
    "idenfy-kyc": ("/idenfy/api/v2/token", {"Authorization": BASIC}, {"clientId": "c-1", "externalRef": "job-1"}),
    "idenfy-kyb": (
        "/idenfy/kyb/tokens/",
        {"Authorization": BASIC},
        {"tokenType": "FORM", "clientId": "c-1", "externalRef": "job-1"},
    ),
    "frankieone-v2": (f"/frankieone/v2/individuals/{ENTITY}/actions/idv/token", FRANKIE, {}),
    "frankieone-hosted": ("/frankieone/v2/individuals/hostedurl", FRANKIE, {"entityId": ENTITY}),
    "frankieone-v1": (
        "/frankieone/idv/v2/idvalidate/token",
        FRANKIE,
        {
            "entity": {
                "entityId": ENTITY,
                "extraData": [{"kvpKey": "customer_reference", "kvpType": "id.external", "kvpValue": "c-1"}],
            }
        },
    ),
}
READERS = {
    "idenfy-kyc": idenfy("idenfy-kyc", "old-key", "sandbox-webhook-key"),
    "idenfy-kyb": idenfy("idenfy-kyb", "sandbox-webhook-key"),
    "frankieone-v1": frankie("frankieone-v1", secret="s3cret", jwt_key=pem(PRIVATE)),
    "frankieone-v2": frankie("frankieone-v2", secret="s3cret", jwt_key=pem(PRIVATE)),
    "frankieone-hosted": frankie("frankieone-hosted", secret="s3cret", jwt_key=pem(PRIVATE)),
}
ENDS = {
    ("idenfy-kyc", "finish"): (COMPLETED, Result.APPROVED),
    ("idenfy-kyc", "deny"): (FAILED, Result.DENIED),
    ("idenfy-kyc", "suspect"): (COMPLETED, Result.SUSPECTED),
    ("idenfy-kyc", "review"): (COMPLETED, Result.APPROVED),
    ("idenfy-kyc", "review-deny"): (FAILED, Result.DENIED),
    ("idenfy-kyc", "fail"): (FAILED, None),
    ("idenfy-kyc", "open"): (EXPIRED, None),
    ("idenfy-kyc", "expire"): (EXPIRED, None),
    ("idenfy-kyc", "never"): (WAITING, None),
    ("idenfy-kyb", "finish"): (COMPLETED, Result.APPROVED),
    ("idenfy-kyb", "deny"): (FAILED, Result.DENIED),
    ("idenfy-kyb", "suspect"): (STARTED, Result.REVIEW),
    ("idenfy-kyb", "review"): (COMPLETED, Result.APPROVED),
    ("idenfy-kyb", "ask"): (COMPLETED, Result.APPROVED),
    ("idenfy-kyb", "expire"): (EXPIRED, None),
    ("frankieone-v1", "finish"): (COMPLETED, Result.UNKNOWN),
    ("frankieone-v1", "fail"): (STARTED, None),
    ("frankieone-v2", "finish"): (COMPLETED, Result.UNKNOWN),
    ("frankieone-v2", "deny"): (COMPLETED, Result.UNKNOWN),
    ("frankieone-v2", "fail"): (STARTED, None),
    ("frankieone-v2", "expire"): (WAITING, None),
    ("frankieone-hosted", "finish"): (COMPLETED, Result.UNKNOWN),
    ("frankieone-hosted", "fail"): (STARTED, None),
}
TROUBLES = [{}, {"twice": True}, {"swapped": True}, {"late": "30d"}, {"twice": True, "swapped": True, "forged": True}]


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


async def played(endpoint, does, *times):
    """The sandbox's answers and deliveries for a customer with this behaviour, once for each of `times`."""
    path, headers, body = PROVIDERS[endpoint]
    options = {"time_scale": 1e9, "webhook_jwt_key": PEM.decode(), "clock": Clock()}
    ends = []
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        url = f"{receiver.url}/webhooks/any"
        webhooks = {"": url, **{name: f"{url}/s3cret" for name in PROVIDERS if name.startswith("frankie")}}
        async with Sandbox(SandboxOptions(webhooks=webhooks, **options)) as sandbox:
            for more in times or [{}]:
                receiver.received.clear()
                async with http.post(sandbox.url + path, json=body, headers=headers) as answer:
                    assert answer.status in (200, 201)
                    opened = await answer.json()
                order = {"session": ENTITY if endpoint.startswith("frankie") else "c-1", "does": does, **more}
                async with http.post(f"{sandbox.url}/_sandbox/customers", json=order) as answer:
                    assert answer.status == 202
                await asyncio.wait_for(sandbox.idle(), ENDS_WITHIN)
                taken = [Delivery(one.body, one.headers, tuple(one.path.split("/")[3:])) for one in receiver.received]
                ends.append((opened, taken))
    return ends


async def test_each_behaviour_ends_as_it_should_whatever_happens_to_its_webhooks(subtests):
    for asked, end in ENDS.items():
        with subtests.test(case="-".join(map(str, asked))):
            endpoint, does = asked
            reader, now = READERS[endpoint], NOW + timedelta(minutes=2)
            for trouble, (_, deliveries) in zip(TROUBLES, await played(endpoint, does, *TROUBLES), strict=True):
                if endpoint == "idenfy-kyb" and "swapped" in trouble and end[0] is STARTED:
                    continue  # a review without a decision has no time, and the same rank as the submission
                genuine = [delivery for delivery in deliveries if not reader.refuses(delivery, now=now)]
                if trouble.get("forged"):
                    assert len(genuine) * 3 == len(deliveries) * 2
                else:
                    assert genuine == deliveries
                # A webhook is stored once: a copy has the same bytes.
                once = list({delivery.body: delivery for delivery in genuine}.values())
                updates = [reader.read(delivery) for delivery in once]
                known = known_after_all(
                    KnownSession(), [(one, now + timedelta(seconds=n)) for n, one in enumerate(updates)]
                )
                assert (known.state, known.result) == end, trouble


async def test_each_event_names_the_session_that_was_opened(subtests):
    for endpoint in PROVIDERS:
        with subtests.test(endpoint=endpoint):
            ((opened, deliveries),) = await played(endpoint, "ask")
            assert deliveries
            known = {
                Key.SCAN_REF: opened.get("scanRef"),
                Key.EXTERNAL_REF: "job-1",
                Key.CLIENT_ID: "c-1",
                Key.TOKEN: opened.get("tokenString"),
                Key.ENTITY_ID: ENTITY,
                Key.CUSTOMER_REFERENCE: "c-1",
            }
            for delivery in deliveries:
                match = READERS[endpoint].read(delivery).match
                key, value = match[0]
                assert known[key] == value
                assert all(known.get(key, value) == value for key, value in match)


@pytest.mark.parametrize("edition", ["current", "idv", "v2.0.0"])
async def test_each_edition_of_frankieones_names_is_read_alike(edition):
    for does, state in (("finish", COMPLETED), ("fail", STARTED)):
        ((_, deliveries),) = await played("frankieone-v2", does, {"edition": edition})
        assert READERS["frankieone-v2"].read(deliveries[-1]).state is state
