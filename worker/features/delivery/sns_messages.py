"""Reads the messages of Amazon SNS, and verifies who signed them. Pure.

SNS signs some fields with RSA, by a certificate that it names. So all depends on where the certificate comes from: only
the SNS host of a configured topic's own region, at a path of this one form. No other address in a message is followed.
"""

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import Certificate, load_pem_x509_certificate

from worker.core.foundation.notation import utc_time
from worker.features.delivery.section import host_of
from worker.providers.strict_json import NoObject, read_object

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
    signature, given = _bytes(fields.get("Signature")), fields.get("SigningCertURL")
    if hashed is None or signature is None:
        return "it is not signed"
    place = f"https://{host_of(topic)}/"
    certificate = given.removeprefix(place) if isinstance(given, str) and given.startswith(place) else ""
    if not CERTIFICATE.fullmatch(certificate):
        return "its certificate is not at the host of the topic's region"
    token = str(values.get("Token", ""))
    if kind == CONFIRMATION and not TOKEN.fullmatch(token):
        return "its token cannot be read"
    content = "".join(f"{name}\n{value}\n" for name, value in values.items())
    return SnsMessage(
        kind=kind,
        topic=topic,
        message=values["Message"],
        token=token,
        certificate=certificate,
        signature=signature,
        hashed=hashed,
        content=content.encode("utf-8", "surrogatepass"),
        sent_at=utc_time(values.get("Timestamp")),
    )


def _bytes(value: object) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) and value else None
    except (binascii.Error, ValueError):
        return None


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
