"""The sandbox's iDenfy: as strict as the provider's page, and each call a new session."""

import json
import os
import re
from pathlib import Path

import pytest

from onboarding_sandbox.endpoints.idenfy_rules import DOCUMENTED_SINCE, RULES
from tests.suite.some import some

FLAGS = (
    *("showInstructions", "generateDigitString", "reviewFailed", "reviewSuccessful", "verifyEmail", "verifyPhone"),
    *("verifyAddress", "verifyBank", "verifyBankAccounts", "verifyBankBalances", "verifyBankTransactions"),
    *("nfcRequired", "nfcOptional", "driverLicenseBack", "checkDriverLicense", "idLiveFaceValidation"),
    *("idLiveDocumentValidation", "checkLiveness", "autoFaceMatching", "checkBlurAndGlare", "checkAml"),
    *("checkIpProxy", "checkFaceBlacklist", "checkDocFaceBlacklist", "checkDuplicateFaces"),
    *("checkDuplicateDocFaces", "checkDuplicatePersonalData", "utilityBill", "questionnaireRequired"),
)
URLS = ("successUrl", "errorUrl", "unverifiedUrl", "callbackUrl")
DATES = ("dateOfBirth", "dateOfExpiry", "dateOfIssue")
NAMES = ("firstName", "lastName")

BAD_URLS = ("http://a.example/", "https:", "https://", "ftp://a.example", "https://a b.example")
LONG_URL = "https://a.example/" + "x" * 2031  # 2,049 characters

BAD = {
    "clientId": ["", "x" * 101, "Jonė", None, 7],
    **{name: ["", "x" * 101, "J0hn", "a@b", "Smith;", "a/b", "<b>", "-", "👍", "a\nb", None, 7] for name in NAMES},
    **{name: ["1990-13-01", "1990-02-30", "19900220", "20-02-1990", "1990-2-3", "", None, 19900220] for name in DATES},
    "sex": ["m", "X", "", None, True],
    "nationality": ["LTU", "XX", "", None, ["LT"]],
    "address": ["x" * 256, None, 5],
    "externalRef": ["x" * 41, "é", None, 5],
    "country": ["LTU", "", ["LT", "XX"], [7], None, 7],
    "documents": ["PASSPORT", ["PASSPORTS"], [1], None, {}],
    "documentNumber": ["", "x" * 51, "№1", None, 12],
    "personalNumber": ["", "x" * 51, "№1", None, 12],
    **{name: [*BAD_URLS, LONG_URL, "", None, 1] for name in URLS},
    "locale": ["", "english", "e", "l1", None, 5],
    "expiryTime": [0, -1, 2_592_001, "600", 600.5, True, None],
    "sessionLength": [59, 3_601, "600", 60.5, True, None],
    "tokenType": ["identification", "", None, 1],
    **{name: ["true", 1, 0, None] for name in FLAGS},
    "ageLimit": [0, -1, 18.5, "18", True, None],
    "ageMax": [0, -1, 18.5, "18", True, None],
    "registryCentersCountries": ["LT", ["XX"], [1], None],
    "additionalSteps": ["x", [], 1],
    "additionalData": ["x", [], {"step": "x"}, {"step": {"field": 1}}, {"step": {"field": None}}],
    "questionnaire": ["", 1, []],
    "riskAssessmentProfile": ["low", 1.5, True, None],
}
GOOD = {
    "clientId": ["x", "x" * 100],
    **{name: ["O'Brien", "Anne-Marie", "Þórður", "Ní Bhriain", "李", "अमित", "x" * 100, "Jr."] for name in NAMES},
    **{name: ["1990-12-20", "2024-02-29"] for name in DATES},
    "sex": ["M", "F"],
    "nationality": ["LT", "lt", "ALL"],
    "address": ["x" * 255],
    "externalRef": ["x" * 40],
    "country": ["LT", "lt", "ALL", ["LT", "DE"], []],
    "documents": [["PASSPORT", "ID_CARD"]],
    "documentNumber": ["1", "x" * 50],
    "personalNumber": ["1", "x" * 50],
    **{name: ["https://a.example", "https://a.example/" + "x" * 2030] for name in URLS},
    "locale": ["lt", "pt-BR"],
    "expiryTime": [1, 2_592_000],
    "sessionLength": [60, 3_600],
    "tokenType": ["IDENTIFICATION", "DOCUMENT"],
    **{name: [True, False] for name in FLAGS},
    "ageLimit": [1],
    "ageMax": [99],
    "registryCentersCountries": [["LT"], []],
    "additionalSteps": [None, {}],
    "additionalData": [None, {}, {"step": {"field": "value"}}],
    "questionnaire": [None, "c8QgVx5x"],
    "riskAssessmentProfile": [3, "e8cadb52-d429-4dc2-b788-99dfbbe8a4ab"],
}
PRINTED_KEYS = {
    *("message", "authToken", "scanRef", "clientId", "firstName", "lastName", "successUrl", "errorUrl"),
    *("unverifiedUrl", "callbackUrl", "locale", "showInstructions", "country", "expiryTime", "sessionLength"),
    *("documents", "allowedDocuments", "dateOfBirth", "dateOfExpiry", "dateOfIssue", "nationality"),
    *("personalNumber", "documentNumber", "sex", "digitString", "address", "tokenType", "externalRef"),
    *("questionnaire", "utilityBill", "additionalSteps", "additionalData", "riskAssessmentProfile"),
}


