"""Amazon SNS, as its documentation says it posts: messages signed by a certificate of ours."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.suite import rsa_keys

TOPIC = "arn:aws:sns:eu-west-1:123456789012:bounces"
HOST = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE_URL = f"{HOST}/SimpleNotificationService-{'0a' * 16}.pem"
KEY = rsa_keys.OURS
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FIELDS = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = KEY, *, until: datetime = NOON + timedelta(days=100)
) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(NOON - timedelta(days=100)).not_valid_after(until)
    return dated.sign(key, SHA256()).public_bytes(Encoding.PEM)


PEM = certificate()


def signed(fields: dict[str, Any], *, key: rsa.RSAPrivateKey = KEY, version: str = "2", **changes: Any) -> bytes:
    """The body of a message with these fields; `changes` are made after it was signed."""
    usual = {"MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC, "Timestamp": NOON.isoformat()}
    whole = {"Type": "Notification"} | usual | fields
    content = "".join(f"{name}\n{whole[name]}\n" for name in FIELDS if name in whole)
    hashed = SHA1() if version == "1" else SHA256()  # noqa: S303 -- as SNS does it
    signature = base64.b64encode(key.sign(content.encode(), padding.PKCS1v15(), hashed)).decode()
    whole |= {"SignatureVersion": version, "Signature": signature, "SigningCertURL": CERTIFICATE_URL}
    return json.dumps({name: value for name, value in (whole | changes).items() if value is not None}).encode()


def ses(kind: str, part: dict[str, Any], message_id: str | None) -> str:
    """What SES publishes about a mail; None: without the mail's headers."""
    headers = [{"name": "From", "value": "verify@example.com"}, {"name": "Message-ID", "value": message_id}]
    mail = {"messageId": "00000138111222aa", "destination": ["ona@example.com"]}
    name = {"DeliveryDelay": "deliveryDelay"}.get(kind, kind.lower())
    facts = {"timestamp": "2026-11-20T11:59:00.000Z", **part}
    return json.dumps(
        {"notificationType": kind, name: facts, "mail": mail | ({"headers": headers} if message_id else {})}
    )


def notification(
    kind: str, part: dict[str, Any], message_id: str | None, *, id_: str = "1", subject: str | None = None, **how: Any
) -> bytes:
    more = {} if subject is None else {"Subject": subject}
    return signed({"Message": ses(kind, part, message_id), "MessageId": id_, **more}, **how)


def confirmation(**how: Any) -> bytes:
    fields = {"Message": "You have chosen to subscribe.", "Token": "2336412f37" * 8, "Type": "SubscriptionConfirmation"}
    return signed(fields | {"SubscribeURL": "https://evil.example/?Action=ConfirmSubscription"}, **how)
