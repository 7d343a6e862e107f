"""Requests that schemathesis makes from docs/events/openapi.yaml, good and bad ones: the document has each answer.

The same requests in each build. `make fuzz` makes others, and more of them.
"""

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.conftest import SetClock
from tests.hostile.genuine import genuine
from tests.hostile.served import served
from tests.inbound.web.described import document
from tests.inbound.web.site import HOOKS, KEYS, Site
from worker.domain.events.incoming import EventKind
from worker.domain.events.schemas import files

LONGER = "EXAMPLES" in os.environ
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
    checks.allow_header_conformance,
]
ID = "5f0c7a1e-0000-4000-8000-000000000000"
# Half of the requests are for what is there, so that they get further than the first check.
THERE = {"account": ["kyc", "au"], "sender": ["sms", "email"], "rest": [f"{HOOKS['PATH_SECRET']}/1"], "id": [ID]}
# What each operation answers at least, of good and bad values together: the requests come that far.
REACHED = {
    "POST /events": {202, 400, 401, 422},
    "GET /events/{id}": {401, 404},
    "POST /webhooks/{account}": {200, 401, 404},
    "POST /webhooks/{account}/{rest}": {200, 401, 404},
    "POST /callbacks/{sender}": {200, 204, 401, 404},
    "GET /healthz": {200},
    "GET /readyz": {200},
}


def signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The same, from one whom we know."""
    body = request.body or b""
    assert isinstance(request.url, str)
    request.headers.update(genuine(urlsplit(request.url).path, body.encode() if isinstance(body, str) else body))
    return request


def unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def described() -> dict[str, Any]:
    """The document, with the events' own schemas in the place of `data` that may be any object."""
    found = copy.deepcopy(document())
    kinds = {kind.value: json.loads(files()[f"{kind.value}.schema.json"]) for kind in EventKind}
    found["components"]["schemas"] |= kinds
    found["components"]["schemas"]["CloudEvent"] = {
        "anyOf": [{"$ref": f"#/components/schemas/{kind}"} for kind in kinds]
    }
    return found


API = schemathesis.openapi.from_dict(described())
OPERATIONS = {result.ok().label: result.ok() for result in API.get_all_operations()}


@pytest.fixture(scope="module")
def port(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "onboarding.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{folder / 'onboarding.db'}"
    keys = KEYS + '[web]\nevent_limit = "100000/second"\ntrusted_proxies = ["127.0.0.1"]\n'
    with served(Site(url, folder, SetClock(), keys=keys, scripted=False)) as listens_on:
        yield listens_on


@pytest.mark.parametrize("label", OPERATIONS)
def test_the_document_has_each_answer_to_good_values_and_bad_ones(port: int, label: str):
    operation, answered = OPERATIONS[label], set()

    @settings(
        parent=settings() if LONGER else settings(max_examples=40, derandomize=True),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def each(data: st.DataObject) -> None:
        modes = list(GenerationMode) if operation.body or operation.path_parameters else [GenerationMode.POSITIVE]
        case = data.draw(operation.as_strategy(generation_mode=data.draw(st.sampled_from(modes))))
        if case.path_parameters and data.draw(st.booleans()):
            for name in case.path_parameters:
                case.path_parameters[name] = data.draw(st.sampled_from(THERE[name]))
        auth = data.draw(st.sampled_from([signed, unsigned]))
        response = case.call(base_url=f"http://127.0.0.1:{port}", auth=auth)
        answered.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    each()
    assert answered >= REACHED[label]
