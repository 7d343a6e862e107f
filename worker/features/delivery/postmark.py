"""Reads Postmark's webhooks about our mails. Pure.

Postmark signs nothing: it sends the user and password of the webhook's address, or a header that the operator sets. It
names a mail by an id of its own, and repeats what the mail's `X-PM-Metadata-` headers said; so our mails carry one.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from onboarding_worker.adapters.strict_json import NoObject, read_object
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.core.model.stops import About
from onboarding_worker.senders import contract
from onboarding_worker.senders.contract import DeliveryUpdate, NotUnderstood, Said, message_key
from onboarding_worker.senders.smtp_answers import enhanced_code, of_permanent_failure, usable_address

LARGEST = 1024 * 1024  # a bounce may carry the whole mail, if the webhook is set so
NAME = "message"
# By the type of a bounce. Source: postmarkapp.com/developer/api/bounce-api, "Bounce types". Of a HardBounce the
# server's words say what it means.
BOUNCES: Mapping[str, Said] = {
    **dict.fromkeys(("Transient", "DnsError", "SoftBounce", "Undeliverable"), contract.NOT_YET),
    # Answers of people and of machines, which say nothing about the delivery.
    **dict.fromkeys(("AutoResponder", "AddressChange", "Subscribe", "OpenRelayTest"), contract.NOTHING_FOLLOWS),
    "ChallengeVerification": contract.NOTHING_FOLLOWS,
    "SpamComplaint": contract.COMPLAINED,
    "Unsubscribe": contract.ASKED_FOR_NO_MORE,
    **dict.fromkeys(
        ("SpamNotification", "VirusNotification", "ManuallyDeactivated", "Unconfirmed"), contract.NOT_TAKEN
    ),
    "BadEmailAddress": contract.NOT_TAKEN._replace(about=About.ADDRESS),
    "Blocked": contract.ours("the recipient's service blocks our text or Postmark's address", "Blocked"),
    "DMARCPolicy": contract.ours("the DMARC record of our domain does not allow Postmark", "DMARCPolicy"),
    "SMTPApiError": contract.ours("Postmark could not take the mail", "SMTPApiError"),
    "Unknown": contract.NOT_KNOWN._replace(code="Unknown"),
}


def headers_of(key: str) -> tuple[str, ...]:
    """Header lines of the mail with this key. Postmark takes both out; without the first it would give the mail a
    Message-ID of its own."""
    return "X-PM-KeepID: true", f"X-PM-Metadata-{NAME}: {key}"


def unsigned(headers: Mapping[str, str], keys: Sequence[str]) -> str:
    """The key is the password of Basic authentication with any user, or a bearer token."""
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    given = rest.strip()
    match scheme.lower():
        case "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, ValueError):  # a UnicodeDecodeError too
                return "its credentials cannot be read"
        case "bearer":
            pass
        case _:
            return "it has no credentials"
    shown = given.encode("utf-8", "surrogatepass")
    return "" if any([hmac.compare_digest(key.encode(), shown) for key in keys]) else "its credentials are not ours"


def refusal(headers: Mapping[str, str], _body: bytes, *, keys: Sequence[str], now: datetime) -> str:
    return unsigned(headers, keys)


def named(_headers: Mapping[str, str], body: bytes) -> bytes:
    return b"postmark." + body


def read(body: bytes) -> DeliveryUpdate | NotUnderstood:
    fields = read_object(body)
    if isinstance(fields, NoObject):
        return NotUnderstood("it is not a readable JSON object")
    kind = fields.get("RecordType")
    if not isinstance(kind, str):
        return NotUnderstood("it has no RecordType")
    reference, address = _reference(fields), ""
    if kind == "SubscriptionChange":
        address = usable_address(fields.get("Recipient"))  # what a person enters at Postmark belongs to no mail
    if not reference and not address:
        return NotUnderstood("it names no message")
    released = kind == "SubscriptionChange" and fields.get("SuppressSending") is False
    times = (utc_time(fields.get(name)) for name in ("DeliveredAt", "BouncedAt", "ChangedAt"))
    return DeliveryUpdate(
        contract.event_name(kind),
        reference,
        address,
        # Only by the person's own wish. An operator uses `onboard suppress --remove`, which leaves a name on it.
        resume=released and fields.get("Origin") == "Recipient",
        happened_at=next(filter(None, times), None),
        **_meaning(kind, fields)._asdict(),
    )


def _reference(fields: Mapping[str, Any]) -> str:
    kept = fields.get("Metadata")
    for name, value in kept.items() if isinstance(kept, dict) else ():
        if name.lower() == NAME and (key := message_key(value)):
            return key
    return ""


def _meaning(kind: str, fields: Mapping[str, Any]) -> Said:
    match kind:
        case "Delivery":
            return contract.ARRIVED
        case "SpamComplaint":
            return contract.COMPLAINED
        case "Bounce":
            return _bounce(fields)
        case "SubscriptionChange" if fields.get("SuppressSending") is True:
            # A hard bounce has a webhook of its own, with the server's words.
            stops = {"SpamComplaint": contract.COMPLAINED, "ManualSuppression": contract.ASKED_FOR_NO_MORE}
            return stops.get(str(fields.get("SuppressionReason")), contract.NOTHING_FOLLOWS)
        case _:
            return contract.NOTHING_FOLLOWS  # open, click


def _bounce(fields: Mapping[str, Any]) -> Said:
    kind, words = contract.event_name(fields.get("Type")), fields.get("Details")
    words = words if isinstance(words, str) else ""
    code = enhanced_code(words)
    if kind == "HardBounce":
        return of_permanent_failure(code, words)
    said = BOUNCES.get(kind, contract.NOT_KNOWN._replace(code=kind))
    return said._replace(code=code) if said.status is not None and not said.code else said
