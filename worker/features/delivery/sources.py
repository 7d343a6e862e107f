"""The sources of callbacks about messages, by channel: how each service's webhooks are checked, read and recognised;
and what Amazon SES publishes to a topic of SNS, which posts it here, and what we ask SNS: for the certificates that
sign its messages, and to confirm a subscription.

Strangers can make this process ask: they send a message that names a configured topic, and any certificate. So it asks
only the host of the topic's region, one request at a time, of strangers who go on ever fewer (`web.strangers`), and
keeps few answers.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from cryptography.x509 import Certificate

from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.http_messages import HttpAnswer, HttpRequest
from onboarding_worker.features.delivery import mailgun, postmark, sendgrid, ses, standard
from onboarding_worker.features.delivery.section import Delivery as DeliverySection
from onboarding_worker.features.delivery.texts import Report, ServiceSource, text_sources
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.providers.webhooks.contract import Delivery
from onboarding_worker.senders.contract import NotUnderstood
from onboarding_worker.settings.model import Settings
from onboarding_worker.web.webhooks.sources import Closed, Get, Source, digests_of, of_sender
from onboarding_worker.web.webhooks.store.webhooks import EMAIL, Arrived

log = logging.getLogger(__name__)

TIMEOUT = timedelta(seconds=10)
MOST_CERTIFICATES = 16  # SNS has one for each region, and a new one about once a year
MOST_BYTES = 16 * 1024


async def get(url: str) -> bytes | None:
    """The body of an answer with status 200; None for anything else. TLS is verified, redirects are not followed."""
    async with open_http_session() as session:
        answer = await Http(session).call(HttpRequest("GET", url, {}), timeout=TIMEOUT)
    if isinstance(answer, HttpAnswer) and answer.status == 200 and len(answer.body) <= MOST_BYTES:
        return answer.body
    why = f"HTTP {answer.status}" if isinstance(answer, HttpAnswer) else answer.detail
    log.warning("Amazon SNS did not answer a request as expected: %s", why)
    return None


class SesSource:
    """Belongs to one loop. `fetch`: what asks SNS."""

    name, largest = EMAIL, ses.LARGEST

    def __init__(self, topics: Sequence[str], keyring: Keyring, clock: Clock, fetch: Get) -> None:
        self._topics, self._keyring, self._clock, self._fetch = topics, keyring, clock, fetch
        self._certificates: dict[str, Certificate] = {}  # by URL; the one that was fetched first comes first

    def refuses_unread(self, delivery: Delivery) -> str:
        ours = delivery.headers.get(ses.TOPIC_HEADER) in self._topics
        return "" if ours else "its topic is not in delivery.ses.topics"

    def must_ask(self, delivery: Delivery) -> bool:
        message = ses.read_message(delivery.body, topics=self._topics)
        if isinstance(message, str):
            return False  # `refuses` says so
        return message.kind == ses.CONFIRMATION or message.certificate_url not in self._certificates

    async def ask(self, delivery: Delivery) -> str:
        message = ses.read_message(delivery.body, topics=self._topics)
        if isinstance(message, str):
            return message
        if (url := message.certificate_url) not in self._certificates:
            pem = await self._fetch(url)
            if pem is None or (found := ses.read_certificate(pem)) is None:
                return "the certificate of its signature cannot be fetched now"
            if len(self._certificates) == MOST_CERTIFICATES:
                del self._certificates[next(iter(self._certificates))]
            self._certificates[url] = found
        if message.kind != ses.CONFIRMATION or self.refuses(delivery, ""):
            return ""
        if await self._fetch(message.confirmation_url) is None:
            return "its subscription cannot be confirmed now"
        log.info("Amazon SNS: the subscription of a configured topic is confirmed")
        return ""

    def refuses(self, delivery: Delivery, query: str) -> str:
        message = ses.read_message(delivery.body, topics=self._topics)
        if isinstance(message, str):
            return message
        certificate = self._certificates.get(message.certificate_url)
        if certificate is None:
            return "its certificate is not known"
        return ses.refusal(message, certificate, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived:
        message = ses.read_message(delivery.body, topics=self._topics)
        if isinstance(message, str):  # refused before
            return of_sender(self.name, digests_of(self._keyring, delivery.body), NotUnderstood(message))
        # All that is signed, and not the id alone: a copy can have another id, and the same signature fits.
        digests = digests_of(self._keyring, b"sns." + message.content)
        match message.kind:
            case ses.CONFIRMATION:
                return Arrived(self.name, digests, "subscribed", None)
            case ses.ENDED:
                return of_sender(self.name, digests, NotUnderstood("the topic posts here no more: it was unsubscribed"))
            case _:
                return of_sender(self.name, digests, ses.read(message.message))


class MailService(Protocol):
    """A module that reads one mail service's webhooks. Nothing in it raises on what was sent, nor names a value of it;
    `headers` have lower-case names. A refusal is "" if one of the keys signed the webhook; that of `unsigned` is of the
    headers alone. `named`: what a webhook is recognised by."""

    LARGEST: int

    def unsigned(self, headers: Mapping[str, str], keys: Sequence[str], /) -> str: ...
    def refusal(self, headers: Mapping[str, str], body: bytes, /, *, keys: Sequence[str], now: datetime) -> str: ...
    def named(self, headers: Mapping[str, str], body: bytes, /) -> bytes: ...
    def read(self, body: bytes, /) -> Report | Sequence[tuple[bytes, Report]]: ...


# By the service's table. A new service is a module, a table in `section.py`, and its name here.
WITH_KEYS: Mapping[str, MailService] = {
    "standard": standard,
    "mailgun": mailgun,
    "sendgrid": sendgrid,
    "postmark": postmark,
}


def of_mails(service: MailService, keys: Sequence[str], keyring: Keyring, clock: Clock) -> ServiceSource:
    return ServiceSource(
        EMAIL,
        service.LARGEST,
        keyring,
        refuses_unread=lambda given: service.unsigned(given.headers, keys),
        refuses=lambda given, _: service.refusal(given.headers, given.body, keys=keys, now=clock()),
        named=lambda given: service.named(given.headers, given.body),
        reports=service.read,
    )


def sender_sources(settings: Settings, keyring: Keyring, clock: Clock, fetch: Get | None) -> Mapping[str, Source]:
    sources, delivery = dict(text_sources(settings, keyring)), settings.section(DeliverySection)
    if settings.email is not None:
        why = "a table such as [delivery.standard] is needed to accept callbacks about mails"
        sources["email"] = Closed(EMAIL, why)
        for name in delivery.services:
            if delivery.ses is not None:
                sources["email"] = SesSource(delivery.ses.topics, keyring, clock, fetch or get)
            else:
                keys = [key.reveal() for key in getattr(delivery, name).keys]
                sources["email"] = of_mails(WITH_KEYS[name], keys, keyring, clock)
    return sources
