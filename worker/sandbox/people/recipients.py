"""Plays those who get texts and mails: whether it arrives, whether they complain, whether they answer STOP."""

import functools
from collections import Counter
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from worker.sandbox.behaviour import TEXTS, Chance, Trouble
from worker.sandbox.mailbox import Mail
from worker.sandbox.options import SandboxOptions
from worker.sandbox.people import webhooks_messages
from worker.sandbox.people.errands import Errands
from worker.sandbox.people.postman import Letter, Postman
from worker.sandbox.texts import Text

WRONG_KEY = "a key that nobody has"
NO_TROUBLE = Trouble()
SOON, ANSWERED = timedelta(seconds=3), timedelta(minutes=1)


class Recipients:
    def __init__(self, options: SandboxOptions, errands: Errands, postman: Postman) -> None:
        self._options = options
        self._errands = errands
        self._postman = postman
        self._nth: Counter[tuple[str, str]] = Counter()

    def reset(self) -> None:
        self._nth.clear()

    def texted(self, text: Text) -> None:
        """A text was taken: what becomes of it is told where its sender has asked for that."""
        if self._options.texts and text.callback:
            chance = self._chance("text", text.to)
            does = chance.of(self._options.texts, "delivered")
            self.tell_text(text, does, trouble=chance.trouble(self._options.webhook_troubles))

    def mailed(self, mail: Mail) -> None:
        if self._options.mails and self._options.mail_webhook:
            chance = self._chance("mail", mail.recipients[0] if mail.recipients else "")
            does = chance.of(self._options.mails, "")
            if does:
                self.tell_mail(mail, does, trouble=chance.trouble(self._options.webhook_troubles))

    @property
    def tells_of_mail(self) -> bool:
        return self._options.mail_webhook is not None

    def may_call(self, text: Text) -> bool:
        """Whether the text's callback is on this machine, or at a host that webhooks go to: nothing leaves it else."""
        host = _host(text.callback or "")
        known = [*self._options.webhooks.values(), self._options.mail_webhook or ""]
        return bool(host) and (_is_loopback(host) or host in map(_host, known))

    def tell_text(self, text: Text, does: str, *, code: str | None = None, trouble: Trouble = NO_TROUBLE) -> list[str]:
        """Let it become of the text. Returns the statuses that will be told, in order."""
        if not self.may_call(text):
            return []
        arrived = does in ("delivered", "stop")
        last = "delivered" if arrived else "undelivered"
        told = ["sent", last, *(["STOP"] if does == "stop" else [])]
        error = "" if arrived else (TEXTS[does] if code is None else code)
        self._errands.later(trouble.late, functools.partial(self._follow, text, told, error, trouble))
        return told

    def tell_mail(self, mail: Mail, does: str, *, trouble: Trouble = NO_TROUBLE) -> list[str]:
        self._errands.later(SOON + trouble.late, functools.partial(self._report, mail, does, trouble))
        return [does]

    async def _follow(self, text: Text, told: list[str], error: str, trouble: Trouble) -> None:
        for status in reversed(told) if trouble.swapped else told:
            await self._errands.wait(ANSWERED if status == "STOP" else SOON)
            await self._postman.send(self._text_letter(text, status, error), trouble)

    def _text_letter(self, text: Text, status: str, error: str) -> Letter:
        account, url = self._options.twilio_account, text.callback or ""
        if status == "STOP":
            fields = webhooks_messages.answered(text, account, "STOP")
        else:
            code = error if status == "undelivered" else ""
            fields = webhooks_messages.text_status(text, account, status, code, at=self._options.clock())
        sign = functools.partial(webhooks_messages.text_headers, url, fields)
        return Letter(
            "twilio",
            status,
            url,
            webhooks_messages.form(fields),
            lambda: sign(self._options.twilio_token),
            text.to,
            text.sid,
            forged_headers=sign(WRONG_KEY),
        )

    async def _report(self, mail: Mail, does: str, trouble: Trouble) -> None:
        now = self._options.clock()
        body = webhooks_messages.mail_event(mail, does, at=now)
        key = self._options.mail_webhook_key
        letter = Letter(
            "mail",
            does,
            self._options.mail_webhook or "",
            body,
            lambda: webhooks_messages.mail_headers(body, key, at=self._options.clock()),
            ", ".join(mail.recipients),
            mail.message_id,
            forged_headers=webhooks_messages.mail_headers(body, WRONG_KEY, at=now),
        )
        await self._postman.send(letter, trouble)

    def _chance(self, kind: str, who: str) -> Chance:
        self._nth[kind, who] += 1
        return Chance(self._options.seed, kind, who, self._nth[kind, who])


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
