"""docs/events/*.schema.json: a JSON Schema of each type of event, incoming and outgoing.

`python -m tests.events.schemas` writes the files, and a test compares them with the code. The schemas of
incoming events describe the plain form, with our names for the columns. The worker reads more: numbers as texts, other
spellings of a name, `yes` for true. What no schema can say is in the descriptions: docs/reference/list-format.md says
what a column may hold, and the worker checks that when it accepts the event.

Patterns use only what all engines of JSON Schema know: no look-ahead, and characters themselves for their escapes.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from onboarding_worker.core.foundation.notation import UNITS
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import (
    MESSAGE,
    MOST_OWN,
    UPDATABLE,
    Channel,
    CustomerKind,
    invitation_channels,
)
from onboarding_worker.core.model.incoming import EventKind
from onboarding_worker.core.model.refusals import LONGEST, MOST
from onboarding_worker.events.cloudevents import SEQUENCE_DIGITS, SOURCE, Happened
from onboarding_worker.lists.own_columns import RESERVED
from onboarding_worker.lists.rules import COLUMNS, LONGEST_ADDRESS, LONGEST_NAME, LONGEST_TAG, MOST_TAGS
from onboarding_worker.providers.facts import PROVIDERS
from onboarding_worker.templates.no_values import SHEET_ERRORS, WORDS
from onboarding_worker.templates.values import OWN_NAME, VALUE_LENGTH

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

# Characters for the inside of a class: controls and line breaks, and marks that reorder the text around them.
_CONTROLS = "\x00-\x1f\x7f-\x9f"
_UNWANTED = f"{_CONTROLS}\u2028-\u202e\u2066-\u2069"
# Also spaces other than the plain one, and marks without a width: what identifies an event must be readable.
_UNREADABLE = f"{_CONTROLS}\xa0\xad\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
_PHONE_SIGNS = " ().\\-/\u2010-\u2015\u2212"


def _text(longest: int, **more: Any) -> Schema:
    return {"type": "string", "maxLength": longest, **more}


def _filled(unwanted: str, longest: int, **more: Any) -> Schema:
    """A text that is not blank, and has none of the unwanted characters."""
    return _text(longest, pattern=f"^ *[^ {unwanted}][^{unwanted}]*$", **more)


def _ascii(longest: int, **more: Any) -> Schema:
    return _text(longest, pattern="^ *[!-~][ -~]*$", **more)


def _no(*patterns: str) -> Schema:
    # Of texts only: null may be there.
    return {"not": {"type": "string", "pattern": "|".join(patterns)}}


# An id that a spreadsheet has shortened, such as 4.4791E+11.
_SHORTENED = "^ *[+-]?[0-9]([.,][0-9]+[eE][+]?|[eE][+])[0-9]{1,3} *$"
# A spreadsheet's error or a column that was too narrow; a word for no value, or signs alone.
_LOST = f"^ *(##+|{'|'.join(sorted(SHEET_ERRORS)).replace('?', '[?]')}) *$"
_SIGN = "[^0-9A-Za-z#/\\\\]"
_ANY_CASE = (
    "".join(f"[{one.upper()}{one}]" if one.isalpha() else one.replace("\\", "\\\\") for one in word)
    for word in sorted(WORDS)
    if word.isascii()
)
_NO_ID = f"^{_SIGN}*({'|'.join(_ANY_CASE)}){_SIGN}*$|^[^0-9A-Za-z]*$"
_ATTRIBUTE: Schema = _filled(_UNREADABLE, 200, minLength=1) | _no("\n")
_CUSTOMER: Schema = _ascii(
    100,
    minLength=1,
    description="Your own id of the customer: printable ASCII, no email address and no phone number (also not the "
    "digits of `phone`), and no word for a missing value, such as null or #N/A.",
) | {
    "not": {
        "anyOf": [
            {"pattern": "[^ ]@[^ ]"},
            {"pattern": "^ *[+(][ ().\\-/]*([0-9][ ().\\-/]*){7,15}$"},
            {"pattern": _SHORTENED},
            {"pattern": _LOST},
            {"pattern": _NO_ID},
        ]
    }
}
_PURPOSE: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", "default": "onboarding"}
_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"}
_COUNTRY: Schema = {"type": "string", "pattern": "^[A-Za-z]{2,3}$"}

# Each column with a value.
_COLUMNS: dict[str, Schema] = {
    "customer_id": _CUSTOMER,
    "kind": {"enum": [kind.value for kind in CustomerKind], "default": "individual"},
    "purpose": _PURPOSE,
    "email": _text(
        254,
        pattern=r"^[^@,;\s]+@[^@,;\s]+[.][^@,;\s]+$",
        description="One address, without a name. Its form is checked, and no DNS is asked.",
    ),
    "phone": _text(
        40,
        pattern=f"^[+]?[{_PHONE_SIGNS}]*([0-9][{_PHONE_SIGNS}]*){{3,15}}$",
        description="E.164 (7 to 15 digits), or national with `country`. The country must have such numbers, which no "
        "schema can say.",
    ),
    "first_name": _filled(_UNWANTED, LONGEST_NAME) | _no(_LOST),
    "last_name": _filled(_UNWANTED, LONGEST_NAME) | _no(_LOST),
    "company_name": _filled(_UNWANTED, LONGEST_NAME) | _no(_LOST),
    "date_of_birth": {
        "type": "string",
        "format": "date",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        "description": "Not in the future, and at most 130 years ago.",
    },
    "sex": {"enum": ["M", "F", "X"]},
    "nationality": _COUNTRY | {"description": "A code of ISO 3166, two or three letters."},
    "address": _filled(_UNWANTED.replace("\x00-\x1f", "\x00-\x09\x0b\x0c\x0e-\x1f"), LONGEST_ADDRESS) | _no(_LOST),
    "consent": {"type": "boolean", "description": "Sent to the provider only if true."},
    "country": _COUNTRY | {"description": "A code of ISO 3166, two or three letters."},
    "locale": {
        "type": "string",
        "pattern": "^[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|[0-9]{3}))?$",
        "description": "A language, such as `de` or `pt-BR`.",
    },
    "timezone": _text(64, pattern="^[A-Za-z][A-Za-z0-9_+/ -]*$", description="An IANA name, such as Europe/Vilnius."),
    "channel": {"enum": [channel.value for channel in Channel]},
    "account": _NAME | {"description": "Forces a route: the name of an account in the configuration."},
    "entity_id": _ascii(100, description="FrankieOne's entityId. Accounts of frankieone-v2 need one, and a UUID.")
    | _no(_SHORTENED, _LOST),
    "external_ref": _ascii(40) | _no(_SHORTENED, _LOST),
    "tags": {
        "type": "array",
        "items": _text(LONGEST_TAG, pattern=f"^[^,;{_UNWANTED}]*$") | _no(_LOST),
        "maxItems": MOST_TAGS,
    },
    "template": _NAME | {"description": "The name of a template in the configuration."},
    "brand": _NAME | {"description": "The name of a brand in the configuration: [brand.NAME]."},
}
assert set(_COLUMNS) == set(COLUMNS)
_OWN_VALUE = _filled(_UNWANTED, VALUE_LENGTH) | _no(_LOST)
_OWN: Schema = {
    "type": "object",
    "propertyNames": {"pattern": f"^{OWN_NAME.pattern}$", "not": {"enum": sorted(RESERVED)}},
    "maxProperties": MOST_OWN,
    "description": "Columns for messages, `message.NAME` in templates. A value with an address in it is refused.",
}
# As `idenfy-kyc.documents`, or as an object with the provider's name.
_NAMES = "|".join(PROVIDERS.built_in)
_PARAMETERS: dict[str, Schema] = {f"^({_NAMES})$": {"type": "object"}, rf"^({_NAMES})\.": {}}
_UNITS = "|".join(sorted(UNITS, key=len, reverse=True))
_INVITE_AFTER: Schema = {
    "type": ["string", "null"],
    "pattern": rf"^ *[0-9]{{1,9}}([.][0-9]{{1,6}})? *({_UNITS})s? *$",
    "description": "The customer is in your app right now: the invitation goes out after this time, such as"
    ' "30 minutes", if the customer has not finished by then. At most 30 days, and less if the link lives shorter.',
}
# A phone number without + needs its country.
_PHONE_HAS_A_COUNTRY: Schema = {
    "anyOf": [
        {"properties": {"phone": {"pattern": "^[+]|^$"}}},
        {"properties": {"country": {"type": "string", "minLength": 1}}, "required": ["country"]},
    ]
}


def _may_be_empty(column: Schema) -> Schema:
    """The column of a request: empty, or null, it is as if it were left out."""
    if "enum" in column:
        return column | {"enum": [*column["enum"], "", None]}
    if column["type"] != "string" or "format" in column:
        return {"anyOf": [column, {"enum": ["", None]}]}
    return column | {"type": ["string", "null"], "pattern": f"^$|{column['pattern']}"}


def _reachable() -> Schema:
    """A request has the address that its channel needs; without a channel, any address."""
    given: Schema = {"type": "string", "minLength": 1}
    channels: dict[tuple[str, ...], list[str]] = {}
    for channel in Channel:
        needs: tuple[str, ...] = tuple({CHANNELS[name].address: "" for name in invitation_channels(channel)})
        channels.setdefault(needs, []).append(channel.value)
    ways: list[Schema] = []
    for needed, names in channels.items():
        # Without a channel, one address decides.
        choice: Schema = {"channel": {"enum": [*names, "", None] if len(needed) == 1 else names}}
        required = [*needed] if len(needed) == 1 else ["channel", *needed]
        ways.append({"properties": choice | dict.fromkeys(needed, given), "required": required})
    return {"anyOf": ways}


def _data(columns: Mapping[str, Schema], required: list[str], **more: Any) -> Schema:
    return {"type": "object", "properties": dict(columns), "required": required, "additionalProperties": False, **more}


def _of(names: Iterable[str]) -> dict[str, Schema]:
    return {name: _COLUMNS[name] for name in names}


_REQUEST = {name: column if name == "customer_id" else _may_be_empty(column) for name, column in _COLUMNS.items()}
_INCOMING: dict[EventKind, tuple[str, Schema]] = {
    EventKind.REQUESTED: (
        "Onboard this customer: one row of a list. A column that is empty or null counts as left out. An account and a"
        " sender of the configuration must be able to serve the customer.",
        _data(
            _REQUEST
            | {MESSAGE: _OWN | {"additionalProperties": _may_be_empty(_OWN_VALUE)}, "invite_after": _INVITE_AFTER},
            ["customer_id"],
            patternProperties=_PARAMETERS,
            allOf=[_reachable(), _PHONE_HAS_A_COUNTRY],
        ),
    ),
    EventKind.CANCELLED: (
        "End the customer's open job. Messages that have not left are not sent.",
        _data({"customer_id": _CUSTOMER, "purpose": _PURPOSE}, ["customer_id"]),
    ),
    EventKind.UPDATED: (
        "New values for these columns of the customer. How a customer is served takes a new onboarding.requested.",
        _data(
            _of(("customer_id", *UPDATABLE))
            | {MESSAGE: _OWN | {"minProperties": 1, "additionalProperties": _OWN_VALUE}},
            ["customer_id"],
            minProperties=2,
            allOf=[_PHONE_HAS_A_COUNTRY],
        ),
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
        "id": _ATTRIBUTE | {"description": "With `source` it identifies the event, which is accepted once."},
        "source": _ATTRIBUTE | {"description": "Your system. CloudEvents asks for a URI reference; any text will do."},
        "type": {"const": kind.value},
        "time": {
            "type": ["string", "null"],
            "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?"
            "([Zz]|[+-][0-9]{2}:[0-9]{2})$",
            "description": "When it happened, by your clock. Without it, the time of the receipt counts.",
        },
        "datacontenttype": {
            "type": ["string", "null"],
            "pattern": "^(application/([!-.0-:<-~]+[+])?json|text/json) *(;[ -~]*)?$",
            "description": "JSON, with parameters or without. By default, JSON.",
        }
        | _no("^application/cloudevents-batch[+]"),
        "data": data,
        "data_base64": {"type": "null", "description": "The data is in `data`: an event has one of the two."},
    }
    # The producer may add extensions.
    return _schema(kind.value, description, envelope, ["specversion", "id", "source", "type", "data"])


_INTEGER: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string", "maxLength": 100}
_WORD: Schema = {"type": "string", "maxLength": 40, "pattern": "^[a-z0-9_]*$"}
_KIND: Schema = {"type": "string", "maxLength": 16, "pattern": "^[a-z0-9_-]+$"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_JOB: dict[str, Schema] = {
    "job_id": _INTEGER | {"description": "The worker's number of the job."},
    "batch_id": _INTEGER | {"description": "The job's batch: its number in `onboard status`."},
    "row": _INTEGER | {"description": "The row's number in that batch, as in `onboard report`."},
    "customer_id": _TEXT | {"minLength": 1, "description": "The list owner's id of the customer."},
    "purpose": _TEXT | {"description": "The purpose of the onboarding."},
    "account": _TEXT | {"description": "The account's name in the configuration."},
    "provider": {"type": ["string", "null"], "description": "null: the account is no longer configured."},
}
_SESSION: dict[str, Schema] = _JOB | {
    "session": _TEXT | {"description": "The provider's reference of the session."},
    "issued_at": _TIME | {"description": "When the worker requested the session."},
    "expires_at": _TIME | {"description": "When the session's link stops working."},
}
_STEP: dict[str, Schema] = _JOB | {
    "session": {
        "type": ["string", "null"],
        "maxLength": 100,
        "description": "The provider's reference of the job's last session; null: it had none.",
    },
    "reason": _WORD | {"description": "The reason, a word of docs/reference/states.md."},
    "attempts": _INTEGER | {"description": "Finished calls for the session; waits do not count."},
}
# The fields of each event's `data`: always all of them, and no others.
FIELDS: Mapping[Happened, Mapping[str, Schema]] = {
    Happened.SESSION_ISSUED: _SESSION | {"state": {"const": "waiting"}},
    Happened.INVITATION_SENT: _JOB
    | {
        "session": _TEXT | {"description": "The provider's reference of the session whose link the message carried."},
        "channel": {"enum": [*CHANNELS]},
        "kind": _KIND | {"description": "`invitation`, `new_link`, `reminder-1` and so on, or `resend-1` and so on."},
        "sent_at": _TIME,
        "state": {"const": "sent"},
    },
    Happened.SESSION_COMPLETED: _SESSION
    | {
        "state": {"const": "completed"},
        "result": _WORD | {"description": "The provider's decision."},
        "reasons": {
            "type": "array",
            "items": {"type": "string", "maxLength": LONGEST, "pattern": "^(fraud:)?[A-Z][A-Z0-9_]+$"},
            "maxItems": MOST,
            "description": "The provider's codes of why it decided so (docs/reference/refused.md).",
        },
    },
    Happened.SESSION_EXPIRED: _SESSION | {"state": {"const": "expired"}},
    Happened.JOB_FAILED: _STEP | {"state": {"const": "failed"}},
    Happened.JOB_HELD: _STEP | {"state": {"const": "held"}},
}
DESCRIPTIONS: Mapping[Happened, str] = {
    Happened.SESSION_ISSUED: "A session was opened for the customer.",
    Happened.INVITATION_SENT: "A message with the session's link was handed over to the sender of its channel.",
    Happened.SESSION_COMPLETED: "The provider has decided about the customer.",
    Happened.SESSION_EXPIRED: "The session's link stopped working before the customer had finished.",
    Happened.JOB_FAILED: "The job has failed: nothing more happens until a person retries the job.",
    Happened.JOB_HELD: "The job is held: a person must decide, mostly because the outcome of a call is unknown.",
}


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
