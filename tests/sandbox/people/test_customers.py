"""The sandbox simulates the customers, and sends the webhooks that providers would send."""

import asyncio
import base64
import json
import logging
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from onboarding_sandbox import Fault, Sandbox, SandboxOptions
from onboarding_sandbox.options import Share
from tests.sandbox.customers import ENTITY, KYB, all_customers, customer, done, instruct, sent
from tests.suite.waiting import ENDS_WITHIN

# By themselves


async def test_a_customer_who_finishes_causes_a_signed_webhook(begin, receiver, clock):
    caller = await begin(**all_customers("finish"))
    _, _, session = await caller.idenfy({"clientId": "c-1", "externalRef": "job-1"})
    await done(caller)

    (webhook,) = receiver.received
    assert webhook.path == "/webhooks/idenfy-kyc"
    assert webhook.headers["idenfy-event-type"] == "IDENTIFICATION_AUTO_FINISHED"
    assert webhook.is_idenfys()
    fields = webhook.fields
    assert (fields["final"], fields["status"]["overall"]) == (True, "APPROVED")
    assert (fields["scanRef"], fields["clientId"], fields["externalRef"]) == (session["scanRef"], "c-1", "job-1")
    assert fields["finishTime"] == int(clock.now.timestamp())


async def test_by_message_a_customer_acts_once_a_message_with_the_link_has_arrived(begin, receiver):
    caller = await begin(customers_by_message=True, **all_customers("finish"))
    session = await customer(caller)
    assert receiver.received == []

    for _ in range(2):  # the second is a reminder
        text = f"Open it: https://ivs.idenfy.com/api/v2/redirect?authToken={session['authToken']}."
        caller.sandbox.visitors.got("ona@example.com", text)
    await done(caller)
    assert len(receiver.received) == 1


async def test_what_was_answered_is_in_the_log(begin, receiver):
    caller = await begin(**all_customers("finish"))
    await customer(caller)

    (entry,) = sent(caller)
    facts = ("status", "processed", "event", "client", "attempt", "fault")
    assert [entry[fact] for fact in facts] == [200, True, "IDENTIFICATION_AUTO_FINISHED", "c-1", 1, None]
    _, _, text = await caller.ask("GET", "/_sandbox/log", params={"endpoint": "webhooks"})
    assert json.loads(text)["url"] == f"{receiver.url}/webhooks/idenfy-kyc"


async def test_a_customer_whose_answer_was_lost_still_has_a_session(begin, receiver):
    caller = await begin(faults=(Fault("500", 1.0, processed=True),), **all_customers("finish"))
    await customer(caller)
    assert len(receiver.received) == 1


async def test_without_instructions_customers_do_nothing(begin, receiver):
    caller = await begin()
    await customer(caller)
    assert receiver.received == []
    assert [one.state for one in caller.sandbox.customers.sessions] == ["waiting"]


async def test_a_customer_who_comes_too_late_finds_the_link_dead(begin, receiver):
    days = timedelta(days=8)
    caller = await begin(customers_after=(days, days), **all_customers("finish"))
    await caller.idenfy({"clientId": "c-1", "expiryTime": 7 * 86_400})
    await done(caller)
    (webhook,) = receiver.received
    assert webhook.fields["status"]["overall"] == "EXPIRED"


async def test_many_customers_behave_in_their_shares_and_the_same_again(begin, receiver):
    shares = (Share("finish", 0.5), Share("deny", 0.2), Share("expire", 0.1))
    caller = await begin(customers=shares)
    for _ in range(2):
        for number in range(40):
            await caller.idenfy({"clientId": f"c-{number}"})
        await done(caller)
        await caller.ask("POST", "/_sandbox/reset")
    verdicts = sorted((one.fields["clientId"], one.fields["status"]["overall"]) for one in receiver.received)
    assert verdicts[::2] == verdicts[1::2]
    assert {overall for _, overall in verdicts} == {"APPROVED", "DENIED", "EXPIRED"}
    assert len(verdicts) < 80


async def test_the_listing_has_the_status_of_a_session(begin):
    caller = await begin(**all_customers("deny"))
    await customer(caller)
    _, _, listed = await caller.listing(clientId="c-1")
    assert [one["status"] for one in listed["results"]] == ["DENIED"]


async def test_a_reset_stops_the_customers(begin, receiver):
    caller = await begin(time_scale=1, **all_customers("finish"))
    await caller.idenfy({"clientId": "c-1"})
    await caller.ask("POST", "/_sandbox/reset")
    await done(caller)
    assert receiver.received == []
    assert caller.sandbox.customers.sessions == []


