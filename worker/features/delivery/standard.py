"""Reads callbacks about emails: bounces, complaints and deliveries, in our own JSON form.

SMTP has no callback, and every mail service has its own. So this module reads one form, described in
docs/features/delivery.md, and the operator translates the mail service's callbacks into it. They are signed as
Standard Webhooks specifies.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from onboarding_worker.adapters.strict_json import NoObject, read_object
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop, message_key
from onboarding_worker.senders.smtp_answers import usable_address
from onboarding_worker.web.webhooks import standard_webhooks

LARGEST = 64 * 1024
TYPES = ("delivered", "bounced", "complained")


def unsigned(headers: Mapping[str, str], _keys: Sequence[str]) -> str:
    return "" if headers.get(standard_webhooks.ID) else "it is not signed"


def refusal(headers: Mapping[str, str], body: bytes, *, keys: Sequence[str], now: datetime) -> str:
    if len(body) > LARGEST:
        return "it is too large"
    found = standard_webhooks.signing_key(headers, body, keys, now=now)
    return found if isinstance(found, str) else ""


def named(headers: Mapping[str, str], body: bytes) -> bytes:
    """With the id, which a repetition keeps: two bounces may have the same text."""
    return headers[standard_webhooks.ID].encode("utf-8", "surrogatepass") + b"." + body


def read(body: bytes) -> DeliveryUpdate | NotUnderstood:
    fields = read_object(body)
    if isinstance(fields, NoObject):
        return NotUnderstood(f"the body {fields.words}", malformed=True)
    kind = fields.get("type")
    if not isinstance(kind, str):
        return NotUnderstood("type is not a text" if "type" in fields else "type is missing", malformed=True)
    if kind not in TYPES:
        return NotUnderstood(f"its type is not one of {', '.join(TYPES)}")
    permanent = fields.get("permanent", True)
    if not isinstance(permanent, bool):
        return NotUnderstood("permanent is neither true nor false", malformed=True)
    if fields.get("message_id") is None and fields.get("email") is None:
        return NotUnderstood("it names neither message_id nor email", malformed=True)
    for name in ("message_id", "email"):
        if not isinstance(fields.get(name), str | None):
            return NotUnderstood(f"{name} is not a text", malformed=True)
    reference, address = message_key(fields.get("message_id")), usable_address(fields.get("email"))
    if not reference and not address:
        # It may be about a mail of another program: the mail system must not repeat it for ever.
        return NotUnderstood("neither its message_id nor its email can be one of ours")
    bounced = (DeliveryStatus.BOUNCED, Stop.BOUNCED) if permanent else (DeliveryStatus.LATER, None)
    # What is complained about did arrive.
    meanings = {"delivered": (DeliveryStatus.DELIVERED, None), "complained": (None, Stop.COMPLAINED)}
    return DeliveryUpdate(
        kind, reference, address, *meanings.get(kind, bounced), happened_at=utc_time(fields.get("at"))
    )
