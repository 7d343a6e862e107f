"""Simulates the recipients of texts and mails: whether a message arrives, complaints, and the answer STOP; and the
webhooks about it: Twilio's status callbacks and answers, and bounces of mail.

Sources: Twilio's pages on the outbound message status, on incoming messages and on signing; for mail the generic
webhook that docs/reference/webhooks.md describes, signed as the Standard Webhooks specification says.
"""

import base64
import functools
import hashlib
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

from onboarding_sandbox.endpoints.twilio import FOUND_LATER, Text
from onboarding_sandbox.mailbox import Mail
from onboarding_sandbox.options import NO_TROUBLE, TEXTS, Chance, Clock, SandboxOptions, Trouble
from onboarding_sandbox.people.webhook_sender import WRONG_KEY, DelayedTasks, Webhook, WebhookSender

ARRIVE = ("delivered", "stop")  # texts
SOON, ANSWERED = timedelta(seconds=3), timedelta(minutes=1)


class Recipients:
    def __init__(
        self,
        options: SandboxOptions,
        delayed: DelayedTasks,
        webhook_sender: WebhookSender,
        reads: Callable[[str, str], None],
    ) -> None:
        """`reads` gets each message's address and text: the customer may come by its link."""
        self._options, self._delayed, self._webhook_sender, self._reads = options, delayed, webhook_sender, reads
        self._nth: Counter[tuple[str, str]] = Counter()

    def reset(self) -> None:
        self._nth.clear()

    def texted(self, text: Text) -> None:
        """A text was accepted: who gets it reads it; report its delivery, if its sender gave a callback."""
        does, trouble, is_told = "delivered", NO_TROUBLE, bool(self._options.texts)
        if text.by_whatsapp and text.to.endswith(FOUND_LATER):
            does, is_told = "not-on-whatsapp", True
        elif self._options.texts and text.callback:
            chance = self._chance("text", text.to)
            does = chance.of(self._options.texts, "delivered")
            if does == "not-on-whatsapp" and not text.by_whatsapp:
                does = "delivered"
            trouble = chance.trouble(self._options.webhook_troubles)
        if does in ARRIVE:
            self._reads(text.to, text.body)
        if is_told and text.callback:
            self.report_text(text, does, trouble=trouble)

    def mailed(self, mail: Mail) -> None:
        does, to = "", mail.recipients[0] if mail.recipients else ""
        if self._options.mails and self.reports_mail:
            chance = self._chance("mail", to)
            does = chance.of(self._options.mails, "")
            if does:
                self.report_mail(mail, does, trouble=chance.trouble(self._options.webhook_troubles))
        if to and does != "bounced" and (self._options.page is not None or self._options.customers_by_message):
            self._reads(to, mail.text or "")

    @property
    def reports_mail(self) -> bool:
        return self._options.mail_webhook is not None

    def may_call(self, text: Text) -> bool:
        """Whether the text's callback is on this machine, or at a host of `--webhooks`: no other host is called."""
        host = _host(text.callback or "")
        known = [*self._options.webhooks.values(), self._options.mail_webhook or ""]
        if host in ("", "localhost", *map(_host, known)):
            return bool(host)
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False

    def report_text(
        self, text: Text, does: str, *, code: str | None = None, trouble: Trouble = NO_TROUBLE
    ) -> list[str]:
        """Report that this happened to the text. Returns the statuses that will be reported, in order."""
        if not self.may_call(text):
            return []
        arrived = does in ARRIVE
        last = "delivered" if arrived else "undelivered"
        statuses = ["sent", last, *(["STOP"] if does == "stop" else [])]
        error = "" if arrived else (TEXTS[does] if code is None else code)
        self._delayed.later(trouble.late, functools.partial(self._follow, text, statuses, error, trouble))
        return statuses

    def report_mail(self, mail: Mail, does: str, *, trouble: Trouble = NO_TROUBLE) -> list[str]:
        self._delayed.later(SOON + trouble.late, functools.partial(self._report, mail, does, trouble))
        return [does]

    async def _follow(self, text: Text, statuses: list[str], error: str, trouble: Trouble) -> None:
        for status in reversed(statuses) if trouble.swapped else statuses:
            await self._delayed.wait(ANSWERED if status == "STOP" else SOON)
            await self._webhook_sender.send(self._text_webhook(text, status, error), trouble)

    def _text_webhook(self, text: Text, status: str, error: str) -> Webhook:
        fields = {"AccountSid": self._options.twilio_account, "ApiVersion": "2010-04-01"}
        if status == "STOP":  # the recipient's answer
            fields |= {"Body": "STOP", "From": text.to, "To": text.sender, "NumMedia": "0", "NumSegments": "1"}
            fields |= dict.fromkeys(("MessageSid", "SmsMessageSid", "SmsSid"), f"SM{secrets.token_hex(16)}")
            fields["SmsStatus"] = "received"
        else:
            fields |= {"From": text.sender, "To": text.to, "MessageSid": text.sid, "SmsSid": text.sid}
            fields |= {"MessageStatus": status, "SmsStatus": status}
            if status == "undelivered" and error:
                fields["ErrorCode"] = error
            if status in ("delivered", "undelivered"):
                fields["RawDlrDoneDate"] = f"{self._options.clock():%y%m%d%H%M}"
        url = text.callback or ""
        sign = functools.partial(text_headers, url, fields)
        genuine = functools.partial(sign, self._options.twilio_token)
        body = urlencode(fields).encode()
        return Webhook("twilio", status, url, body, genuine, text.to, text.sid, forged_headers=sign(WRONG_KEY))

    async def _report(self, mail: Mail, does: str, trouble: Trouble) -> None:
        event = {"type": "bounced" if does == "deferred" else does, "message_id": mail.message_id}
        event |= {"email": mail.recipients[0] if mail.recipients else None}
        event |= {"at": self._options.clock().astimezone(UTC).isoformat()}
        how = {"permanent": does == "bounced"} if event["type"] == "bounced" else {}
        body = json.dumps(event | how).encode()
        sign = functools.partial(mail_headers, body, self._options.clock)
        genuine = functools.partial(sign, self._options.mail_webhook_key)
        of, url = (", ".join(mail.recipients), mail.message_id), self._options.mail_webhook or ""
        webhook = Webhook("mail", does, url, body, genuine, *of, forged_headers=sign(WRONG_KEY))
        await self._webhook_sender.send(webhook, trouble)

    def _chance(self, kind: str, recipient: str) -> Chance:
        self._nth[kind, recipient] += 1
        return Chance(self._options.seed, kind, recipient, self._nth[kind, recipient])


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


FORM = "application/x-www-form-urlencoded"


def text_headers(url: str, fields: Mapping[str, str], token: str) -> dict[str, str]:
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return {"Content-Type": FORM, "X-Twilio-Signature": base64.b64encode(digest).decode("ascii")}


def mail_headers(body: bytes, clock: Clock, key: str) -> dict[str, str]:
    """`key` is a text, or base64 after `whsec_`. Raises ValueError for invalid base64."""
    raw = base64.b64decode(key.removeprefix("whsec_"), validate=True) if key.startswith("whsec_") else key.encode()
    message_id, sent = f"msg_{secrets.token_hex(12)}", str(int(clock().timestamp()))
    digest = hmac.new(raw, f"{message_id}.{sent}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": sent,
        "webhook-signature": "v1," + base64.b64encode(digest).decode("ascii"),
    }
