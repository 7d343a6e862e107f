"""The sandbox's FrankieOne v2: the page's schema and errors, and the same unexpired token again."""

import re
from datetime import datetime, timedelta

import pytest

from tests.sandbox.customers import FRANKIEONE

OTHER = "0c9a6c1e-31c5-4f52-b1a1-5f4f6e1f2a10"
ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"


async def test_a_token_is_answered_with_its_expiry(caller, clock):
    status, _, body = await caller.frankieone({"country": "AUS", "documentType": "PASSPORT", "provider": "onfido"})

    assert status == 200
    assert datetime.fromisoformat(body["tokenExpiry"]) == clock.now + timedelta(days=7)
    assert body["tokenExpiry"] == "2026-11-27T12:00:00.000Z"
    assert (body["country"], body["documentType"], body["provider"]) == ("AUS", "PASSPORT", "onfido")
    assert body["smsSent"] is False
    assert re.fullmatch(ULID, body["requestId"])
    assert len(body["token"]) >= 20


async def test_the_same_unexpired_token_is_returned_again(caller, clock):
    _, _, first = await caller.frankieone({"provider": "onfido"})
    clock.forward(days=7, microseconds=-1)
    _, _, again = await caller.frankieone({"provider": "other"})

    assert {**again, "requestId": None} == {**first, "requestId": None}
    assert again["requestId"] != first["requestId"]
    assert [entry["processed"] for entry in caller.sandbox.log] == [True, False]


async def test_an_expired_token_is_replaced(start, clock):
    caller = await start(frankieone_lifetime=timedelta(minutes=5))
    _, _, first = await caller.frankieone()
    clock.forward(minutes=5)
    _, _, second = await caller.frankieone()
    assert first["token"] != second["token"]
    assert datetime.fromisoformat(second["tokenExpiry"]) == clock.now + timedelta(minutes=5)


async def test_the_letter_case_of_an_entity_does_not_make_another(caller):
    _, _, first = await caller.frankieone(entity=OTHER)
    _, _, second = await caller.frankieone(entity=OTHER.upper())
    assert first["token"] == second["token"]


async def test_another_entity_has_another_token(caller):
    _, _, first = await caller.frankieone()
    _, _, second = await caller.frankieone(entity=OTHER)
    assert first["token"] != second["token"]


async def test_an_empty_body_will_do(caller):
    assert (await caller.frankieone(raw=b""))[0] == 200


async def test_properties_that_the_schema_does_not_have_are_accepted(caller):
    assert (await caller.frankieone({"somethingNew": 1}))[0] == 200


async def test_without_a_key_it_is_401_as_printed(caller):
    status, _, body = await caller.frankieone(headers={})
    assert (status, body["errorCode"], body["errorMsg"]) == (401, "AUTH-0401", "Unauthorized")
    assert body["details"] == [{"issue": "No api key provided. Access denied.", "issueLocation": "request"}]
    assert re.fullmatch(ULID, body["requestId"])


@pytest.mark.parametrize(
    "headers",
    [{**FRANKIEONE, "api_key": "wrong"}, {**FRANKIEONE, "X-Frankie-CustomerID": OTHER}, {"api_key": "sandbox-key"}],
)
async def test_wrong_credentials_are_401_with_the_printed_comma(caller, headers):
    status, _, body = await caller.frankieone(headers=headers)
    assert (status, body["errorCode"]) == (401, "AUTH-0002,")


async def test_an_entity_that_is_no_uuid_is_refused_as_printed(caller):
    status, _, body = await caller.frankieone(entity="test")
    assert (status, body["errorCode"], body["errorMsg"]) == (400, "API-0400,", "Multiple Errors: See Issues list")
    issue = {"issue": 'entityId in path must be of type uuid: "test"', "issueLocation": "VALIDATE-entityId"}
    assert body["details"] == [issue]


async def test_an_unknown_entity_is_404(start):
    caller = await start(frankieone_unknown=frozenset({OTHER.upper()}))
    status, _, body = await caller.frankieone(entity=OTHER)
    assert (status, body["errorCode"]) == (404, "VAL-0404")
    assert (await caller.frankieone())[0] == 200


async def test_a_body_against_the_schema_is_refused_with_its_place(caller, subtests):
    for body, place in [
        *(({name: 1}, name) for name in ("applicantId", "applicationId", "country", "documentType", "referrer")),
        ({"relayState": None}, "relayState"),
        ({"provider": ["onfido"]}, "provider"),
        ({"country": "AU"}, "country"),
        ({"country": "XXX"}, "country"),
        ({"documentType": "VISA"}, "documentType"),
        ({"products": "idv"}, "products"),
        ({"products": [1]}, "products"),
        ({"vendorParameters": "x"}, "vendorParameters"),
        ({"comment": "x"}, "comment"),
        ({"comment": {"text": 1}}, "comment.text"),
        ({"comment": {"commentId": "01K3G4CCQ3DY3B1413S19M9QW1"}}, "comment.commentId"),
        ({"comment": {"entityType": "PERSON"}}, "comment.entityType"),
    ]:
        with subtests.test(body=body, place=place):
            status, _, answer = await caller.frankieone(body)
            assert (status, answer["errorCode"]) == (400, "API-0400,")
            assert [issue["issueLocation"] for issue in answer["details"]] == [f"VALIDATE-{place}"]


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[]", b'"x"'])
async def test_a_body_that_is_no_json_object_is_refused(caller, raw):
    status, _, body = await caller.frankieone(raw=raw)
    assert (status, body["details"][0]["issueLocation"]) == (400, "VALIDATE-body")


async def test_the_channel_is_alphanumeric(caller):
    assert (await caller.frankieone(headers={**FRANKIEONE, "X-Frankie-Channel": "api"}))[0] == 200
    status, _, body = await caller.frankieone(headers={**FRANKIEONE, "X-Frankie-Channel": "a b"})
    assert (status, body["details"][0]["issueLocation"]) == (400, "VALIDATE-X-Frankie-Channel")
