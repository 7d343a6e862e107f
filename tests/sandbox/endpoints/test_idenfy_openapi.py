"""The sandbox's iDenfy KYC in the form of its OpenAPI document: recognised by its parameters."""

from datetime import timedelta

import pytest

LEAST = {"clientId": "c-1", "tokenType": "IDENTIFICATION", "lifetime": 3600}


async def test_a_session_is_answered_with_a_time_and_a_link(caller, clock):
    status, _, body = await caller.idenfy({**LEAST, "externalRef": "r-1", "locale": "lt"})

    assert status == 201
    assert body["expiration"] == (clock.now + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert body["sessionUrl"] == f"https://ivs.idenfy.com/api/v2/redirect?authToken={body['tokenString']}"
    assert (body["isValid"], body["digitString"], body["externalRef"]) == (True, None, "r-1")
    assert not {"authToken", "expiryTime", "message"} & set(body)
    (entry,) = caller.sandbox.log
    assert (entry["endpoint"], entry["client"], entry["processed"]) == ("idenfy-kyc", "c-1", True)
    assert (entry["reference"], entry["token"]) == (body["scanRef"], body["tokenString"])


@pytest.mark.parametrize("mark", [{"client": None}, {"urls": {}}, {"settings": {}}, {"allowedCountries": None}])
async def test_one_parameter_of_this_form_makes_the_call_one_of_this_form(caller, mark):
    _, _, body = await caller.idenfy({"clientId": "c-1", "tokenType": "DOCUMENT", **mark})

    assert "tokenString" in body


async def test_shared_parameters_alone_are_the_narrative_forms(caller):
    _, _, body = await caller.idenfy({"clientId": "c-1", "tokenType": "DOCUMENT"})

    assert "authToken" in body


@pytest.mark.parametrize("foreign", [{"expiryTime": 600}, {"firstName": "Eva"}, {"checkAml": True}, {"country": "LT"}])
async def test_the_two_forms_are_never_mixed(caller, foreign):
    status, _, body = await caller.idenfy({**LEAST, **foreign})

    assert (status, body["identifier"]) == (400, "VALIDATION_ERROR")
    assert next(iter(foreign)) in body["message"]


async def test_a_value_that_the_document_does_not_allow_is_refused_by_name(caller, subtests):
    for bad, identifier, named in [
        ({"lifetime": 2592001}, "BAD_VALUE", "lifetime"),
        ({"lifetime": "3600"}, "BAD_VALUE", "lifetime"),
        ({"tokenType": "FORM"}, "BAD_VALUE", "tokenType"),
        ({"sessionLength": 59}, "BAD_VALUE", "sessionLength"),
        ({"externalRef": "x" * 41}, "BAD_VALUE", "externalRef"),
        ({"locale": "lithuanian"}, "BAD_VALUE", "locale"),
        ({"allowedCountries": ["LTU"]}, "BAD_VALUE", "allowedCountries"),
        ({"client": {"sex": "X"}}, "BAD_VALUE", "client.sex"),
        ({"client": {"dateOfBirth": "1990-02-30"}}, "BAD_VALUE", "client.dateOfBirth"),
        ({"client": {"name": "x" * 101}}, "BAD_VALUE", "client.name"),
        ({"client": "Eva"}, "BAD_VALUE", "client"),
        ({"urls": {"webhookUrl": "hooks"}}, "BAD_VALUE", "urls.webhookUrl"),
        ({"settings": {"verifyEmail": "yes"}}, "BAD_VALUE", "settings.verifyEmail"),
        ({"riskAssessmentProfile": "7"}, "BAD_VALUE", "riskAssessmentProfile"),
        ({"generateDigitString": True, "lifetime": 86401}, "BAD_VALUE", "lifetime"),
        ({"client": {"firstName": "Eva"}}, "VALIDATION_ERROR", "client.firstName"),
        ({"settings": {"checkAml": True}}, "VALIDATION_ERROR", "settings.checkAml"),
        ({"other": 1}, "VALIDATION_ERROR", "other"),
    ]:
        with subtests.test(bad=bad, identifier=identifier, named=named):
            status, _, body = await caller.idenfy({**LEAST, **bad})

            assert (status, body["identifier"]) == (400, identifier)
            assert f"'{named}'" in body["message"]


@pytest.mark.parametrize("name", ["clientId", "tokenType"])
async def test_a_missing_required_value_is_refused(caller, name):
    body = {key: value for key, value in LEAST.items() if key != name}

    assert (await caller.idenfy(body))[2]["identifier"] == "MISSING_VALUE"


async def test_nullable_values_may_be_null(caller):
    nulls = ["externalRef", "locale", "allowedDocuments", "client", "urls", "settings", "questionnaire", "address"]

    assert (await caller.idenfy({**LEAST, **dict.fromkeys(nulls)}))[0] == 201


async def test_digits_are_given_on_request(caller):
    _, _, body = await caller.idenfy({**LEAST, "generateDigitString": True})

    assert len(body["digitString"]) == 8


async def test_both_forms_are_one_account(start):
    """One listing, one credit, one rule about live sessions."""
    caller = await start(conflict=True, credits=2)
    _, _, first = await caller.idenfy(LEAST)

    assert (await caller.idenfy({"clientId": "c-1"}))[0] == 409
    assert (await caller.listing(clientId="c-1"))[2]["results"][0]["scanRef"] == first["scanRef"]
    assert (await caller.idenfy({**LEAST, "clientId": "c-2"}))[0] == 201
    assert "token limit" in (await caller.idenfy({**LEAST, "clientId": "c-3"}))[2]["message"]
