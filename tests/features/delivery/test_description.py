"""The OpenAPI document has the callbacks of each mail service."""

import pytest
from jsonschema import ValidationError

from onboarding_worker.features.delivery import sendgrid as sendgrid_callbacks
from onboarding_worker.features.delivery.sources import WITH_KEYS
from onboarding_worker.web.webhooks.standard_webhooks import HEADERS
from tests.web.described import check, document


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
