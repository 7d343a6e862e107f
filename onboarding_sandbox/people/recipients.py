"""Simulates the recipients of texts and mails: whether a message arrives, complaints, and the answer STOP."""

import functools
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

from onboarding_sandbox.behaviour import NO_TROUBLE, TEXTS, Chance, Trouble
from onboarding_sandbox.endpoints.twilio import FOUND_LATER, Text
from onboarding_sandbox.mailbox import Mail
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.people import webhooks_messages
from onboarding_sandbox.people.delayed_tasks import DelayedTasks
from onboarding_sandbox.people.webhook_sender import Webhook, WebhookSender

WRONG_KEY = "not the key"
ARRIVE = ("delivered", "stop")  # texts
SOON, ANSWERED = timedelta(seconds=3), timedelta(minutes=1)


class Recipients:
    def __init__(
        self,
        options: SandboxOptions,
        delayed: DelayedTasks,
        webhook_sender: WebhookSender,
        *,
        reads: Callable[[str, str], None] = lambda _address, _text: None,
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
        account, url = self._options.twilio_account, text.callback or ""
        if status == "STOP":
            fields = webhooks_messages.answered(text, account, "STOP")
        else:
            code = error if status == "undelivered" else ""
            fields = webhooks_messages.text_status(text, account, status, code, at=self._options.clock())
        sign = functools.partial(webhooks_messages.text_headers, url, fields)
        return Webhook(
            "twilio",
            status,
            url,
            urlencode(fields).encode(),
            lambda: sign(self._options.twilio_token),
            text.to,
            text.sid,
            forged_headers=sign(WRONG_KEY),
        )

    async def _report(self, mail: Mail, does: str, trouble: Trouble) -> None:
        now = self._options.clock()
        body = webhooks_messages.mail_event(mail, does, at=now)
        key = self._options.mail_webhook_key
        webhook = Webhook(
            "mail",
            does,
            self._options.mail_webhook or "",
            body,
            lambda: webhooks_messages.mail_headers(body, key, at=self._options.clock()),
            ", ".join(mail.recipients),
            mail.message_id,
            forged_headers=webhooks_messages.mail_headers(body, WRONG_KEY, at=now),
        )
        await self._webhook_sender.send(webhook, trouble)

    def _chance(self, kind: str, recipient: str) -> Chance:
        self._nth[kind, recipient] += 1
        return Chance(self._options.seed, kind, recipient, self._nth[kind, recipient])


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
