"""The sources of callbacks about messages, by channel."""

from collections.abc import Callable, Mapping, Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.features.delivery import openapi
from worker.features.delivery.mailgun.source import MailgunSource
from worker.features.delivery.postmark.source import PostmarkSource
from worker.features.delivery.section import Delivery
from worker.features.delivery.sendgrid.source import SendgridSource
from worker.features.delivery.ses.sns_confirmation import Sns, get
from worker.features.delivery.ses.source import SesSource
from worker.features.delivery.standard.source import MailSource
from worker.features.delivery.texts import text_sources
from worker.settings.model import Settings
from worker.web.webhooks.contract import Closed, Get, Source
from worker.web.webhooks.sources import SenderSources
from worker.web.webhooks.store.results import EMAIL

# By the service's table. A new service is a folder here, a table in `section.py`, and a line.
WITH_KEYS: Mapping[str, Callable[[Sequence[str], Keyring, Clock], Source]] = {
    "standard": MailSource,
    "mailgun": MailgunSource,
    "sendgrid": SendgridSource,
    "postmark": PostmarkSource,
}


def _sources(settings: Settings, keyring: Keyring, clock: Clock, fetch: Get | None) -> Mapping[str, Source]:
    sources = dict(text_sources(settings, keyring))
    if settings.email is not None:
        sources["email"] = _mail_source(settings.section(Delivery), keyring, clock, fetch or get)
    return sources


def _mail_source(delivery: Delivery, keyring: Keyring, clock: Clock, fetch: Get) -> Source:
    if delivery.ses is not None:
        return SesSource(delivery.ses.topics, keyring, clock, Sns(fetch))
    for name in delivery.services:
        return WITH_KEYS[name]([key.reveal() for key in getattr(delivery, name).keys], keyring, clock)
    return Closed(EMAIL, "a table such as [delivery.standard] is needed to accept callbacks about mails")


SENDER_SOURCES = SenderSources(_sources, paths=openapi.PATHS, schemes=openapi.SCHEMES, schemas=openapi.SCHEMAS)
