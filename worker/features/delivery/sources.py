"""The sources of callbacks about messages, by channel: how each service's webhooks are checked, read and recognised."""

import logging
from collections.abc import Callable, Mapping, Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.features.delivery import mailgun, postmark, sendgrid, standard
from worker.features.delivery.section import Delivery as DeliverySection
from worker.features.delivery.sns import SesSource, Sns, get
from worker.features.delivery.texts import Found, ServiceSource, text_sources
from worker.providers.webhooks.contract import Delivery, Unreadable
from worker.senders.contract import NotUnderstood
from worker.settings.model import Settings
from worker.web.webhooks.sources import Closed, Get, Source
from worker.web.webhooks.standard_webhooks import ID
from worker.web.webhooks.store.results import EMAIL

log = logging.getLogger(__name__)


def _standard(keys: Sequence[str], keyring: Keyring, clock: Clock) -> ServiceSource:
    """The callbacks of a mail system of your own, or those of a program that translates them."""
    logged: set[str] = set()

    def found(delivery: Delivery) -> Found:
        update = standard.read(delivery.body)
        if isinstance(update, NotUnderstood) and update.malformed:
            return Unreadable(update.reason, status=400)
        if isinstance(update, NotUnderstood) and update.reason not in logged:
            logged.add(update.reason)
            log.info("%s: a callback is stored as ignored, as are all like it: %s", EMAIL, update.reason)
        # The digest includes the id, which a repetition keeps: two bounces may have the same text.
        return [(delivery.headers[ID].encode("utf-8", "surrogatepass") + b"." + delivery.body, update)]

    return ServiceSource(
        EMAIL,
        standard.LARGEST,
        keyring,
        unsigned=lambda given: "" if given.headers.get(ID) else "it is not signed",
        refusal=lambda given, _: standard.refusal(given.headers, given.body, keys=keys, now=clock()),
        found=found,
    )


def _mailgun(keys: Sequence[str], keyring: Keyring, clock: Clock) -> ServiceSource:
    return ServiceSource(
        EMAIL,
        mailgun.LARGEST,
        keyring,
        unsigned=lambda _: "",  # the signature is in the body
        refusal=lambda given, _: mailgun.refusal(given.body, keys=keys, now=clock()),
        found=lambda given: [(b"mailgun." + mailgun.named(given.body), mailgun.read(given.body))],
    )


def _sendgrid(keys: Sequence[str], keyring: Keyring, clock: Clock) -> ServiceSource:
    def found(delivery: Delivery) -> Found:
        read = sendgrid.read(delivery.body)  # many events in each webhook
        if isinstance(read, NotUnderstood):
            return [(delivery.body, read)]
        return [(b"sendgrid." + named, update) for named, update in read]

    return ServiceSource(
        EMAIL,
        sendgrid.LARGEST,
        keyring,
        unsigned=lambda given: "" if given.headers.get(sendgrid.SIGNATURE) else "it is not signed",
        refusal=lambda given, _: sendgrid.refusal(given.headers, given.body, keys=keys, now=clock()),
        found=found,
    )


def _postmark(keys: Sequence[str], keyring: Keyring, clock: Clock) -> ServiceSource:
    return ServiceSource(
        EMAIL,
        postmark.LARGEST,
        keyring,
        unsigned=lambda given: postmark.refusal(given.headers, keys=keys),
        refusal=lambda _given, _query: "",  # its credentials are in a header
        found=lambda given: [(b"postmark." + given.body, postmark.read(given.body))],
    )


# By the service's table. A new service is a module, a table in `section.py`, and a function and a line here.
WITH_KEYS: Mapping[str, Callable[[Sequence[str], Keyring, Clock], Source]] = {
    "standard": _standard,
    "mailgun": _mailgun,
    "sendgrid": _sendgrid,
    "postmark": _postmark,
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