async def test_it_ends_although_customers_are_about_to_act(begin, caplog):
    caller = await begin(time_scale=1, **all_customers("finish"))
    await caller.idenfy({"clientId": "c-1"})
    await instruct(caller, session="c-1", does="finish", late=3600)
    await asyncio.sleep(0)
    await asyncio.wait_for(caller.sandbox.stop(), ENDS_WITHIN)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# As they are instructed


async def test_a_customer_is_instructed_by_token_reference_or_client(begin, receiver):
    caller = await begin()
    for client, name in (("c-1", "authToken"), ("c-2", "scanRef"), ("c-3", "clientId")):
        _, _, session = await caller.idenfy({"clientId": client})
        status, answer = await instruct(caller, session=session[name], does="deny")
        assert (status, answer["events"]) == (202, ["IDENTIFICATION_AUTO_FINISHED"])
        assert answer["session"]["client"] == client
        await done(caller)
    assert [webhook.fields["clientId"] for webhook in receiver.received] == ["c-1", "c-2", "c-3"]


async def test_a_review_causes_two_webhooks_with_the_same_times(begin, receiver, clock):
    caller = await begin()
    await customer(caller, "review-deny", review="2d")
    first, second = (webhook.fields for webhook in receiver.received)
    assert (first["final"], first["status"]["overall"]) == (False, "REVIEWING")
    assert (second["final"], second["status"]["overall"]) == (True, "DENIED")
    assert first["finishTime"] == second["finishTime"]


async def test_swapped_webhooks_come_in_the_wrong_order(begin, receiver):
    caller = await begin()
    await customer(caller, "review", swapped=True)
    assert [webhook.fields["final"] for webhook in receiver.received] == [True, False]


async def test_a_webhook_that_is_sent_twice_is_the_same_to_the_last_byte(begin, receiver):
    caller = await begin()
    await customer(caller, "finish", twice=True)
    first, second = receiver.received
    assert (first.body, first.headers["idenfy-signature"]) == (second.body, second.headers["idenfy-signature"])


async def test_a_forged_webhook_comes_before_the_genuine_one(begin, receiver):
    caller = await begin()
    receiver.answers = [401]
    await customer(caller, "finish", forged=True)
    assert [webhook.is_idenfys() for webhook in receiver.received] == [False, True]
    assert [(entry["status"], entry["fault"]) for entry in sent(caller)] == [(401, "forged"), (200, "forged")]


async def test_late_webhooks_come_later_than_what_they_report(begin, receiver):
    # An hour of the customers' time is a tenth of a second here.
    caller = await begin(time_scale=36_000)
    await caller.idenfy({"clientId": "c-1"})
    await instruct(caller, session="c-1", does="finish", late="10h")
    await instruct(caller, session="c-1", does="deny")
    await done(caller)
    assert [webhook.fields["status"]["overall"] for webhook in receiver.received] == ["DENIED", "APPROVED"]


async def test_troubles_may_happen_to_a_share_of_all_sessions(begin, receiver):
    caller = await begin(webhook_troubles=(Share("twice", 1.0),), **all_customers("finish"))
    await customer(caller)
    assert len(receiver.received) == 2
    assert {entry["fault"] for entry in sent(caller)} == {"twice"}


async def test_another_address_and_key_may_be_set_for_one_session(begin, receiver):
    caller = await begin(webhooks={})
    await caller.idenfy({"clientId": "c-1"})
    assert (await instruct(caller, session="c-1", does="finish"))[0] == 400
    assert (await instruct(caller, session="c-1", does="finish", url=f"{receiver.url}/mine", key="k"))[0] == 202
    await done(caller)
    (webhook,) = receiver.received
    assert webhook.path == "/mine"
    assert webhook.is_idenfys(b"k")


