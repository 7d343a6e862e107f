"""Reads SendGrid's signed event webhooks about our mails: a list of events each. Pure.

SendGrid signs the time and the body with its key (ECDSA, SHA-256); the account shows the public key.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from onboarding_worker.adapters.strict_json import NoObject, read_list
from onboarding_worker.core.model.stops import About
from onboarding_worker.senders import contract
from onboarding_worker.senders.contract import DeliveryUpdate, NotUnderstood, Said, message_key
from onboarding_worker.senders.smtp_answers import enhanced_code, of_permanent_failure, usable_address

LARGEST = 1024 * 1024
MOST_EVENTS = 2_000
SIGNATURE, TIME = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
OLDEST = timedelta(hours=25)  # SendGrid repeats a webhook for a day
# By the event. Of others, such as processed, open and click, nothing follows. Source: twilio.com/docs/sendgrid, "Event
# Webhook reference".
MEANINGS: Mapping[str, Said] = {
    "delivered": contract.ARRIVED,
    "spamreport": contract.COMPLAINED,
    **dict.fromkeys(("unsubscribe", "group_unsubscribe"), contract.ASKED_FOR_NO_MORE),
    "deferred": contract.NOT_YET,
}
# By the reason of a drop: nothing was sent. Source: the same.
DROPS: Mapping[str, Said] = {
    # SendGrid's own lists of addresses.
    **dict.fromkeys(("Bounced Address", "Unsubscribed Address", "Spam Reporting Address"), contract.NOT_TAKEN),
    "Invalid": contract.NOT_TAKEN._replace(about=About.ADDRESS),
    "Invalid SMTPAPI header": contract.ours("the header X-SMTPAPI of our mails cannot be read"),
    "Spam Content": contract.ours("SendGrid takes our text for spam"),
    "Recipient List over Package Quota": contract.ours("the mails of our plan are used up"),
}
# By what SendGrid makes of a bounce that it calls blocked. Source: twilio.com/docs/sendgrid, "Bounce and block
# classifications".
BLOCKS: Mapping[str, Said] = {
    "Content": contract.ours("the recipient's server refuses our text", "Content"),
    "Reputation": contract.ours("the recipient's server refuses our domain or SendGrid's address", "Reputation"),
    "Unclassified": contract.NOT_KNOWN._replace(code="Unclassified"),
}


def unsigned(headers: Mapping[str, str], _keys: Sequence[str]) -> str:
    return "" if headers.get(SIGNATURE) else "it is not signed"


def refusal(headers: Mapping[str, str], body: bytes, *, keys: Sequence[str], now: datetime) -> str:
    """`keys` are public keys as SendGrid shows them: DER in base64."""
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


def named(_headers: Mapping[str, str], body: bytes) -> bytes:
    return body  # of one without readable events


def read(body: bytes) -> list[tuple[bytes, DeliveryUpdate]] | NotUnderstood:
    """Events that name no mail of this form are left out: an account may send other mails, too."""
    events = read_list(body)
    if isinstance(events, NoObject):
        return NotUnderstood("it is not a readable JSON list")
    if len(events) > MOST_EVENTS:
        return NotUnderstood("it has too many events")
    found = [_update(event) for event in events if isinstance(event, dict)]
    return [one for one in found if one is not None]


def _update(event: Mapping[str, Any]) -> tuple[bytes, DeliveryUpdate] | None:
    id_, reference = event.get("sg_event_id"), message_key(event.get("smtp-id"))
    # A bounce that comes after the server had taken the mail names only the address.
    address = usable_address(event.get("email")) if not reference and event.get("event") == "bounce" else ""
    if not isinstance(id_, str) or not id_ or not (reference or address):
        return None
    kind, given = contract.event_name(event.get("event")), event.get("timestamp")
    at = datetime.fromtimestamp(given, UTC) if type(given) is int and 0 < given < 4_000_000_000 else None
    update = DeliveryUpdate(kind, reference, address, happened_at=at, **_meaning(event)._asdict())
    return b"sendgrid." + id_.encode("utf-8", "surrogatepass"), update


def _meaning(event: Mapping[str, Any]) -> Said:
    match event.get("event"):
        case "bounce":
            code = enhanced_code(event.get("status"), event.get("reason"))
            if event.get("type") != "blocked":
                return of_permanent_failure(code, str(event.get("reason", "")))
            return BLOCKS.get(str(event.get("bounce_classification")), contract.NOT_TAKEN._replace(code=code))
        case "dropped":
            reason = str(event.get("reason"))
            return next((said for begins, said in DROPS.items() if reason.startswith(begins)), contract.NOT_KNOWN)
        case kind:
            return MEANINGS.get(str(kind), contract.NOTHING_FOLLOWS)
