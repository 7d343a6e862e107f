"""Reads callbacks about emails: bounces, complaints and deliveries, in our own JSON form.

SMTP has no callback, and every mail service has its own. So this module reads one form, described in
docs/features/delivery.md, and the operator translates the mail service's callbacks into it. They are signed as
Standard Webhooks specifies.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.providers.strict_json import NoObject, read_object
from onboarding_worker.senders.contract import MESSAGE_ID, DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop
from onboarding_worker.senders.smtp_answers import usable_address
from onboarding_worker.web.webhooks import standard_webhooks

LARGEST = 64 * 1024
TYPES = ("delivered", "bounced", "complained")


def refusal(headers: Mapping[str, str], body: bytes, *, keys: Iterable[str], now: datetime) -> str:
    """Why the callback is refused; "" if one of the keys signed it. Never raises, and names no value. `now` is aware
    UTC."""
    if len(body) > LARGEST:
        return "it is too large"
    found = standard_webhooks.signing_key(headers, body, keys, now=now)
    return found if isinstance(found, str) else ""


def read(body: bytes) -> DeliveryUpdate | NotUnderstood:
    """The update in the callback. Never raises on the bytes that were sent."""
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
    given, address = str(fields.get("message_id") or ""), usable_address(fields.get("email"))
    match = MESSAGE_ID.fullmatch(given.strip()) if len(given) <= 500 else None
    reference = match[1] if match else ""
    if not reference and not address:
        # It may be about a mail of another program: the mail system must not repeat it for ever.
        return NotUnderstood("neither its message_id nor its email can be one of ours")
    bounced = (DeliveryStatus.BOUNCED, Stop.BOUNCED) if permanent else (DeliveryStatus.LATER, None)
    # What is complained about did arrive.
    meanings = {"delivered": (DeliveryStatus.DELIVERED, None), "complained": (None, Stop.COMPLAINED)}
    return DeliveryUpdate(
        kind, reference, address, *meanings.get(kind, bounced), happened_at=utc_time(fields.get("at"))
    )
