"""Whether a POST of `[subscribers.NAME]` is genuine, with the standard library alone (docs/features/outbox.md).

Give it the bytes of the body as they came, before any framework reads the JSON. `headers` finds names in lower case, or
in any case. Answer 401 if the result is false.
"""

import base64
import hashlib
import hmac
import time


def is_genuine(headers, body, key, now=None):
    """Whether one of the signatures is by this key, and not older than five minutes."""
    sent, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit()):
        return False
    if abs((time.time() if now is None else now) - int(stamp)) > 300:  # noqa: TID251 -- a program of its own
        return False
    secret = base64.b64decode(key.removeprefix("whsec_")) if key.startswith("whsec_") else key.encode()
    signed = f"{sent}.{stamp}.".encode(errors="replace") + body
    ours = b"v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())
    # While a key is rotated, there are two. Each is compared in constant time.
    given = [one.encode(errors="replace") for one in headers.get("webhook-signature", "").split()]
    return any([hmac.compare_digest(ours, one) for one in given])
