"""Reads what Amazon SES publishes about our mails, for an identity or by a configuration set; and the messages of
Amazon SNS that bring it, and who signed them. Pure.

SES gives each mail a Message-ID of its own. Ours is among the original headers, if SES is set to include these.

SNS signs some fields with RSA, by a certificate that it names. So all depends on where the certificate comes from: only
the SNS host of a configured topic's own region, at a path of this one form. No other address in a message is followed.
"""

import base64
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import Certificate, load_pem_x509_certificate

from onboarding_worker.adapters.strict_json import NoObject, read_object
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.features.delivery.section import host_of
from onboarding_worker.senders import contract
from onboarding_worker.senders.contract import DeliveryUpdate, NotUnderstood, Said, message_key
from onboarding_worker.senders.smtp_answers import enhanced_code, of_permanent_failure

MOST_HEADERS = 500
# SES has the address on a list of its own, and handed nothing over.
NOT_TRIED = ("Suppressed", "OnAccountSuppressionList", "UnsubscribedRecipient")
# By type and subtype of a bounce; of other permanent ones the server's words say what they mean, and other transient
# ones may pass. Source: docs.aws.amazon.com/ses/latest/dg/notification-contents.html, "Bounce types".
BOUNCES: Mapping[tuple[str, str], Said] = {
    **{("Permanent", part): contract.NOT_TAKEN for part in NOT_TRIED},
    **{
        ("Transient", part): contract.NOT_TAKEN for part in ("MessageTooLarge", "ContentRejected", "AttachmentRejected")
    },
    ("Undetermined", "Undetermined"): contract.NOT_KNOWN,
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
    facts = fields.get(kind[:1].lower() + kind[1:])  # the time and the facts of a DeliveryDelay are its deliveryDelay
    facts = facts if isinstance(facts, dict) else {}
    at, said = utc_time(facts.get("timestamp")), _meaning(kind, facts)
    return DeliveryUpdate(contract.event_name(kind), reference, happened_at=at, **said._asdict())


def _reference(headers: list[Any]) -> str:
    for header in headers[:MOST_HEADERS]:
        name, value = (header.get("name"), header.get("value")) if isinstance(header, dict) else (None, None)
        if isinstance(name, str) and isinstance(value, str) and name.lower() == "message-id":
            return message_key(value)
    return ""


def _meaning(kind: str, facts: Mapping[str, Any]) -> Said:
    match kind:
        case "Delivery":
            return contract.ARRIVED
        case "Complaint" if facts.get("complaintSubType") in NOT_TRIED:
            return contract.NOT_TAKEN
        case "Complaint" if facts.get("complaintFeedbackType") == "not-spam":
            return contract.NOTHING_FOLLOWS
        case "Complaint":
            return contract.COMPLAINED
        case "Bounce":
            return _bounce(facts)
        case "DeliveryDelay":
            return contract.NOT_YET
        case "Reject":
            return contract.ours("Amazon SES found a virus in our mail", "Reject")
        case "Subscription":
            wanted = facts.get("newTopicPreferences")
            leaves = isinstance(wanted, dict) and wanted.get("unsubscribeAll") is True
            return contract.ASKED_FOR_NO_MORE if leaves else contract.NOTHING_FOLLOWS
        case _:
            return contract.NOTHING_FOLLOWS  # send, open, click


def _bounce(facts: Mapping[str, Any]) -> Said:
    recipients = facts.get("bouncedRecipients")
    first = recipients[0] if isinstance(recipients, list) and recipients and isinstance(recipients[0], dict) else {}
    words = first.get("diagnosticCode")
    words = words if isinstance(words, str) else ""
    code, kind = enhanced_code(first.get("status"), words), str(facts.get("bounceType"))
    if said := BOUNCES.get((kind, str(facts.get("bounceSubType")))):
        return said._replace(code=code)
    if kind == "Permanent":
        return of_permanent_failure(code, words)
    return (contract.NOT_YET if kind == "Transient" else contract.NOT_KNOWN)._replace(code=code)


LARGEST = 64 * 1024
OLDEST = timedelta(hours=25)  # SNS repeats for an hour at most, unless the topic says otherwise
SHORTEST_KEY = 2048  # bits
TOPIC_HEADER = "x-amz-sns-topic-arn"
CERTIFICATE = re.compile(r"SimpleNotificationService-[A-Za-z0-9_-]{1,64}\.pem", re.ASCII)
TOKEN = re.compile(r"[A-Za-z0-9]{16,1024}", re.ASCII)
NOTIFICATION, CONFIRMATION, ENDED = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"
# What is signed, in this order.
_OF_SUBSCRIPTION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: _OF_SUBSCRIPTION,
    ENDED: _OF_SUBSCRIPTION,
}
# The topic chooses; SHA-1 is its default. A collision would be of no use: the topic is signed behind the content.
HASHES: Mapping[str, type[SHA1] | type[SHA256]] = {"1": SHA1, "2": SHA256}


