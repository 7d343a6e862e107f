"""iDenfy KYC's nested form against the OpenAPI document on the provider's page: our requests, the sandbox's answers."""

import json
from datetime import timedelta
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator

from onboarding_sandbox.endpoints import idenfy_rules
from onboarding_testing.accounts import NOW, request
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.providers.parameters import names_of
from onboarding_worker.providers.values import Parameter, Type
from tests.providers.endpoints import OPENAPI, answer
from tests.providers.pages.pages import at_sandbox, needs_pages, openapi
from tests.providers.parameters.reference import parameters_of
from tests.providers.recording import NESTED

pytestmark = needs_pages
PATH = "/api/v2/token"


@pytest.fixture(scope="module")
def operation() -> dict[str, Any]:
    return openapi("S3")["paths"][PATH]["post"]


@pytest.fixture(scope="module")
def asks(operation) -> dict[str, Any]:
    return operation["requestBody"]["content"]["application/json"]["schema"]


@pytest.fixture(scope="module")
def answers(operation) -> dict[str, Any]:
    return operation["responses"]["201"]["content"]["application/json"]["schema"]


EVERYTHING = {
    "generateDigitString": False,
    "sessionLength": 600,
    "allowedCountries": ["LT"],
    "allowedDocuments": ["PASSPORT"],
    "client": {"documentNumber": "1", "personalNumber": "2", "dateOfExpiry": "2031-05-30", "dateOfIssue": "2021-05-30"},
    "urls": {name: "https://shop.test/x" for name in ("successUrl", "failUrl", "unverifiedUrl", "webhookUrl")},
    "settings": {name: True for name in idenfy_rules.SETTINGS},
    "questionnaire": "key",
    "questionnaireRequired": True,
    "riskAssessmentProfile": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
}
REQUESTS = {
    "least": (request(), {}),
    "much": (NESTED, {"prefill": "all"}),
    "everything": (request(EVERYTHING, locale="lt"), {"prefill": "all"}),
}


@pytest.mark.parametrize(("asked", "account"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_what_the_document_allows(asked, account, asks):
    body = json.loads(OPENAPI.make(**account).build(asked).body)

    # The document says nullable in the way of OpenAPI 3.0.
    OAS30Validator(asks).validate(body)
    assert set(body) <= set(asks["properties"])
    for name in ("client", "urls", "settings"):
        assert set(body.get(name) or {}) <= set(asks["properties"][name]["properties"])


def test_everything_is_everything(asks):
    body = json.loads(OPENAPI.make(prefill="all").build(REQUESTS["everything"][0]).body)

    assert set(body) == set(asks["properties"])
    for name in ("client", "urls", "settings"):
        assert set(body[name]) == set(asks["properties"][name]["properties"])


TYPES = {
    "string": {Type.TEXT, Type.CHOICE, Type.DATE, Type.URI},
    "integer": {Type.INTEGER},
    "boolean": {Type.BOOLEAN},
    "array": {Type.LIST},
    "object": {Type.OBJECT},
}


def flattened(schema: dict[str, Any], at: str = "") -> dict[str, dict[str, Any]]:
    found = {}
    for name, given in schema["properties"].items():
        found[at + name] = given
        if "properties" in given:
            found |= flattened(given, f"{at}{name}.")
    return found


def test_our_table_has_the_documents_names_types_and_bounds(asks):
    ours = dict(names_of(parameters_of("idenfy-kyc", "openapi")))
    theirs = flattened(asks)

    assert list(ours) == list(theirs)
    assert {name: bounds for name, given in theirs.items() if (bounds := differing(given, ours[name]))} == {}


def differing(given: dict[str, Any], ours: Parameter) -> list[str]:
    found = {
        "type": ours.type in TYPES[given["type"]],
        "least": given.get("minimum") == ours.least,
        "most": given.get("maximum", given.get("maxLength")) == ours.most,
        "choices": tuple(given.get("enum", ())) == ours.choices,
        "null": given.get("nullable", False) == ours.nullable,
        "date": (given.get("format") == "date") == (ours.type is Type.DATE),
        "uri": (given.get("format") == "uri") == (ours.type is Type.URI),
        "uuid": (given.get("format") == "uuid") == (ours.shape == "a uuid"),
    }
    return [name for name, same in found.items() if not same]


def test_the_sandboxs_rules_have_the_documents_names(asks):
    assert set(idenfy_rules.OPENAPI_RULES) == set(asks["properties"])
    for name, rules in idenfy_rules.INSIDE.items():
        assert set(rules) == set(asks["properties"][name]["properties"])


@pytest.mark.parametrize("name", ["least", "everything"])
async def test_the_sandbox_answers_as_the_document_says(name, answers):
    asked, _ = REQUESTS[name]

    got = await at_sandbox(OPENAPI, asked)

    body = json.loads(got.body)
    assert got.status == 201
    OAS30Validator(answers).validate(body)
    assert set(body) <= set(answers["properties"])
    session = OPENAPI.make().read(got, asked, issued_at=NOW, now=NOW)
    assert isinstance(session, Session)
    assert session.expires_at == NOW + timedelta(days=7)


def test_an_answer_of_the_required_fields_alone_opens_a_session(answers):
    body = {"tokenString": "qL8vX2mN", "scanRef": "f3a9", "isValid": True, "tokenType": "IDENTIFICATION"}
    assert set(body) == set(answers["required"])

    session = OPENAPI.make().read(answer(201, body), request(), issued_at=NOW, now=NOW)

    assert isinstance(session, Session)
    assert session.expires_at == NOW + timedelta(days=7)


def test_a_field_of_the_wrong_type_would_be_noticed(asks):
    assert not OAS30Validator(asks).is_valid({"clientId": "x", "tokenType": "FORM"})


LENGTHS = (0, 1, 7, 8, 40, 41, 50, 51, 100, 101)
NUMBERS = (-1, 0, 59, 60, 3600, 3601, 86400, 2592000, 2592001)
PROBES = [*("x" * length for length in LENGTHS), *NUMBERS, True, None, [], ["PASSPORT"], [5], {}, "M", "DOCUMENT"]


def test_the_sandbox_accepts_and_refuses_the_same_values_as_the_documents_schema(asks):
    least = {"clientId": "c", "tokenType": "IDENTIFICATION", "lifetime": 3600}
    differing = []
    for path, given in flattened(asks).items():
        outer, _, inner = path.rpartition(".")
        for value in PROBES:
            body = {**least, **({outer: {inner: value}} if outer else {inner: value})}
            allowed = OAS30Validator(asks).is_valid(body)
            taken = idenfy_rules.check(body) is None
            # A format is no part of the schema's own checks, and a country's code has none: there we may be stricter.
            stricter = "format" in given or path == "allowedCountries"
            # In OpenAPI 3.0 an enum with null would have to list it, which the document forgets.
            forgotten = value is None and "enum" in given
            if taken != allowed and not (allowed and stricter) and not forgotten:
                differing.append((path, value))

    assert differing == []
