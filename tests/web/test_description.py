"""The OpenAPI document says what the code does. That answers are as it has them, `Site` checks of each."""

import pytest
import yaml
from jsonschema import ValidationError
from openapi_schema_validator import OAS31Validator

from onboarding_worker.core.model.incoming import EventKind, Outcome
from onboarding_worker.core.model.states import JobState, SessionState
from onboarding_worker.events.cloudevents import LONGEST
from tests.suite.some import some
from tests.web.described import check, document
from tests.web.site import EVENT


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
    for schema in some(document()["components"]["schemas"].values()):
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
