"""FrankieOne v2 against the OpenAPI document on the provider's page: our requests, and the sandbox's answers."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from openapi_schema_validator import OAS30Validator

from onboarding_sandbox.faults import Fault
from onboarding_testing.accounts import ENTITY, NOW, PlainSecret, request
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.providers.contract import HttpRequest
from onboarding_worker.providers.frankieone_v2 import FrankieOneV2
from tests.providers.accounts import FRANKIE_CUSTOMER
from tests.providers.endpoints import V2, answer
from tests.providers.pages.pages import at_sandbox, needs_pages, openapi
from tests.providers.parameters.reference import parameters_of
from tests.providers.recording import MUCH

pytestmark = needs_pages
PATH = "/v2/individuals/{entityId}/actions/idv/token"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi("S0")


@pytest.fixture(scope="module")
def operation(document) -> dict[str, Any]:
    return document["paths"][PATH]["post"]


def everything() -> FrankieOneV2:
    """Every field of the request, and every header."""
    parameters = {
        "applicantId": "412e8c806fdfb0bb19b5",
        "applicationId": "94d9a75a5072444c",
        "country": "AUS",
        "documentType": "DRIVERS_LICENCE",
        "referrer": "https://example.com",
        "provider": "onfido",
        "products": ["idv"],
        "vendorParameters": {"theme": {"dark": True}},
        "comment": {"text": "x", "entityId": ENTITY, "entityType": "INDIVIDUAL"},
    }
    child = PlainSecret("87654321-4321-4321-4321-210987654321")
    return V2.make(parameters=parameters, channel="api", customer_child_id=child)


@pytest.mark.parametrize(
    "built",
    [V2.make().build(request()), V2.make().build(MUCH), everything().build(request())],
    ids=["least", "much", "everything"],
)
def test_a_request_is_what_the_document_allows(built: HttpRequest, document, operation):
    pattern = re.escape(PATH).replace(r"\{entityId\}", "[^/]+")
    assert re.fullmatch(pattern, urlsplit(built.url).path)
    assert f"https://{urlsplit(built.url).netloc}" in [server["url"] for server in document["servers"]]
    documented = {parameter["name"]: parameter for parameter in operation["parameters"]}
    for name, parameter in documented.items():
        assert name in built.headers or not parameter["required"]
    assert set(built.headers) <= set(documented) | {"Content-Type", "Accept"}
    assert built.headers["Content-Type"] in operation["requestBody"]["content"]
    body, schema = json.loads(built.body), operation["requestBody"]["content"]["application/json"]["schema"]
    OAS30Validator(schema).validate(body)
    # The schema lets further names through; a misspelt one would be ignored, and is not to be ours.
    assert set(body) <= set(schema["properties"])


def test_our_table_of_parameters_is_the_documents(operation):
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    ours = parameters_of("frankieone-v2")

    assert set(ours) == set(schema["properties"]) | {"entityId"}
    types = {"string": "text", "array": "a list", "object": "a JSON object"}
    assert {name: types[given["type"]] for name, given in schema["properties"].items()} == {
        name: parameter.type.value for name, parameter in ours.items() if name != "entityId"
    }
    assert {field.name for field in ours["comment"].fields} == set(schema["properties"]["comment"]["properties"])


def test_a_field_of_the_wrong_type_would_be_noticed(operation):
    schema = operation["requestBody"]["content"]["application/json"]["schema"]

    assert not OAS30Validator(schema).is_valid({"products": "idv"})


def fault(kind: str) -> dict[str, Any]:
    return {"faults": (Fault(kind, 1.0),)}


@pytest.mark.parametrize(
    ("status", "options", "settings"),
    [
        (200, {}, {}),
        (400, {}, {"unchecked": {"country": "XX", "products": "idv"}}),
        (401, {}, {"api_key": PlainSecret("wrong")}),
        (401, {}, {"customer_id": PlainSecret("22222222-2222-4222-8222-222222222222")}),
        (404, {"frankieone_unknown": frozenset({ENTITY})}, {}),
        (500, fault("500"), {}),
        (502, fault("502"), {}),
        (503, fault("503"), {}),
    ],
)
async def test_the_sandbox_answers_each_status_as_the_document_says(status, options, settings, operation):
    got = await at_sandbox(V2, MUCH, options, **settings)

    assert got.status == status
    content = operation["responses"][str(status)]["content"]["application/json"]
    body = json.loads(got.body)
    assert got.headers["content-type"].startswith("application/json")
    OAS30Validator(content["schema"]).validate(body)
    assert set(body) <= _properties(content["schema"])
    if status == 200:
        assert {"token", "tokenExpiry"} <= set(body)  # nothing is marked required, and without these it is no answer
        assert utc_time(body["tokenExpiry"]) is not None
    else:
        assert {"errorCode", "errorMsg", "requestId"} <= set(body)


def _properties(schema: dict[str, Any]) -> set[str]:
    inner = (_properties(part) for part in schema.get("allOf", []))
    return set(schema.get("properties", {})).union(*inner)


def test_the_documents_own_examples_are_read_as_what_they_are(document, operation):
    examples = {
        (int(status), name): example["value"]
        for status, response in operation["responses"].items()
        for name, example in response["content"]["application/json"].get("examples", {}).items()
    }
    examples |= {
        (int(status), "sample"): sample
        for status, sample in document["components"]["schemas"]["Error"]["x-examples"].items()
    }

    read = {at: _read(at[0], body) for at, body in examples.items()}

    assert {at: (problem.kind, problem.code) for at, problem in read.items()} == {
        (400, "Invalid EntityId"): (Kind.BAD_INPUT, "API-0400"),
        (401, "Invalid authentication"): (Kind.AUTH, "AUTH-0002"),
        (401, "No Api-Key"): (Kind.AUTH, "AUTH-0401"),
        (400, "sample"): (Kind.BAD_INPUT, "API-0400"),
        (401, "sample"): (Kind.AUTH, "API-0401"),
        (409, "sample"): (Kind.CONFLICT, "API-0409"),
    }
    assert "VALIDATE-entityId" in read[400, "Invalid EntityId"].words
    assert read[400, "Invalid EntityId"].detail.endswith("it mentions entityId")
    assert "No api key provided." in read[401, "No Api-Key"].words


def test_an_answer_made_of_the_documents_examples_opens_a_session(operation):
    properties = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    body = {name: given["example"] for name, given in properties.items() if "example" in given}
    body["tokenExpiry"] = str(body["tokenExpiry"])

    session = V2.make().read(answer(200, body), request(), issued_at=NOW, now=NOW)

    assert session.token == "41cf9401f0f889616bef"
    assert session.sms_sent
    assert (session.vendor, session.vendor_parameters) == ("OCRLabs", {"tokenURL": "example1.com"})
    assert session.expires_at < NOW


def _read(status: int, body: dict[str, Any]) -> Problem:
    problem = V2.make().read(answer(status, body), request(), issued_at=NOW, now=NOW)
    assert isinstance(problem, Problem)
    assert FRANKIE_CUSTOMER not in problem.detail
    return problem
