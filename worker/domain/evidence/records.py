"""What the evidence holds: the kinds of records, their fields, and the schema of them. Pure.

A record has ids, states, times and words of ours: no name, address, text of a message, link or token.
"""

from collections.abc import Mapping
from typing import Any

FORMAT, VERSION = "onboarding-evidence", 1
TEXT: Mapping[str, Any] = {"type": "string"}
NUMBER: Mapping[str, Any] = {"type": "integer"}
TIME: Mapping[str, Any] = {"type": ["string", "null"], "description": "UTC; null: it has not happened"}
TRUTH: Mapping[str, Any] = {"type": "boolean"}


def _said(kind: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    return {**kind, "description": what}


# By the type of a record: what it says, and its fields in their order.
RECORDS: Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {
    "batch": (
        "The list that was imported. The first record.",
        {
            "batch": NUMBER,
            "name": _said(TEXT, "the list's file name"),
            "sha256": _said(TEXT, "of the list's bytes"),
            "generation": _said(NUMBER, "1, or more where the same list was imported again"),
            "created_at": TIME,
            "imported_at": TIME,
            "cancelled_at": TIME,
        },
    ),
    "decision": (
        "What a person, a command or an event did with the batch or the customer: an entry of the audit log.",
        {
            "at": TIME,
            "actor": TEXT,
            "action": TEXT,
            "subject": TEXT,
            "count": NUMBER,
            "reason": TEXT,
            "number": _said({"type": ["integer", "null"]}, "its number in the audit log; null: not sealed yet"),
            "audit_hash": _said({"type": ["string", "null"]}, "its hash in the audit log"),
        },
    ),
    "customer": (
        "A row of the list that became a job. The records after it, up to the next customer, belong to it.",
        {
            "row": NUMBER,
            "customer_id": TEXT,
            "purpose": TEXT,
            "channel": TEXT,
            "consent": _said({"type": ["boolean", "null"]}, "as the list had it; null: the list said nothing"),
            "erased": _said(TRUTH, "whether the customer's personal data was erased"),
            "account": TEXT,
            "route": _said(TEXT, "why this account was chosen"),
            "state": TEXT,
            "result": _said(TEXT, "what the provider decided; empty: nothing yet"),
            "reason": TEXT,
            "served_by": _said(NUMBER, "the batch whose job served the customer: this one, or the one it joined"),
            "created_at": TIME,
            "changed_at": TIME,
            "sessions": NUMBER,
            "calls": NUMBER,
            "messages_sent": NUMBER,
            "first_message_at": TIME,
            "result_at": TIME,
        },
    ),
    "call": (
        "A call to a provider or sender, written down before it was made.",
        {
            "for": _said({"enum": ["session", "message", "look_up"]}, "what the call was for"),
            "account": _said(TEXT, "the provider's account, or the channel of the sender"),
            "opened_at": TIME,
            "closed_at": TIME,
            "outcome": _said({"type": ["string", "null"]}, "null: the outcome is not known yet"),
            "status": _said({"type": ["integer", "null"]}, "of HTTP or SMTP"),
            "code": {"type": ["string", "null"]},
            "message": _said({"type": ["string", "null"]}, "the id of the message that it handed over"),
        },
    ),
    "session": (
        "A verification that was opened at a provider.",
        {
            "session": _said(NUMBER, "counted from 1, for each customer"),
            "account": TEXT,
            "reference": _said(TEXT, "the provider's id"),
            "vendor": TEXT,
            "state": TEXT,
            "result": TEXT,
            "issued_at": TIME,
            "expires_at": TIME,
            "expiry_source": TEXT,
            "result_at": _said(TIME, "when the provider last reported about it"),
            "texted_by_provider": TRUTH,
        },
    ),
    "message": (
        "A message with a session's link.",
        {
            "id": _said(TEXT, "the left part of the Message-ID of an email"),
            "session": {"type": ["integer", "null"]},
            "channel": TEXT,
            "kind": TEXT,
            "state": TEXT,
            "reason": TEXT,
            "template": _said(TEXT, "the digest of the files that it was made from; empty: it was not made"),
            "reference": _said(TEXT, "the sender's id"),
            "created_at": TIME,
            "sent_at": TIME,
            "delivery_at": _said(TIME, "when the sender reported it delivered or returned"),
            "unknown_handovers": NUMBER,
        },
    ),
    "refused": (
        "A line of the list that became no job, and why.",
        {"row": NUMBER, "customer_id": TEXT, "state": TEXT, "reason": TEXT},
    ),
}


def schema() -> dict[str, Any]:
    """JSON Schema of one line."""
    hashed = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    kinds = []
    for kind, (what, fields) in RECORDS.items():
        properties = {"n": {"type": "integer", "minimum": 1}, "type": {"const": kind}, **fields, "hash": hashed}
        kinds.append(
            {
                "title": kind,
                "description": what,
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{FORMAT} {VERSION}: a line of evidence-NNNN.jsonl",
        "oneOf": kinds,
    }


def record(kind: str, /, **fields: Any) -> dict[str, Any]:
    """A record of this kind, its fields in the schema's order. Raises KeyError for a field that is missing."""
    return {"type": kind, **{name: fields[name] for name in RECORDS[kind][1]}}
