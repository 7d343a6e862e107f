"""docs/events describes the events: it is made from the code, and is enough to check a message."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from onboarding_worker.core.model.incoming import EventKind
from onboarding_worker.core.rules import contact
from onboarding_worker.events.cloudevents import Happened, cloud_event
from onboarding_worker.settings.model import Bus
from tests.events.outgoing import event
from tests.events.schemas import files

FOLDER = Path(__file__).parents[2] / "docs" / "events"
KINDS = [*EventKind, *Happened]


def schema(kind: str) -> Any:
    return json.loads((FOLDER / f"{kind}.schema.json").read_text("utf-8"))


def check(message: Any, kind: str) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema(kind), format_checker=checker).validate(message)


def test_the_files_are_what_the_code_makes():
    found = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.json")}
    assert found == files(), "python -m tests.events.schemas writes them"


def test_each_is_a_schema(subtests):
    for kind in KINDS:
        with subtests.test(kind=kind):
            jsonschema.Draft202012Validator.check_schema(schema(kind))


def test_an_event_of_ours_keeps_to_its_schema():
    check(json.loads(cloud_event(event(1))), "session.issued")


@pytest.mark.parametrize("kind", ["invitation", "new_link", contact.kind_of(0), contact.next_kind([])])
def test_a_sent_message_of_each_kind_keeps_to_its_schema(kind):
    message = json.loads(cloud_event(event(1)))
    facts = {"channel": "email", "kind": kind, "sent_at": message["time"], "state": "sent"}
    facts = {name: value for name, value in message["data"].items() if not name.endswith("_at")} | facts
    check(message | {"type": "invitation.sent", "data": facts}, "invitation.sent")


@pytest.mark.parametrize(
    "change", [{"data": {"email": "someone@example.com"}}, {"extra": 1}, {"sequence": "12"}, {"type": "job.failed"}]
)
def test_an_event_with_more_or_fewer_fields_does_not_fit(change):
    message = json.loads(cloud_event(event(1)))
    data = message["data"] | change.pop("data", {})
    with pytest.raises(jsonschema.ValidationError):
        check(message | change | {"data": data}, "session.issued")


REQUEST = {
    "specversion": "1.0",
    "id": "1",
    "source": "/crm",
    "type": "onboarding.requested",
    "data": {
        "customer_id": "C-1",
        "email": "c1@example.com",
        "country": "LT",
        "consent": True,
        "tags": ["a"],
        "idenfy-kyc.documents": ["PASSPORT"],
        "invite_after": "30 minutes",
    },
}


def test_a_request_is_one_row_of_a_list():
    check(REQUEST, "onboarding.requested")
    for wrong in ({"e-mail": "c1@example.com"}, {"kind": "person"}, {"consent": "maybe"}):
        with pytest.raises(jsonschema.ValidationError):
            check(REQUEST | {"data": REQUEST["data"] | wrong}, "onboarding.requested")


def asyncapi() -> Any:
    return yaml.safe_load((FOLDER / "asyncapi.yaml").read_text("utf-8"))


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [found for value in part.values() for found in references(value)]
    return [found for value in part for found in references(value)] if isinstance(part, list) else []


def test_every_reference_of_the_asyncapi_document_leads_somewhere():
    document = asyncapi()
    assert references(document)
    for reference in references(document):
        if not reference.startswith("#"):
            assert (FOLDER / reference).is_file()
            continue
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_the_asyncapi_document_has_each_kind_in_its_channel():
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]["requests"]["messages"]) == {kind.value for kind in EventKind}
    assert set(document["channels"]["events"]["messages"]) == {kind.value for kind in Happened}
    for kind, message in document["components"]["messages"].items():
        assert message["name"] == kind
        assert message["payload"]["schema"]["$ref"] == f"{kind}.schema.json"
    assert {operation["action"] for operation in document["operations"].values()} == {"send", "receive"}


def test_the_asyncapi_document_has_the_exchanges_of_the_configuration():
    channels = asyncapi()["channels"]
    for channel, key in (("requests", "queue"), ("events", "exchange")):
        name = Bus.model_fields[key].default
        assert channels[channel]["address"] == channels[channel]["bindings"]["amqp"]["exchange"]["name"] == name