def test_the_tables_here_hold_all_58_parameters():
    assert len(RULES) == 58
    assert set(BAD) == set(GOOD) == set(RULES)


@pytest.fixture
def page() -> str:
    """The provider's page "Generate token" in its narrative form."""
    if "PROVIDER_SPECS" not in os.environ:
        pytest.skip("PROVIDER_SPECS names no folder of provider pages")
    (path,) = Path(os.environ["PROVIDER_SPECS"]).glob("S4*")
    return path.read_text(encoding="utf-8")


def test_the_parameters_are_those_of_the_providers_page(page):
    request_part = page.partition("Overriding Default Parameters")[0]
    named = re.findall(r"^([a-z]\w+)\| Type:", request_part, re.MULTILINE)
    assert set(named) == set(RULES)
    assert len(named) == 58


async def test_the_pages_own_sample_is_answered_with_the_keys_of_its_sample(caller, page):
    decoder = json.JSONDecoder()
    request, _ = decoder.raw_decode(page[page.index("{", page.index("\nRequest example")) :])
    printed, _ = decoder.raw_decode(page[page.index("{", page.index("\nResponse example")) :])

    status, _, body = await caller.idenfy(request)

    assert status == 201
    assert body.keys() - {"redirectUrl"} == printed.keys() == PRINTED_KEYS
    # The sample drops the questionnaire and leaves the nationality as it was, both against the page's own text.
    differing = {"authToken", "scanRef", "digitString", "questionnaire", "nationality", "riskAssessmentProfile"}
    for name in some(printed.keys() - differing):
        assert body[name] == printed[name], name


def test_a_value_out_of_bounds_is_not_allowed():
    assert [
        (name, got) for name in BAD if (got := [value for value in BAD[name] if RULES[name].allows(value)]) != []
    ] == []


def test_a_value_at_the_edge_of_the_bounds_is_allowed():
    assert [
        (name, got) for name in GOOD if (got := [value for value in GOOD[name] if not RULES[name].allows(value)]) != []
    ] == []


async def test_each_bad_value_is_refused_by_the_parameters_name_alone(caller):
    for name, values in BAD.items():
        for value in some(values):
            status, _, body = await caller.idenfy({"clientId": "c-1", name: value})
            assert (status, body["identifier"]) == (400, "BAD_VALUE"), (name, value)
            assert f"'{name}'" in body["message"]
            assert body.keys() == {"identifier", "message"}
    assert not any(entry["processed"] for entry in caller.sandbox.log)


