"""Reads Mailgun's webhooks about our mails. Pure.

Mailgun signs a time and a token, and not the content: HMAC-SHA256 with the account's webhook signing key. So a token
is used once: `named` is what a webhook is recognised by, whatever its content says.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from onboarding_worker.adapters.strict_json import NoObject, read_object
from onboarding_worker.senders import contract
from onboarding_worker.senders.contract import DeliveryUpdate, NotUnderstood, Said, message_key
from onboarding_worker.senders.smtp_answers import enhanced_code, of_permanent_failure

LARGEST = 64 * 1024
# Mailgun repeats a webhook for eight hours, with a new time and token each.
OLDEST = timedelta(minutes=15)
# By the event. Of others, such as accepted, opened and clicked, nothing follows. Source: documentation.mailgun.com,
# "Event structure" and "Tracking failures".
MEANINGS: Mapping[str, Said] = {
    "delivered": contract.ARRIVED,
    "complained": contract.COMPLAINED,
    "unsubscribed": contract.ASKED_FOR_NO_MORE,
    "failed": contract.NOT_YET,
}
# By the reason of a permanent failure. Of others, such as bounce and generic, the server's words say what it means.
REASONS: Mapping[str, Said] = {
    # Mailgun's own lists: nothing was sent.
    **dict.fromkeys(("suppress-bounce", "suppress-complaint", "suppress-unsubscribe"), contract.NOT_TAKEN),
    "espblock": contract.ours("the recipient's service blocks our domain or Mailgun's address", "espblock"),
}


def unsigned(_headers: Mapping[str, str], _keys: Sequence[str]) -> str:
    return ""  # the signature is in the body


def refusal(_headers: Mapping[str, str], body: bytes, *, keys: Sequence[str], now: datetime) -> str:
    fields = read_object(body) if len(body) <= LARGEST else None
    signed = fields.get("signature") if isinstance(fields, dict) else None
    if not isinstance(signed, dict):
        return "it is not signed"
    at, token, given = (signed.get(name) for name in ("timestamp", "token", "signature"))
    if not (isinstance(at, str) and isinstance(token, str) and isinstance(given, str)):
        return "it is not signed"
    if not (at.isascii() and at.isdigit() and len(at) <= 12):
        return "its time cannot be read"
    signed_part = f"{at}{token}".encode("utf-8", "surrogatepass")
    wanted = [hmac.new(key.encode(), signed_part, hashlib.sha256).hexdigest() for key in keys]
    if not any([hmac.compare_digest(one.encode(), given.encode("utf-8", "surrogatepass")) for one in wanted]):
        return "no key of ours verifies its signature"
    return "" if abs(now.timestamp() - int(at)) <= OLDEST.total_seconds() else "it is too old, or of a wrong clock"


def named(_headers: Mapping[str, str], body: bytes) -> bytes:
    fields = read_object(body)
    signed = fields.get("signature") if isinstance(fields, dict) else None
    token = str(signed.get("token", "")).encode("utf-8", "surrogatepass") if isinstance(signed, dict) else body
    return b"mailgun." + token


def read(body: bytes) -> DeliveryUpdate | NotUnderstood:
    fields = read_object(body)
    if isinstance(fields, NoObject):
        return NotUnderstood("it is not a readable JSON object")
    event = fields.get("event-data")
    if not isinstance(event, dict):
        return NotUnderstood("it has no event-data")
    reference = message_key(_within(event, "message", "headers").get("message-id"))
    if not reference:
        return NotUnderstood("it names no message")
    said = _meaning(event)
    kind, given = contract.event_name(event.get("event")), event.get("timestamp", 0)
    at = datetime.fromtimestamp(given, UTC) if type(given) in (int, float) and 0 < given < 4e9 else None
    return DeliveryUpdate(kind, reference, happened_at=at, **said._asdict())


def _meaning(event: Mapping[str, Any]) -> Said:
    if event.get("event") == "failed" and event.get("severity") == "permanent":
        report = _within(event, "delivery-status")
        words = f"{report.get('message', '')} {report.get('description', '')}"
        code = enhanced_code(report.get("enhanced-code"), report.get("message"), report.get("description"))
        return REASONS.get(str(event.get("reason"))) or of_permanent_failure(code, words)
    return MEANINGS.get(str(event.get("event")), contract.NOTHING_FOLLOWS)


def _within(fields: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = fields.get(name)
        if not isinstance(inner, dict):
            return {}
        fields = inner
    return fields