@dataclass(frozen=True, repr=False)
class SnsMessage:
    """A message of a configured topic, not verified yet. `message` is what was published: personal, so no repr."""

    kind: str
    topic: str
    message: str
    token: str
    certificate: str  # its name on the host of the topic's region
    signature: bytes
    hashed: type[SHA1] | type[SHA256]
    content: bytes  # what is signed; the same for each copy with a valid signature, whatever its fields are
    sent_at: datetime | None

    @property
    def certificate_url(self) -> str:
        return f"https://{host_of(self.topic)}/{self.certificate}"

    @property
    def confirmation_url(self) -> str:
        """Where the subscription is confirmed. Made by us: the address in the message is not followed."""
        asked = {"Action": "ConfirmSubscription", "TopicArn": self.topic, "Token": self.token}
        return f"https://{host_of(self.topic)}/?{urlencode(asked)}"


def read_message(body: bytes, *, topics: Collection[str]) -> SnsMessage | str:
    """The message; a text: why it is refused, without a value. Never raises on the bytes that were sent."""
    fields = read_object(body) if len(body) <= LARGEST else None
    if fields is None or isinstance(fields, NoObject):
        return "it is not a readable JSON object"
    kind, topic = fields.get("Type"), fields.get("TopicArn")
    if not isinstance(kind, str) or kind not in SIGNED:
        return "its type is not one of SNS"
    if not isinstance(topic, str) or topic not in topics:
        return "its topic is not in delivery.ses.topics"
    values = {name: value for name in SIGNED[kind] if (value := fields.get(name)) is not None}
    is_whole = values.keys() >= {*SIGNED[kind]} - {"Subject"}
    if not is_whole or not all(isinstance(value, str) for value in values.values()):
        return "a field is missing, or is not a text"
    hashed = HASHES.get(str(fields.get("SignatureVersion")))
    signed, given = fields.get("Signature"), fields.get("SigningCertURL")
    try:
        signature = base64.b64decode(signed, validate=True) if isinstance(signed, str) else b""
    except ValueError:
        signature = b""
    if hashed is None or not signature:
        return "it is not signed"
    place = f"https://{host_of(topic)}/"
    certificate = given.removeprefix(place) if isinstance(given, str) and given.startswith(place) else ""
    if not CERTIFICATE.fullmatch(certificate):
        return "its certificate is not at the host of the topic's region"
    token = str(values.get("Token", ""))
    if kind == CONFIRMATION and not TOKEN.fullmatch(token):
        return "its token cannot be read"
    text = "".join(f"{name}\n{value}\n" for name, value in values.items())
    content, sent_at = text.encode("utf-8", "surrogatepass"), utc_time(values.get("Timestamp"))
    return SnsMessage(kind, topic, values["Message"], token, certificate, signature, hashed, content, sent_at)


def read_certificate(pem: bytes) -> Certificate | None:
    """The certificate, if it has a key that SNS could sign with. Never raises."""
    try:
        found = load_pem_x509_certificate(pem)
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return found if isinstance(key, RSAPublicKey) and key.key_size >= SHORTEST_KEY else None


def refusal(message: SnsMessage, certificate: Certificate, *, now: datetime) -> str:
    """Why the message is not from SNS, or is too old; "" if the certificate's key signed it. `now` is aware UTC."""
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return "its certificate is not valid now"
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        return "its certificate has a key of another kind"
    try:
        key.verify(message.signature, message.content, PKCS1v15(), message.hashed())
    except (InvalidSignature, UnsupportedAlgorithm):
        return "its signature is wrong"
    if message.sent_at is None or abs(now - message.sent_at) > OLDEST:
        return "it is too old, or of a wrong clock"
    return ""
