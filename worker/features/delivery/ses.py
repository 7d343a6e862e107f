"""Reads what Amazon SES publishes about our mails, for an identity or by a configuration set. Pure.

SES gives each mail a Message-ID of its own. Ours is among the original headers, if SES is set to include these.
"""

from collections.abc import Mapping
from typing import Any

from worker.core.foundation.notation import utc_time
from worker.features.delivery.mail_meaning import enhanced_code, of_permanent_failure
from worker.providers.strict_json import NoObject, read_object
from worker.senders.delivery_reports import MESSAGE_ID, DeliveryStatus, DeliveryUpdate, NotUnderstood, Stop, event_name

MOST_HEADERS = 500
# SES has the address on a list of its own, and handed nothing over.
NOT_TRIED = ("Suppressed", "OnAccountSuppressionList", "UnsubscribedRecipient")
REFUSED_CONTENT = ("MessageTooLarge", "ContentRejected", "AttachmentRejected")
# The object that has the time and the facts, by the event.
_PARTS = {
    "Bounce": "bounce",
    "Complaint": "complaint",
    "Delivery": "delivery",
    "DeliveryDelay": "deliveryDelay",
    "Reject": "reject",
    "Subscription": "subscription",
}


def read(message: str) -> DeliveryUpdate | NotUnderstood:
    """The update in a message that SES published. Never raises on the text that was sent."""
    fields = read_object(message.encode("utf-8", "surrogatepass"))
    if isinstance(fields, NoObject):
        return NotUnderstood("it is not of SES: no readable JSON object")
    kind = fields.get("notificationType", fields.get("eventType"))
    mail = fields.get("mail")
    if not isinstance(kind, str) or not isinstance(mail, dict):
        return NotUnderstood("it is not of SES: it names no mail")  # such as SES's own test message
    headers = mail.get("headers")
    if not isinstance(headers, list):
        return NotUnderstood("it lacks the mail's headers: switch on that SES includes the original headers")
    reference = _reference(headers)
    if not reference:
        return NotUnderstood("it names no message")
    facts = fields.get(_PARTS.get(kind, ""), {})
    facts = facts if isinstance(facts, dict) else {}
    status, stop, code = _meaning(kind, facts)
    return DeliveryUpdate(
        event_name(kind), reference, status=status, stop=stop, code=code, happened_at=utc_time(facts.get("timestamp"))
    )


def _reference(headers: list[Any]) -> str:
    for header in headers[:MOST_HEADERS]:
        name, value = (header.get("name"), header.get("value")) if isinstance(header, dict) else (None, None)
        if isinstance(name, str) and isinstance(value, str) and name.lower() == "message-id":
            match = MESSAGE_ID.fullmatch(value.strip()[:500])
            return match[1] if match else ""
    return ""


def _meaning(kind: str, facts: Mapping[str, Any]) -> tuple[DeliveryStatus | None, Stop | None, str]:
    match kind:
        case "Delivery":
            return DeliveryStatus.DELIVERED, None, ""
        case "Complaint" if facts.get("complaintSubType") in NOT_TRIED:
            return DeliveryStatus.BLOCKED, None, ""
        case "Complaint" if facts.get("complaintFeedbackType") == "not-spam":
            return None, None, ""
        case "Complaint":
            return None, Stop.COMPLAINED, ""
        case "Bounce":
            return _bounce(facts)
        case "DeliveryDelay":
            return DeliveryStatus.LATER, None, ""
        case "Reject":  # SES found a virus
            return DeliveryStatus.BLOCKED, None, ""
        case "Subscription":
            wanted = facts.get("newTopicPreferences")
            leaves = isinstance(wanted, dict) and wanted.get("unsubscribeAll") is True
            return None, Stop.STOPPED if leaves else None, ""
        case _:
            return None, None, ""  # send, open, click


def _bounce(facts: Mapping[str, Any]) -> tuple[DeliveryStatus, Stop | None, str]:
    recipients = facts.get("bouncedRecipients")
    first = recipients[0] if isinstance(recipients, list) and recipients and isinstance(recipients[0], dict) else {}
    words = first.get("diagnosticCode")
    words = words if isinstance(words, str) else ""
    code, part = enhanced_code(first.get("status"), words), facts.get("bounceSubType")
    if facts.get("bounceType") == "Transient" and part not in REFUSED_CONTENT:
        return DeliveryStatus.LATER, None, code
    if facts.get("bounceType") == "Permanent" and part not in NOT_TRIED:
        return of_permanent_failure(code, words)
    return DeliveryStatus.BLOCKED, None, code
