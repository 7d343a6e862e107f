"""Tells people what begins, and what ends, to need a person: what `onboard status` ends with, without its reasons. By
mail over the server of [email], or as a POST to a chat."""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial

from aiosmtplib import SMTPException

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import Clock, monotonic
from onboarding_worker.core.foundation.connection_failures import in_words
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.http_messages import Broken, HttpRequest
from onboarding_worker.features.alerts.section import Alerts
from onboarding_worker.features.alerts.store import alerts
from onboarding_worker.http import event_loop
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.senders.email import Client
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.sending import Email
from onboarding_worker.wiring.background import Ticks
from onboarding_worker.wiring.watching import NeedsAPerson

TIMEOUT, SECONDS = timedelta(seconds=5), 5.0  # a sweep waits for it
Send = Callable[[Sequence[str]], Coroutine[None, None, str]]

log = logging.getLogger(__name__)
_failing: defaultdict[str, Outage] = defaultdict(lambda: Outage(log, logging.WARNING))


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


def tell_news(targets: Mapping[str, Send], database: Database, needs: NeedsAPerson, clock: Clock) -> None:
    """Tell what is new. Safe for several processes. `needs`: what needs a person now. Blocks while it is sent."""
    needing = {_called(one) for one in needs()}
    for target, send in targets.items():
        news = alerts.look(database, target, needing, now=clock())
        lines = [f"{_needing(one)} a person: onboard status" for one in news.began]
        lines += [f"{_needing(one)} no person any more" for one in news.ended]
        if not lines:
            continue
        if why := event_loop.run(send(lines)):
            _failing[target].lasts(f"[alerts] {target} accepts no alert; it is tried again", monotonic(), why=why)
            continue
        alerts.tell(database, target, news)
        _failing[target].over(f"[alerts] {target} accepts alerts again")


def _called(one: Wait) -> str:
    """Names of accounts, targets and keys, numbers of batches: neither files nor folders, whose names may say more."""
    name = "" if one.what in ("folder", "list") else one.name.partition(" (")[0]
    return f"{one.what} {name}".strip()


def _needing(called: str) -> str:
    """Accounts that share a budget are one need, with the names of all."""
    what, _, names = called.partition(" ")
    return f"{what}s {names} need" if ", " in names else f"{called} needs"


def telling(settings: Settings, database: Database, needs: NeedsAPerson, clock: Clock) -> Callable[[], object]:
    targets, ticks = alert_targets(settings), Ticks(60.0)

    def look() -> None:
        if targets and ticks.begin(monotonic()):
            tell_news(targets, database, needs, clock)

    return look
