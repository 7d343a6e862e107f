"""Sends one alert: by mail over the server of [email], or as a POST to a chat."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial

from aiosmtplib import SMTPException

from worker.core.foundation.connection_failures import in_words
from worker.core.model.http_messages import Broken, HttpRequest
from worker.features.alerts.section import Alerts
from worker.http.client import Http, open_http_session
from worker.senders.smtp_connection import Client
from worker.settings.model import Settings
from worker.settings.sending import Email

TIMEOUT, SECONDS = timedelta(seconds=5), 5.0  # a sweep waits for it
Send = Callable[[Sequence[str]], Coroutine[None, None, str]]


def alert_targets(settings: Settings) -> dict[str, Send]:
    """How to send lines to each target, where this process has its address. "" is returned once they are accepted."""
    alerts, email, targets = settings.section(Alerts), settings.email, dict[str, Send]()
    if alerts.email and email is not None and not email.lacks("url"):
        targets["email"] = partial(_mail, email, alerts.email)
    if not alerts.lacks("webhook") and alerts.webhook:
        targets["webhook"] = partial(_post, alerts.webhook)
    return targets


async def _post(url: str, lines: Sequence[str]) -> str:
    body = json.dumps({"text": "\n".join(lines)}).encode()
    request = HttpRequest("POST", url, {"content-type": "application/json"}, body)
    async with open_http_session() as session:
        answer = await Http(session).call(request, timeout=TIMEOUT, reads_body=False)
    if isinstance(answer, Broken):
        return answer.detail
    return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"


async def _mail(email: Email, to: Sequence[str], lines: Sequence[str]) -> str:
    mail, server = EmailMessage(policy=SMTP), email.server
    mail["From"], mail["To"], mail["Auto-Submitted"] = email.from_, ", ".join(to), "auto-generated"
    mail["Subject"] = f"Onboarding: {lines[0]}"
    mail.set_content("\n".join(lines) + "\n")
    client = Client(
        hostname=server.host,
        port=server.port,
        use_tls=server.tls == "tls",
        start_tls=server.tls == "starttls",
        username=server.username or None,
        password=server.password.reveal() if server.password else None,
        tls_context=email.protection.context() if email.protection is not None else None,
        timeout=SECONDS,
    )
    try:
        async with asyncio.timeout(SECONDS), client:
            await client.send_message(mail)
    except (SMTPException, OSError, TimeoutError) as error:
        return f"not accepted: {in_words(error)}"  # without the server's words: they may name people
    return ""
