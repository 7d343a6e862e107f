"""The sandbox's FrankieOne v1: the page's shape, v1's errors, and entities created or updated by each call."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tests.sandbox.customers import ENTITY, FRANKIEONE

PATH = "/frankieone/idv/v2/idvalidate/token"


async def ask(caller, body=None, **how):
    return await caller.frankieone(body, path=PATH, **how)


async def test_a_call_makes_an_entity_and_echoes_it(caller, clock):
    given = {"entityType": "INDIVIDUAL", "name": {"givenName": "Mirela"}}

    status, _, body = await ask(caller, {"entity": given, "country": "AUS"})

    assert status == 200
    assert body["entity"] == {**given, "entityId": body["entity"]["entityId"]}
    assert str(UUID(body["entity"]["entityId"])) == body["entity"]["entityId"]
    assert datetime.fromisoformat(body["tokenExpiry"]) == clock.now + timedelta(days=7)
    assert (body["sms_sent"], body["country"]) == (False, "AUS")
    assert not {"smsSent", "requestId"} & set(body)
    (entry,) = caller.sandbox.log
    assert (entry["endpoint"], entry["processed"], entry["token"]) == ("frankieone-v1", True, body["token"])
    assert entry["reference"] == body["entity"]["entityId"]


async def test_without_an_entity_id_each_call_makes_another(caller):
    first, second = [(await ask(caller))[2]["entity"]["entityId"] for _ in range(2)]

    assert first != second


async def test_with_an_entity_id_each_call_gives_another_token_and_updates_the_entity(caller):
    _, _, first = await ask(caller, {"entity": {"entityId": ENTITY, "gender": "F"}})
    _, _, second = await ask(caller, {"entity": {"entityId": ENTITY, "gender": "M"}})

    assert first["token"] != second["token"]
    assert first["entity"]["entityId"] == second["entity"]["entityId"] == ENTITY
    assert second["entity"]["gender"] == "M"
    assert [entry["processed"] for entry in caller.sandbox.log] == [True, True]


async def test_the_log_names_the_callers_own_customer(caller):
    reference = {"kvpKey": "customer_reference", "kvpValue": "C-1", "kvpType": "id.external"}
    await ask(caller, {"entity": {"extraData": [reference]}})
    await ask(caller, {"entity": {"entityId": ENTITY}})

    assert [entry["client"] for entry in caller.sandbox.log] == ["C-1", ENTITY]


async def test_it_can_answer_that_it_has_sent_a_text_itself(start):
    caller = await start(frankieone_sms_sent=True)

    assert (await ask(caller))[2]["sms_sent"] is True
    assert (await caller.frankieone())[2]["smsSent"] is True


async def test_credentials_are_refused_with_the_stray_comma_and_v1s_text(caller):
    status, _, body = await ask(caller, headers={**FRANKIEONE, "api_key": "other"})

    assert (status, body["errorCode"], body["httpStatusCode"]) == (401, "AUTH-0002,", 401)
    assert body["issues"][0]["issueLocation"] == "request"
    assert "details" not in body
    assert (await ask(caller, headers={}))[2]["errorCode"] == "AUTH-0401"


async def test_a_value_without_the_samples_type_is_refused_by_its_place(caller, subtests):
    for bad, place in [
        ({"consent": "true"}, "consent"),
        ({"country": "AU"}, "country"),
        ({"documentType": "LICENCE"}, "documentType"),
        ({"entity": []}, "entity"),
        ({"entity": {"gender": 5}}, "entity.gender"),
        ({"entity": {"name": "Mirela"}}, "entity.name"),
        ({"entity": {"name": {"givenName": None}}}, "entity.name.givenName"),
        ({"entity": {"addresses": {}}}, "entity.addresses"),
        ({"entity": {"addresses": [{"longForm": 5}]}}, "entity.addresses.0.longForm"),
        ({"entity": {"flags": [{"value": "1"}]}}, "entity.flags.0.value"),
        ({"entity": {"extraData": [{"kvpValue": True}]}}, "entity.extraData.0.kvpValue"),
        ({"entity": {"organisationData": {"aliases": [1]}}}, "entity.organisationData.aliases.0"),
        (
            {"entity": {"organisationData": {"shareStructure": [{"amountDue": "1"}]}}},
            "entity.organisationData.shareStructure.0.amountDue",
        ),
    ]:
        with subtests.test(bad=bad, place=place):
            status, _, body = await ask(caller, bad)

            assert (status, body["errorCode"]) == (400, "API-0400,")
            assert f"VALIDATE-{place}" in [issue["issueLocation"] for issue in body["issues"]]
            assert caller.sandbox.log[-1]["processed"] is False


async def test_names_that_the_page_does_not_have_are_accepted(caller):
    assert (await ask(caller, {"new": 1, "entity": {"nickname": "M"}}))[0] == 200


async def test_an_unknown_entity_is_not_found(start):
    caller = await start(frankieone_unknown=frozenset({ENTITY}))

    status, _, body = await ask(caller, {"entity": {"entityId": ENTITY.upper()}})

    assert (status, body["errorCode"]) == (404, "VAL-0404")


@pytest.mark.parametrize("raw", [b"{", b"[]"])
async def test_a_body_that_is_no_json_object_is_refused(caller, raw):
    assert (await ask(caller, raw=raw))[0] == 400


async def test_a_reset_forgets_the_entities(caller):
    await ask(caller, {"entity": {"entityId": ENTITY}})
    await caller.ask("POST", "/_sandbox/reset")

    assert caller.sandbox.log == []
    assert (await ask(caller))[0] == 200