async def test_a_session_is_answered_in_the_printed_shape(caller):
    status, headers, body = await caller.idenfy(
        {"clientId": "c-1", "firstName": "Jonas", "lastName": "Žalys", "nationality": "lt", "country": "lt"}
    )

    assert status == 201
    assert headers["Content-Type"].startswith("application/json")
    assert body.keys() == PRINTED_KEYS | {"redirectUrl"}
    assert (body["firstName"], body["lastName"], body["nationality"]) == ("JONAS", "ŽALYS", "LT")
    assert (body["expiryTime"], body["sessionLength"], body["digitString"]) == (86_400, 1_800, None)
    assert (body["clientId"], body["country"], body["locale"]) == ("c-1", "lt", "en")
    assert 20 <= len(body["authToken"]) <= 40
    assert len(body["scanRef"]) <= 40
    assert body["redirectUrl"] == "https://ivs.idenfy.com/api/v2/redirect?authToken=" + body["authToken"]


async def test_the_sent_values_come_back(caller):
    _, _, body = await caller.idenfy({"clientId": "c-1", "expiryTime": 600, "externalRef": "r-1", "checkAml": True})
    assert (body["expiryTime"], body["externalRef"], body["checkAml"]) == (600, "r-1", True)


async def test_a_digit_string_has_eight_digits_and_bounds_the_expiry(caller):
    _, _, body = await caller.idenfy({"clientId": "c-1", "generateDigitString": True})
    assert re.fullmatch(r"\d{8}", body["digitString"])


async def test_what_does_not_go_together_is_missing_or_unknown_is_named(caller, subtests):
    for body, identifier, named in [
        ({"clientId": "c-1", "generateDigitString": True, "expiryTime": 86_401}, "BAD_VALUE", "expiryTime"),
        ({"clientId": "c-1", "verifyBank": False, "verifyBankAccounts": True}, "BAD_VALUE", "verifyBankAccounts"),
        ({"firstName": "Jonas"}, "MISSING_VALUE", "clientId"),
        ({"clientId": "c-1", "exipryTime": 600}, "VALIDATION_ERROR", "exipryTime"),
        ({"clientId": "c-1", "dummyStatus": "APPROVED"}, "PERMISSIONS_ERROR", "This endpoint is not available for"),
    ]:
        with subtests.test(body=body):
            status, _, refused = await caller.idenfy(body)
            assert (status, refused["identifier"]) == (400, identifier)
            assert named in refused["message"]


async def test_the_legacy_name_of_the_client_is_understood(caller):
    status, _, body = await caller.idenfy({"personScanRef": "c-9"})
    assert (status, body["clientId"]) == (201, "c-9")


async def test_parameters_documented_since_are_checked_too(caller):
    theme = "b6c0e7c2-0000-4000-8000-000000000000"
    status, _, _ = await caller.idenfy({"clientId": "c-1", "theme": theme, "checkLid": True})
    assert status == 201
    for name in DOCUMENTED_SINCE:
        status, _, body = await caller.idenfy({"clientId": "c-1", name: "x"})
        assert (status, body["identifier"]) == (400, "BAD_VALUE"), name


async def test_a_body_that_is_no_json_object_is_refused(caller, subtests):
    for raw, identifier in [
        (b'{"clientId": "c-1",}', "JSON_ERROR"),
        (b"", "JSON_ERROR"),
        (b'{"clientId": "c-1", "ageLimit": NaN}', "JSON_ERROR"),
        (b"[" * 100_000, "JSON_ERROR"),
        (b'{"clientId": "\xff"}', "ENCODING_ERROR"),
        (b'["clientId"]', "VALIDATION_ERROR"),
    ]:
        with subtests.test(raw=raw, identifier=identifier):
            status, _, body = await caller.idenfy(raw=raw)
            assert (status, body["identifier"]) == (400, identifier)


