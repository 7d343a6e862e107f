"""Requests that schemathesis makes from the web's OpenAPI document, good and bad ones: it has each answer.

They have a fixed seed in the build. `make fuzz` makes others, and more of them.
"""

import copy
import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onboarding_worker.core.model.incoming import EventKind
from tests.events.schemas import files
from tests.hostile.genuine import genuine
from tests.hostile.requests import raw
from tests.hostile.served import say
from tests.web.described import document
from tests.web.site import HOOKS

LONGER = "EXAMPLES" in os.environ
THERE = {"account": ["kyc", "au"], "sender": ["sms", "email"], "rest": [f"{HOOKS['PATH_SECRET']}/1"]}


def signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The same, from one whom we know."""
    body = request.body or b""
    assert isinstance(request.url, str)
    request.headers.update(genuine(urlsplit(request.url).path, body.encode() if isinstance(body, str) else body))
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


METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
LABELS = [f"{one.upper()} {path}" for path, item in described()["paths"].items() for one in item if one in METHODS]


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    """By their labels. schemathesis is imported here: each test process would load it, in a second."""
    from schemathesis import openapi

    found = {one.ok().label: one.ok() for one in openapi.from_dict(described()).get_all_operations()}
    assert [*found] == LABELS
    return found


@pytest.fixture(scope="module")
def event_id(port: int) -> str:
    answer = say(port, raw())
    found: str = json.loads(answer.partition(b"\r\n\r\n")[2])["id"]
    return found


@pytest.mark.parametrize("known", [True, False], ids=["known", "stranger"])
@pytest.mark.parametrize("label", LABELS)
def test_the_document_has_each_answer_to_good_values_and_bad_ones(
    port: int, event_id: str, invited: Callable[[], str], operations: dict[str, Any], label: str, known: bool
):
    """Known: signed, and for accounts, senders, an event and a stable link that are there; else most would end at the
    first check."""
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    all_checks = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.unsupported_method,
        checks.allow_header_conformance,
    ]
    operation, answered = operations[label], set()
    there = THERE | {"id": [event_id]}
    if known and "{secret}" in label:
        there |= {"secret": [invited()]}  # one of its own: a link may be asked for sixty times a minute
    examples = 15 if known and operation.body else 4  # a stranger ends at the first check
    modes = list(GenerationMode) if operation.body or operation.path_parameters else [GenerationMode.POSITIVE]

    @settings(
        parent=settings() if LONGER else settings(max_examples=examples, derandomize=True),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def each(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=data.draw(st.sampled_from(modes))))
        if known:
            for name in case.path_parameters:
                case.path_parameters[name] = data.draw(st.sampled_from(there[name]))
        if known and isinstance(case.body, dict) and "data" in case.body and data.draw(st.booleans()):
            case.body["data"] = {"customer_id": "C-1"}
        response = case.call(base_url=f"http://127.0.0.1:{port}", auth=signed if known else None)
        answered.add(response.status_code)
        case.validate_response(response, checks=all_checks)

    each()
    if known:
        # It got further than the first check; the application that is served here has no key of [metrics].
        assert answered - {401, 404, 429} or label == "GET /metrics"
    elif there_is_a_key(label):
        assert answered & {401, 404}
        assert not answered & {200, 202, 204}


def there_is_a_key(label: str) -> bool:
    return label not in ("GET /healthz", "GET /readyz", "GET /openapi.yaml")
