"""Reads SendGrid's signed event webhooks about our mails: a list of events each. Pure.

SendGrid signs the time and the body with its key (ECDSA, SHA-256); the account shows the public key.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from onboarding_worker.providers.strict_json import NoObject, read_list
from onboarding_worker.senders.contract import (
    MESSAGE_ID,
    DeliveryStatus,
    DeliveryUpdate,
    NotUnderstood,
    Stop,
    event_name,
)
from onboarding_worker.senders.smtp_answers import enhanced_code, of_permanent_failure

LARGEST = 1024 * 1024
MOST_EVENTS = 2_000
SIGNATURE, TIME = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
OLDEST = timedelta(hours=25)  # SendGrid repeats a webhook for a day
# By the event. Of others, such as processed, open and click, nothing follows.
MEANINGS: Mapping[str, tuple[DeliveryStatus | None, Stop | None]] = {
    "delivered": (DeliveryStatus.DELIVERED, None),
    "spamreport": (None, Stop.COMPLAINED),
    **dict.fromkeys(("unsubscribe", "group_unsubscribe"), (None, Stop.STOPPED)),
    "deferred": (DeliveryStatus.LATER, None),
    "dropped": (DeliveryStatus.BLOCKED, None),  # SendGrid's own list, or its own rules: nothing was sent
}


def refusal(headers: Mapping[str, str], body: bytes, *, keys: Iterable[str], now: datetime) -> str:
    """Why the webhook is refused; "" if one of the keys signed it. Never raises, and names no value. `headers` has
    lower-case names. `keys` are public keys as SendGrid shows them: DER in base64."""
    given, at = headers.get(SIGNATURE, ""), headers.get(TIME, "")
    if not given or not at:
        return "it is not signed"
    if len(body) > LARGEST:
        return "it is too large"
    if not (at.isascii() and at.isdigit() and len(at) <= 12):
        return "its time cannot be read"
    if not any([_signed(key, given, at.encode() + body) for key in keys]):
        return "no key of ours verifies its signature"
    return "" if abs(now.timestamp() - int(at)) <= OLDEST.total_seconds() else "it is too old, or of a wrong clock"


def public_key(shown: str) -> EllipticCurvePublicKey | None:
    """The key that SendGrid shows; None: it is none of this kind."""
    try:
        key = load_der_public_key(base64.b64decode(shown, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):  # what is not ASCII is a ValueError, too
        return None
    return key if isinstance(key, EllipticCurvePublicKey) else None


def _signed(key: str, given: str, content: bytes) -> bool:
    public = public_key(key)
    if public is None:
        return False
    try:
        public.verify(base64.b64decode(given, validate=True), content, ECDSA(SHA256()))
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def read(body: bytes) -> list[tuple[bytes, DeliveryUpdate]] | NotUnderstood:
    """The updates in the webhook, each with what it is recognised by. Never raises on the bytes that were sent. Events
    that name no mail of this form are left out: an account may send other mails, too."""
    events = read_list(body)
    if isinstance(events, NoObject):
        return NotUnderstood("it is not a readable JSON list")
    if len(events) > MOST_EVENTS:
        return NotUnderstood("it has too many events")
    found = [_update(event) for event in events if isinstance(event, dict)]
    return [one for one in found if one is not None]


def _update(event: Mapping[str, Any]) -> tuple[bytes, DeliveryUpdate] | None:
    id_, reference = event.get("sg_event_id"), event.get("smtp-id")
    match = MESSAGE_ID.fullmatch(reference.strip()) if isinstance(reference, str) and len(reference) <= 500 else None
    if not isinstance(id_, str) or not id_ or match is None:
        return None
    status, stop, code = _meaning(event)
    kind, given = event_name(event.get("event")), event.get("timestamp")
    at = datetime.fromtimestamp(given, UTC) if type(given) is int and 0 < given < 4_000_000_000 else None
    update = DeliveryUpdate(kind, match[1], status=status, stop=stop, code=code, happened_at=at)
    return id_.encode("utf-8", "surrogatepass"), update


def _meaning(event: Mapping[str, Any]) -> tuple[DeliveryStatus | None, Stop | None, str]:
    if event.get("event") == "bounce":
        code = enhanced_code(event.get("status"), event.get("reason"))
        if event.get("type") == "blocked":
            return DeliveryStatus.BLOCKED, None, code
        return of_permanent_failure(code, str(event.get("reason", "")))
    return *MEANINGS.get(str(event.get("event")), (None, None)), ""
