"""The sources of callbacks about mails: a mail system of your own, or the webhooks of a mail service as they are."""

import logging
from collections.abc import Callable, Mapping, Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.core.messages.delivery_reports import NotUnderstood
from worker.features.delivery import email_callbacks, sns_messages
from worker.features.delivery import mailgun as mailgun_callbacks
from worker.features.delivery import postmark as postmark_callbacks
from worker.features.delivery import sendgrid as sendgrid_callbacks
from worker.features.delivery import ses as ses_callbacks
from worker.features.delivery.sns_confirmation import Get, Sns
from worker.providers.webhooks.contract import Delivery, Unreadable
from worker.settings.sending import Email
from worker.web.webhooks.contract import Source, digests_of, of_sender
from worker.web.webhooks.standard_webhooks import ID
from worker.web.webhooks.store.results import SENDER
from worker.web.webhooks.store.webhooks import Arrived

log = logging.getLogger(__name__)
EMAIL = f"{SENDER}email"


class MailSource:
    """A mail system's callbacks, or those of a program that translates them."""

    name, largest = EMAIL, email_callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock
        self._logged: set[str] = set()

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(ID) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        now = self._clock()
        return email_callbacks.refusal(delivery.headers, delivery.body, keys=self._keys, now=now)

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        update = email_callbacks.read(delivery.body)
        if isinstance(update, NotUnderstood):
            if update.malformed:
                return Unreadable(update.reason, status=400)
            if update.reason not in self._logged:
                self._logged.add(update.reason)
                log.info("%s: a callback is stored as ignored, as are all like it: %s", self.name, update.reason)
        # The digest includes the id, which a repetition keeps: two bounces may have the same text.
        named = delivery.headers[ID].encode("utf-8", "surrogatepass") + b"." + delivery.body
        return of_sender(self.name, digests_of(self._keyring, named), update)


class MailgunSource:
    """Mailgun's webhooks."""

    name, largest = EMAIL, mailgun_callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return ""  # the signature is in the body

    def refuses(self, delivery: Delivery, query: str) -> str:
        return mailgun_callbacks.refusal(delivery.body, keys=self._keys, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived:
        named = b"mailgun." + mailgun_callbacks.named(delivery.body)
        return of_sender(self.name, digests_of(self._keyring, named), mailgun_callbacks.read(delivery.body))


class SendgridSource:
    """SendGrid's webhooks: many events each."""

    name, largest = EMAIL, sendgrid_callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(sendgrid_callbacks.SIGNATURE) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        now = self._clock()
        return sendgrid_callbacks.refusal(delivery.headers, delivery.body, keys=self._keys, now=now)

    def read(self, delivery: Delivery) -> Arrived | Sequence[Arrived]:
        updates = sendgrid_callbacks.read(delivery.body)
        if isinstance(updates, NotUnderstood):
            return of_sender(self.name, digests_of(self._keyring, delivery.body), updates)
        return [
            of_sender(self.name, digests_of(self._keyring, b"sendgrid." + named), update) for named, update in updates
        ]


class PostmarkSource:
    """Postmark's webhooks."""

    name, largest = EMAIL, postmark_callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring = keys, keyring

    def refuses_unread(self, delivery: Delivery) -> str:
        return postmark_callbacks.refusal(delivery.headers, keys=self._keys)

    def refuses(self, delivery: Delivery, query: str) -> str:
        return ""  # its credentials are in a header

    def read(self, delivery: Delivery) -> Arrived:
        digests = digests_of(self._keyring, b"postmark." + delivery.body)
        return of_sender(self.name, digests, postmark_callbacks.read(delivery.body))


class SesSource:
    """What Amazon SES publishes to a topic of SNS, which posts it here."""

    name, largest = EMAIL, sns_messages.LARGEST

    def __init__(self, topics: Sequence[str], keyring: Keyring, clock: Clock, sns: Sns) -> None:
        self._topics, self._keyring, self._clock, self._sns = topics, keyring, clock, sns

    def refuses_unread(self, delivery: Delivery) -> str:
        ours = delivery.headers.get(sns_messages.TOPIC_HEADER) in self._topics
        return "" if ours else "its topic is not in email.callback_topics"

    async def ask(self, delivery: Delivery, peer: str) -> str:
        message = sns_messages.read_message(delivery.body, topics=self._topics)
        if isinstance(message, str):
            return ""  # `refuses` says so
        certificate = await self._sns.certificate(message, peer)
        if certificate is None:
            return "the certificate of its signature cannot be fetched now"
        if message.kind != sns_messages.CONFIRMATION or sns_messages.refusal(message, certificate, now=self._clock()):
            return ""
        return "" if await self._sns.confirm(message, peer) else "its subscription cannot be confirmed now"

    def refuses(self, delivery: Delivery, query: str) -> str:
        message = sns_messages.read_message(delivery.body, topics=self._topics)
        if isinstance(message, str):
            return message
        certificate = self._sns.known(message)
        if certificate is None:
            return "its certificate is not known"
        return sns_messages.refusal(message, certificate, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived:
        message = sns_messages.read_message(delivery.body, topics=self._topics)
        if isinstance(message, str):  # refused before
            return of_sender(self.name, digests_of(self._keyring, delivery.body), NotUnderstood(message))
        # All that is signed, and not the id alone: a copy can have another id, and the same signature fits.
        digests = digests_of(self._keyring, b"sns." + message.content)
        match message.kind:
            case sns_messages.CONFIRMATION:
                return Arrived(self.name, digests, "subscribed", None)
            case sns_messages.ENDED:
                return of_sender(self.name, digests, NotUnderstood("the topic posts here no more: it was unsubscribed"))
            case _:
                return of_sender(self.name, digests, ses_callbacks.read(message.message))


WITH_KEYS: Mapping[str, Callable[[Sequence[str], Keyring, Clock], Source]] = {
    "standard": MailSource,
    "mailgun": MailgunSource,
    "sendgrid": SendgridSource,
    "postmark": PostmarkSource,
}


def build_mail_source(email: Email, keyring: Keyring, clock: Clock, ask_sns: Get) -> Source | str:
    """The source of callbacks about mails; a text: why there is none."""
    if email.callbacks == "ses":
        why = "email.callback_topics: needed to accept callbacks about mails"
        return SesSource(email.callback_topics, keyring, clock, Sns(ask_sns)) if email.callback_topics else why
    keys = tuple(key.reveal() for key in email.callback_keys)
    if not keys:
        return "email.callback_keys: needed to accept callbacks about mails"
    return WITH_KEYS[email.callbacks](keys, keyring, clock)
