"""What lets a request through the first check of each door: the key, or the signature of these bytes."""

import base64
import hashlib
import hmac
from urllib.parse import parse_qsl

from tests.conftest import NOON
from tests.web.site import FIRST, HOOKS, SIGNING

# A person's browser: a stable link leads no program on.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ADDRESS = "https://verify.example.com/onboarding/callbacks/sms"  # as Twilio is given it
EVENTS, KYC, SMS, EMAIL = "/events", "/webhooks/kyc", "/callbacks/sms", "/callbacks/email"
AU = f"/webhooks/au/{HOOKS['PATH_SECRET']}/r-1"


def key() -> dict[str, str]:
    return {"Authorization": f"Bearer {FIRST}"}


def standard_webhooks(body: bytes, *, id_: str = "msg_1", late: float = 0.0, key: bytes = SIGNING) -> dict[str, str]:
    time = str(int(NOON.timestamp() - late))
    mac = hmac.new(key, f"{id_}.{time}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": time, "webhook-signature": signature}


def idenfy(body: bytes, *, key: str = HOOKS["HOOK"]) -> dict[str, str]:
    return {"Idenfy-Signature": hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}


def twilio(body: bytes, *, key: str = HOOKS["HOOK"], url: str = ADDRESS) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict")
        signed = "".join(name + value for name, value in sorted(set(pairs))).encode()
    except ValueError:
        signed = body
    mac = hmac.new(key.encode(), url.encode() + signed, hashlib.sha1).digest()
    return {"X-Twilio-Signature": base64.b64encode(mac).decode(), "Content-Type": "application/x-www-form-urlencoded"}


def genuine(path: str, body: bytes) -> dict[str, str]:
    """The headers that make a request for this path genuine."""
    if path.startswith("/webhooks/"):
        return idenfy(body)
    if path.startswith(SMS):
        return twilio(body)
    if path.startswith("/callbacks/"):
        return standard_webhooks(body)
    if path.startswith("/s/"):
        return {"User-Agent": BROWSER}
    return key()