async def test_a_body_needs_the_content_type_of_json(caller):
    status, _, body = await caller.idenfy(content_type="text/plain")
    assert (status, body["identifier"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("login", ["sandbox-key:wrong", "wrong:sandbox-secret", ":", "sandbox-key"])
async def test_wrong_credentials_are_401_without_an_identifier(caller, login):
    status, _, body = await caller.idenfy(login=login)
    assert status == 401
    assert body.keys() == {"message"}


async def test_other_credentials_can_be_set(start):
    caller = await start(idenfy_key="k", idenfy_secret="s")
    assert (await caller.idenfy())[0] == 401
    assert (await caller.idenfy(login="k:s"))[0] == 201


async def test_another_method_is_not_allowed(caller):
    status, headers, body = await caller.idenfy(method="GET")
    assert (status, body["identifier"], headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "POST")


async def test_the_same_call_again_is_a_new_session(caller):
    _, _, first = await caller.idenfy()
    _, _, second = await caller.idenfy()
    assert first["authToken"] != second["authToken"]
    assert first["scanRef"] != second["scanRef"]
    assert [entry["processed"] for entry in caller.sandbox.log] == [True, True]


async def test_a_second_live_session_conflicts_if_configured(start, clock):
    caller = await start(conflict=True)
    assert (await caller.idenfy({"clientId": "c-1", "expiryTime": 600}))[0] == 201

    status, _, body = await caller.idenfy({"clientId": "c-1"})
    assert (status, body["identifier"]) == (409, "TOKEN_NOT_VALID")
    assert (await caller.idenfy({"clientId": "c-2"}))[0] == 201

    clock.forward(seconds=600)
    assert (await caller.idenfy({"clientId": "c-1"}))[0] == 201


async def test_when_the_credits_are_used_up_no_session_is_opened(start):
    caller = await start(credits=2)
    await caller.idenfy({"sex": "?"})  # refused calls cost nothing
    assert [(await caller.idenfy())[0] for _ in range(2)] == [201, 201]

    status, _, body = await caller.idenfy()
    assert (status, body["identifier"]) == (400, "PERMISSIONS_ERROR")
    assert body["message"].startswith("Partner reached token limit")
    assert caller.sandbox.log[-1]["processed"] is False


async def test_the_listing_shows_a_clients_sessions_without_their_tokens(caller, clock):
    _, _, opened = await caller.idenfy({"clientId": "c-1", "expiryTime": 600})
    await caller.idenfy({"clientId": "c-2"})

    status, _, body = await caller.listing(clientId="c-1")
    assert status == 200
    shown = {"scanRef": opened["scanRef"], "status": "ACTIVE", "suspected": False}
    assert body == {"count": 1, "next": None, "previous": None, "results": [shown]}

    clock.forward(seconds=600)
    _, _, body = await caller.listing(clientId="c-1")
    assert body["results"][0]["status"] == "EXPIRED"


async def test_the_listing_has_pages(caller):
    opened = [(await caller.idenfy())[2]["scanRef"] for _ in range(5)]

    _, _, first = await caller.listing(clientId="c-1", perPage="2")
    _, _, last = await caller.listing(clientId="c-1", perPage="2", page="3")
    assert [one["scanRef"] for one in first["results"]] == [opened[4], opened[3]]
    assert [one["scanRef"] for one in last["results"]] == [opened[0]]
    assert (first["count"], first["previous"], last["next"]) == (5, None, None)

    path = first["next"].removeprefix(caller.sandbox.url)
    assert "page=2" in path
    assert "clientId=c-1" in path


@pytest.mark.parametrize("query", [{"page": "0"}, {"page": "x"}, {"perPage": "-1"}])
async def test_a_listing_by_a_page_that_is_no_number_is_refused(caller, query):
    status, _, body = await caller.listing(**query)
    assert (status, body["identifier"]) == (400, "BAD_VALUE")