async def test_an_invalid_instruction_is_refused_with_the_reason(begin, subtests):
    for fields, status, hint in [
        ({"session": "nobody", "does": "finish"}, 404, "no session"),
        ({"session": 7, "does": "finish"}, 404, "no session"),
        ({"session": "c-1", "does": "dance"}, 400, "finish"),
        ({"session": "c-1", "does": []}, 400, "finish"),
        ({"session": "c-1"}, 400, "finish"),
        ({"does": "finish"}, 400, "session"),
        ({"session": "c-1", "text": "SM1", "does": "finish"}, 400, "one of"),
        ({"session": "c-1", "does": "finish", "after": -1}, 400, "after"),
        ({"session": "c-1", "does": "finish", "after": "soon"}, 400, "expected a time"),
        ({"session": "c-1", "does": "finish", "twice": "yes"}, 400, "twice"),
        ({"session": "c-1", "does": "finish", "speed": 1}, 400, "unknown: speed"),
        ({"session": "c-1", "does": "finish", "url": "file:///etc/passwd"}, 400, "http"),
        ({"session": "c-1", "does": "finish", "url": "http://[::1"}, 400, ""),
        ({"session": "c-1", "does": "finish", "edition": "last"}, 400, "current"),
        ({"session": "c-1", "does": "finish", "edition": []}, 400, "current"),
        ({"text": "SM1", "does": "delivered"}, 404, "no text"),
        ({"mail": "<1@x>", "does": "bounced"}, 404, "no mail"),
    ]:
        with subtests.test(fields=fields, status=status, hint=hint):
            caller = await begin()
            await caller.idenfy({"clientId": "c-1"})
            answered, answer = await instruct(caller, **fields)
            assert answered == status
            assert hint in answer["error"]


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"[" * 10_000])
async def test_an_instruction_that_is_no_json_object_is_refused_with_the_reason(begin, raw):
    caller = await begin()
    status, _, answer = await caller.ask("POST", "/_sandbox/customers", data=raw)
    assert (status, "error" in answer) == (400, True)


async def test_all_sessions_and_what_their_customers_do_are_shown(begin):
    caller = await begin(time_scale=1)
    await caller.idenfy({"clientId": "c-1"})
    await caller.frankieone()
    await instruct(caller, session="c-1", does="open")
    _, _, shown = await caller.ask("GET", "/_sandbox/customers")
    assert [(one["endpoint"], one["does"], one["state"]) for one in shown] == [
        ("idenfy-kyc", "open", "opened"),
        ("frankieone-v2", "", "waiting"),
    ]
    _, _, one = await caller.ask("GET", "/_sandbox/customers", params={"client": ENTITY})
    assert [session["reference"] for session in one] == [ENTITY]


# Companies and entities


async def test_a_company_submits_its_form_and_is_reviewed(begin, receiver):
    caller = await begin()
    _, _, form = await caller.idenfy({"tokenType": "FORM", "clientId": "c-77", "externalRef": "job-c-77"}, path=KYB)
    await instruct(caller, session=form["tokenString"], does="ask")
    await done(caller)
    events = [webhook.headers["idenfy-event-type"] for webhook in receiver.received]
    assert events == ["COMPANY_SUBMIT", "COMPANY_INFO_REQUEST", "COMPANY_REVIEW"]
    submitted, asked, reviewed = (webhook.fields for webhook in receiver.received)
    assert submitted["externalRef"] == reviewed["externalRef"] == "job-c-77"
    assert asked["token"] == form["tokenString"]
    assert {"clientId", "externalRef"}.isdisjoint(asked)
    assert submitted["id"] == asked["companyId"] == reviewed["id"]


async def test_frankieone_adds_the_requests_id_to_the_address(begin, receiver):
    caller = await begin(webhooks={"frankieone-v2": f"{receiver.url}/webhooks/au/secret"})
    await caller.frankieone()
    await instruct(caller, session=ENTITY, does="finish")
    await done(caller)
    bodies = [webhook.fields for webhook in receiver.received]
    paths = [f"/webhooks/au/secret/{one['requestId']}" for one in bodies]
    assert [webhook.path for webhook in receiver.received] == paths
    assert [(one["function"], one["functionResult"]) for one in bodies] == [
        ("OCR_PROCESSED", "SUCCESS"),
        ("RESULTS_RETRIEVED", "SUCCESS"),
    ]
    assert all(one["entityId"] == ENTITY for one in bodies)


async def test_frankieones_webhooks_have_a_token_if_there_is_a_key(begin, receiver, clock):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    caller = await begin(webhook_jwt_key=key.private_bytes(serialization.Encoding.PEM, form, none).decode())
    await caller.frankieone()
    await instruct(caller, session=ENTITY, does="fail")
    await done(caller)
    kind, _, token = receiver.received[-1].headers["authorization"].partition(" ")
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    key.public_key().verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert kind == "Bearer"


def test_an_invalid_key_stops_the_start():
    with pytest.raises(ValueError, match="RSA private key"):
        Sandbox(SandboxOptions(webhook_jwt_key="no key"))
    with pytest.raises(ValueError, match="time_scale"):
        SandboxOptions(time_scale=0)
