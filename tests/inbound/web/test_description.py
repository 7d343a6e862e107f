"""The OpenAPI document says what the code does. That answers are as it has them, `Site` checks of each."""

import pytest
import yaml
from jsonschema import ValidationError
from openapi_schema_validator import OAS31Validator

from tests.inbound.web.described import check, document
from tests.inbound.web.site import EVENT
from worker.core.model.incoming import EventKind, Outcome
from worker.core.model.states import JobState, SessionState
from worker.events.cloudevents import LONGEST
from worker.features.delivery import sendgrid as sendgrid_callbacks
from worker.features.delivery.mail_sources import WITH_KEYS
from worker.web.webhooks.standard_webhooks import HEADERS


async def test_the_routes_are_the_applications(site):
    routes = {
        (route.method.lower(), route.resource.canonical) for route in site.app.router.routes() if route.method != "HEAD"
    }
    assert routes == {(method, path) for path, item in document()["paths"].items() for method in item}


async def test_it_is_given_to_any_client(site):
    async with site.client.get("/openapi.yaml") as response:
        assert (response.status, response.content_type) == (200, "application/yaml")
        assert yaml.safe_load(await response.read()) == document()


def test_each_schema_is_one():
    for schema in document()["components"]["schemas"].values():
        OAS31Validator.check_schema(schema)


def test_the_words_are_those_of_the_code():
    schemas = document()["components"]["schemas"]
    assert schemas["Kind"]["enum"] == [kind.value for kind in EventKind]
    assert schemas["JobState"]["enum"] == [state.value for state in JobState]
    assert schemas["Name"]["maxLength"] == LONGEST
    status = schemas["EventStatus"]["properties"]
    assert status["state"]["enum"] == [Outcome.TAKEN.value, Outcome.IGNORED.value]
    assert status["job"]["anyOf"][2]["properties"]["session"]["properties"]["state"]["enum"] == [
        state.value for state in SessionState
    ]


def test_an_event_is_described():
    check({"$ref": "#/components/schemas/CloudEvent"}, EVENT)
    with pytest.raises(ValidationError):
        check({"$ref": "#/components/schemas/CloudEvent"}, EVENT | {"type": "signup"})


def test_the_callbacks_of_each_mail_service_are_described():
    schemes = document()["components"]["securitySchemes"]
    described = document()["paths"]["/callbacks/{sender}"]["post"]
    ways = [[schemes[name] for name in way] for way in described["security"]]
    headers = [{scheme["name"].lower() for scheme in way if scheme["type"] == "apiKey"} for way in ways]
    assert set(HEADERS) in headers
    assert {sendgrid_callbacks.SIGNATURE, sendgrid_callbacks.TIME} in headers
    assert {scheme["scheme"] for way in ways for scheme in way if scheme["type"] == "http"} == {"basic", "bearer"}
    assert [] in ways  # Mailgun and SNS sign in the body
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    assert len(document()["components"]["schemas"]["MailCallback"]["anyOf"]) == len(WITH_KEYS)
    for body in (
        {"type": "bounced", "email": "vita@example.com"},
        [{"event": "delivered", "sg_event_id": "1", "smtp-id": "<1@example.com>", "timestamp": 1_700_000_000}],
        {"signature": {"timestamp": "1", "token": "t", "signature": "s"}, "event-data": {"event": "delivered"}},
        {"RecordType": "Delivery", "Metadata": {"message": "<1@example.com>"}},
    ):
        check(schema, body)
    for body in ({"type": "bounced"}, {"RecordType": 1}, {"signature": {}, "event-data": {}}, "delivered"):
        with pytest.raises(ValidationError):
            check(schema, body)
