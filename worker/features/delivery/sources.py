"""The sources of callbacks about messages, by channel: how each service's webhooks are checked, read and recognised."""

import logging
from collections.abc import Callable, Mapping, Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.features.delivery import mailgun, postmark, sendgrid, standard
from worker.features.delivery.section import Delivery as DeliverySection
from worker.features.delivery.sns import SesSource, Sns, get
from worker.features.delivery.texts import text_sources
from worker.providers.webhooks.contract import Delivery, Unreadable
from worker.senders.contract import NotUnderstood
from worker.settings.model import Settings
from worker.web.webhooks.sources import Closed, Get, Source, digests_of, of_sender
from worker.web.webhooks.standard_webhooks import ID
from worker.web.webhooks.store.results import EMAIL
from worker.web.webhooks.store.webhooks import Arrived

log = logging.getLogger(__name__)


class _Keyed:
    name = EMAIL

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock


class MailSource(_Keyed):
    """The callbacks of a mail system of your own, or those of a program that translates them."""

    largest = standard.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        super().__init__(keys, keyring, clock)
        self._logged: set[str] = set()

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(ID) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        return standard.refusal(delivery.headers, delivery.body, keys=self._keys, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        update = standard.read(delivery.body)
        if isinstance(update, NotUnderstood):
            if update.malformed:
                return Unreadable(update.reason, status=400)
            if update.reason not in self._logged:
                self._logged.add(update.reason)
                log.info("%s: a callback is stored as ignored, as are all like it: %s", self.name, update.reason)
        # The digest includes the id, which a repetition keeps: two bounces may have the same text.
        named = delivery.headers[ID].encode("utf-8", "surrogatepass") + b"." + delivery.body
        return of_sender(self.name, digests_of(self._keyring, named), update)


class MailgunSource(_Keyed):
    largest = mailgun.LARGEST

    def refuses_unread(self, delivery: Delivery) -> str:
        return ""  # the signature is in the body

    def refuses(self, delivery: Delivery, query: str) -> str:
        return mailgun.refusal(delivery.body, keys=self._keys, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived:
        digests = digests_of(self._keyring, b"mailgun." + mailgun.named(delivery.body))
        return of_sender(self.name, digests, mailgun.read(delivery.body))


class SendgridSource(_Keyed):
    """Many events in each webhook."""

    largest = sendgrid.LARGEST

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(sendgrid.SIGNATURE) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        return sendgrid.refusal(delivery.headers, delivery.body, keys=self._keys, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived | Sequence[Arrived]:
        updates = sendgrid.read(delivery.body)
        if isinstance(updates, NotUnderstood):
            return of_sender(self.name, digests_of(self._keyring, delivery.body), updates)
        each = ((digests_of(self._keyring, b"sendgrid." + named), update) for named, update in updates)
        return [of_sender(self.name, digests, update) for digests, update in each]


class PostmarkSource(_Keyed):
    largest = postmark.LARGEST

    def refuses_unread(self, delivery: Delivery) -> str:
        return postmark.refusal(delivery.headers, keys=self._keys)

    def refuses(self, delivery: Delivery, query: str) -> str:
        return ""  # its credentials are in a header

    def read(self, delivery: Delivery) -> Arrived:
        digests = digests_of(self._keyring, b"postmark." + delivery.body)
        return of_sender(self.name, digests, postmark.read(delivery.body))


# By the service's table. A new service is a module, a table in `section.py`, and a class and a line here.
WITH_KEYS: Mapping[str, Callable[[Sequence[str], Keyring, Clock], Source]] = {
    "standard": MailSource,
    "mailgun": MailgunSource,
    "sendgrid": SendgridSource,
    "postmark": PostmarkSource,
}


def sender_sources(settings: Settings, keyring: Keyring, clock: Clock, fetch: Get | None) -> Mapping[str, Source]:
    sources, delivery = dict(text_sources(settings, keyring)), settings.section(DeliverySection)
    if settings.email is not None:
        why = "a table such as [delivery.standard] is needed to accept callbacks about mails"
        sources["email"] = Closed(EMAIL, why)
        for name in delivery.services:
            if delivery.ses is not None:
                sources["email"] = SesSource(delivery.ses.topics, keyring, clock, Sns(fetch or get))
            else:
                keys = [key.reveal() for key in getattr(delivery, name).keys]
                sources["email"] = WITH_KEYS[name](keys, keyring, clock)
    return sources
