"""Sends alerts to people: by mail, or as a POST to a chat or a system of yours. The outbox repeats what fails."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import aiosmtplib

from worker.domain.events.alerts import lines, subject
from worker.domain.events.published import OutgoingEvent, moment
from worker.domain.model.endings import Kind, Problem
from worker.foundation import event_loop
from worker.foundation.clock import Clock
from worker.foundation.connection_failures import in_words
from worker.foundation.tls import Tls
from worker.http.client import Http, open_http_session
from worker.http.messages import HttpRequest
from worker.http.trust import trust_of
from worker.publishers.contract import GoesOn, Reply
from worker.publishers.subscriber import read
from worker.senders.smtp_session import Client

TIMEOUT = timedelta(seconds=10)
JSON = "application/json"


@dataclass(repr=False)
class Posted:
    """A POST to one URL, which may hold a secret. `form` makes its body of what an alert says."""

    url: str
    form: str
    tls: Tls | None
    longest: timedelta = TIMEOUT

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        return event_loop.run(self._publish(events, clock, goes_on))

    async def _publish(self, events: Sequence[OutgoingEvent], clock: Clock, goes_on: GoesOn) -> list[Reply]:
        replies = []
        async with open_http_session() as session:
            http = Http(session, trust_of({self.url: self.tls}))
            for event in events:
                if not goes_on():
                    break
                began_at, body = clock(), FORMS[self.form](event)
                request = HttpRequest("POST", self.url, {"content-type": JSON}, body)
                answer = await http.call(request, timeout=TIMEOUT, reads_body=False)
                replies.append(Reply(event.number, began_at, read(answer, clock=clock)))
        return replies

    def close(self) -> None:
        """Do nothing: no connection is kept."""


def _as_json(event: OutgoingEvent) -> bytes:
    return _bytes({"id": str(event.event_id), "time": moment(event.occurred_at), **event.data})


def _as_slack(event: OutgoingEvent) -> bytes:
    # Slack's own rule: only these three have a meaning.
    text = "\n".join(lines(event.data)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _bytes({"text": text})


def _as_teams(event: OutgoingEvent) -> bytes:
    """An Adaptive Card, as Teams' workflows take it."""
    blocks = [{"type": "TextBlock", "text": line, "wrap": True} for line in lines(event.data)]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": subject(event.data), "weight": "Bolder", "wrap": True}, *blocks],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return _bytes({"type": "message", "attachments": [attachment]})


def _bytes(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


FORMS: Mapping[str, Callable[[OutgoingEvent], bytes]] = {"json": _as_json, "slack": _as_slack, "teams": _as_teams}


@dataclass(repr=False)
class Mailed:
    """Mails to people, over a server of its own or that of the invitations."""

    host: str
    port: int
    encryption: str  # plain, starttls or tls
    username: str
    password: Callable[[], str]
    from_: str
    to: Sequence[str]
    tls: Tls | None
    longest: timedelta = TIMEOUT * 2

    def publish(self, events: Sequence[OutgoingEvent], *, clock: Clock, goes_on: GoesOn) -> list[Reply]:
        return event_loop.run(self._publish(events, clock, goes_on))

    async def _publish(self, events: Sequence[OutgoingEvent], clock: Clock, goes_on: GoesOn) -> list[Reply]:
        replies = []
        for event in events:
            if not goes_on():
                break
            began_at = clock()
            replies.append(Reply(event.number, began_at, await self._send(self._mail(event, began_at))))
        return replies

    async def _send(self, mail: EmailMessage) -> Problem | None:
        try:
            async with asyncio.timeout(self.longest.total_seconds()):
                async with self._client() as client:
                    await client.send_message(mail)
        except aiosmtplib.SMTPResponseException as error:
            return Problem(Kind.TRANSIENT, f"SMTP {error.code}")  # without the server's words: they may name people
        except aiosmtplib.SMTPRecipientsRefused:
            return Problem(Kind.TRANSIENT, "the server refuses the recipients")
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return Problem(Kind.TRANSIENT, f"the server cannot be reached ({in_words(error)})", unreachable=True)
        return None

    def _client(self) -> Client:
        return Client(
            hostname=self.host,
            port=self.port,
            use_tls=self.encryption == "tls",
            start_tls=self.encryption == "starttls",
            username=self.username or None,
            password=self.password() or None,
            tls_context=self.tls.context() if self.tls is not None else None,
            timeout=TIMEOUT.total_seconds(),
        )

    def _mail(self, event: OutgoingEvent, at: Any) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"] = self.from_, ", ".join(self.to)
        mail["Subject"] = subject(event.data)
        mail["Date"] = at
        # The same for each try: a mail that may have arrived is recognised.
        mail["Message-ID"] = f"<alert.{event.event_id.hex}@{self.from_.rpartition('@')[2].rstrip('>')}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content("\n\n".join(lines(event.data)) + "\n")
        return mail

    def close(self) -> None:
        """Do nothing: no connection is kept."""
