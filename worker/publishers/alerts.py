"""Sends one alert: by mail over the server of [email], or as a POST to a chat."""

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial

import aiosmtplib

from worker.foundation.connection_failures import in_words
from worker.http.client import Http, open_http_session
from worker.http.messages import Broken, HttpRequest
from worker.senders.smtp_connection import Client
from worker.settings import Email, Settings

TIMEOUT = timedelta(seconds=5)  # a sweep waits for it
Send = Callable[[Sequence[str]], Coroutine[None, None, str]]


def alert_targets(settings: Settings) -> dict[str, Send]:
    """How to send lines to each configured target; without those whose address or password this process lacks. What
    they return says why the alert was not accepted; empty: it was."""
    alerts, email, targets = settings.alerts, settings.email, dict[str, Send]()
    if alerts is not None and alerts.email and email is not None and not email.lacks("url"):
        targets["email"] = partial(_mail, email, alerts.email)
    if alerts is not None and not alerts.lacks("webhook") and alerts.webhook:
        targets["webhook"] = partial(_post, alerts.webhook)
    return targets


async def _post(url: str, lines: Sequence[str]) -> str:
    body: Mapping[str, str] = {"text": "\n".join(lines)}
    request = HttpRequest("POST", url, {"content-type": "application/json"}, json.dumps(body).encode())
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
    try:
        async with Client(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            username=server.username or None,
            password=server.password.reveal() if server.password else None,
            tls_context=email.protection.context() if email.protection is not None else None,
            timeout=TIMEOUT.total_seconds(),
        ) as client:
            await client.send_message(mail)
    except aiosmtplib.SMTPResponseException as error:
        return f"SMTP {error.code}"  # without the server's words: they may name people
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        return f"no SMTP ({in_words(error)})"
    return ""
