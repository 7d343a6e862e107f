"""The webhooks about texts and mails: Twilio's status callbacks and answers, and bounces of mail.

Sources: Twilio's pages on the outbound message status, on incoming messages and on signing; for mail the generic
webhook that docs/reference/webhooks.md describes, signed as the Standard Webhooks specification says.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from onboarding_sandbox.endpoints.twilio import Text
from onboarding_sandbox.mailbox import Mail

FORM = "application/x-www-form-urlencoded"


def text_status(text: Text, account: str, status: str, code: str, *, at: datetime) -> dict[str, str]:
    fields = {
        "AccountSid": account,
        "ApiVersion": "2010-04-01",
        "From": text.sender,
        "To": text.to,
        "MessageSid": text.sid,
        "MessageStatus": status,
        "SmsSid": text.sid,
        "SmsStatus": status,
    }
    if code:
        fields["ErrorCode"] = code
    if status in ("delivered", "undelivered"):
        fields["RawDlrDoneDate"] = f"{at:%y%m%d%H%M}"
    return fields


def answered(text: Text, account: str, words: str) -> dict[str, str]:
    """The event of a recipient's answer to the text."""
    sid = f"SM{secrets.token_hex(16)}"
    return {
        "AccountSid": account,
        "ApiVersion": "2010-04-01",
        "Body": words,
        "From": text.to,
        "To": text.sender,
        "MessageSid": sid,
        "NumMedia": "0",
        "NumSegments": "1",
        "SmsMessageSid": sid,
        "SmsSid": sid,
        "SmsStatus": "received",
    }


def text_headers(url: str, fields: Mapping[str, str], token: str) -> dict[str, str]:
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return {"Content-Type": FORM, "X-Twilio-Signature": base64.b64encode(digest).decode("ascii")}


def mail_event(mail: Mail, does: str, *, at: datetime) -> bytes:
    body = {
        "type": "bounced" if does == "deferred" else does,
        "message_id": mail.message_id,
        "email": mail.recipients[0] if mail.recipients else None,
        "at": at.astimezone(UTC).isoformat(),
    }
    how = {"permanent": does == "bounced"} if body["type"] == "bounced" else {}
    return json.dumps(body | how).encode()


def mail_headers(body: bytes, key: str, *, at: datetime) -> dict[str, str]:
    """`key` is a text, or base64 after `whsec_`. Raises ValueError for invalid base64."""
    raw = base64.b64decode(key.removeprefix("whsec_"), validate=True) if key.startswith("whsec_") else key.encode()
    message_id, sent = f"msg_{secrets.token_hex(12)}", str(int(at.timestamp()))
    digest = hmac.new(raw, f"{message_id}.{sent}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": sent,
        "webhook-signature": "v1," + base64.b64encode(digest).decode("ascii"),
    }
