"""docs/events/*.schema.json: a JSON Schema of each type of event, incoming and outgoing.

`python -m worker.domain.events.schemas` writes the files, and a test compares them with the code. The schemas of
incoming events describe the plain form, with our names for the columns: an event that fits its schema can be read.
docs/reference/list-format.md says what a column may hold; the worker checks that when it accepts the event.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.domain.events.incoming import EventKind
from worker.domain.events.published import DESCRIPTIONS, FIELDS, SEQUENCE_DIGITS, SOURCE, Happened
from worker.domain.intake.rules import COLUMNS, LONGEST_ADDRESS, LONGEST_NAME, LONGEST_TAG, MOST_TAGS
from worker.domain.model.customers import Channel, CustomerKind
from worker.domain.providers.facts import PROVIDERS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_CUSTOMER: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 100,
    "description": "Your own id of the customer: printable ASCII, no email address and no phone number.",
}
_PURPOSE: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", "default": "onboarding"}


def _text(longest: int, **more: Any) -> Schema:
    return {"type": "string", "maxLength": longest, **more}


_COLUMNS: dict[str, Schema] = {
    "customer_id": _CUSTOMER,
    "kind": {"enum": [kind.value for kind in CustomerKind], "default": "individual"},
    "purpose": _PURPOSE,
    "email": _text(254),
    "phone": _text(40, description="E.164, or national with `country`."),
    "first_name": _text(LONGEST_NAME),
    "last_name": _text(LONGEST_NAME),
    "company_name": _text(LONGEST_NAME),
    "date_of_birth": {"type": "string", "format": "date"},
    "sex": _text(20),
    "nationality": {"type": "string", "pattern": "^[A-Za-z]{2,3}$"},
    "address": _text(LONGEST_ADDRESS),
    "consent": {"type": "boolean", "description": "Sent to the provider only if true."},
    "country": {"type": "string", "pattern": "^[A-Za-z]{2,3}$", "description": "ISO 3166, two or three letters."},
    "locale": _text(35),
    "timezone": _text(64),
    "channel": {"enum": [channel.value for channel in Channel]},
    "account": _text(64, description="Forces a route."),
    "entity_id": _text(100),
    "external_ref": _text(40),
    "tags": {"type": "array", "items": _text(LONGEST_TAG), "maxItems": MOST_TAGS},
    "template": _text(64),
}
assert set(_COLUMNS) == set(COLUMNS)  # noqa: S101 -- a release with a column without a schema must not start
# As `idenfy-kyc.documents`, or as an object with the provider's name.
_NAMES = "|".join(PROVIDERS.built_in)
_PARAMETERS: dict[str, Schema] = {f"^({_NAMES})$": {"type": "object"}, rf"^({_NAMES})\.": {}}
_INVITE_AFTER: Schema = {
    "type": "string",
    "pattern": r"^\d+ ?[a-z]+$",
    "description": "The customer is in your app right now: the invitation goes out after this time, such as"
    ' "30 minutes", if the customer has not finished by then.',
}


def _data(columns: Mapping[str, Schema], required: list[str], **more: Any) -> Schema:
    return {"type": "object", "properties": dict(columns), "required": required, "additionalProperties": False, **more}


_INCOMING: dict[EventKind, tuple[str, Schema]] = {
    EventKind.REQUESTED: (
        "Onboard this customer: one row of a list.",
        _data(_COLUMNS | {"invite_after": _INVITE_AFTER}, ["customer_id"], patternProperties=_PARAMETERS),
    ),
    EventKind.CANCELLED: (
        "End the customer's open job. Messages that have not left are not sent.",
        _data({"customer_id": _CUSTOMER, "purpose": _PURPOSE}, ["customer_id"]),
    ),
    EventKind.UPDATED: (
        "New values for these columns of the customer.",
        _data(_COLUMNS, ["customer_id"], minProperties=2, patternProperties=_PARAMETERS),
    ),
    EventKind.ERASED: (
        "End the customer's open jobs and erase all personal data.",
        _data({"customer_id": _CUSTOMER}, ["customer_id"]),
    ),
}


def incoming(kind: EventKind) -> Schema:
    """The schema of an incoming event, as a structured CloudEvent."""
    description, data = _INCOMING[kind]
    envelope: dict[str, Schema] = {
        "specversion": {"const": "1.0"},
        "id": _ID | {"description": "With `source` it identifies the event, which is accepted once."},
        "source": _ID | {"format": "uri-reference"},
        "type": {"const": kind.value},
        "time": {"type": "string", "format": "date-time", "description": "When it happened, by your clock."},
        "datacontenttype": {"const": "application/json"},
        "data": data,
    }
    # The producer may add extensions.
    return _schema(kind.value, description, envelope, ["specversion", "id", "source", "type", "data"])


def outgoing(kind: Happened) -> Schema:
    """The schema of an event that the worker publishes."""
    envelope: dict[str, Schema] = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid", "description": "The same each time the event is sent."},
        "source": {"const": SOURCE},
        "type": {"const": kind.value},
        "subject": _text(100, minLength=1, description="The customer_id."),
        "time": {"type": "string", "format": "date-time", "description": "When it happened."},
        "sequence": {
            "type": "string",
            "pattern": f"^[0-9]{{{SEQUENCE_DIGITS}}}$",
            "description": "Grows with each event of one customer, compared as text.",
        },
        "datacontenttype": {"const": "application/json"},
        "data": _data(FIELDS[kind], list(FIELDS[kind])),
    }
    return _schema(kind.value, DESCRIPTIONS[kind], envelope, list(envelope), additionalProperties=False)


def _schema(kind: str, description: str, envelope: Mapping[str, Schema], required: list[str], **more: Any) -> Schema:
    head = {"$schema": DIALECT, "title": kind, "description": description, "type": "object"}
    return {**head, "properties": dict(envelope), "required": required, **more}


def files() -> dict[str, str]:
    """Each file's name and text."""
    schemas = {kind.value: incoming(kind) for kind in EventKind} | {kind.value: outgoing(kind) for kind in Happened}
    return {f"{kind}.schema.json": json.dumps(schema, indent=2) + "\n" for kind, schema in schemas.items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/events")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (folder / name).write_text(content, encoding="utf-8")
