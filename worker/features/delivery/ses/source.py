"""What Amazon SES publishes to a topic of SNS, which posts it here."""

from collections.abc import Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.features.delivery.ses import callbacks, sns_messages
from worker.features.delivery.ses.sns_confirmation import Sns
from worker.providers.webhooks.contract import Delivery
from worker.senders.delivery_reports import NotUnderstood
from worker.web.webhooks.sources import digests_of, of_sender
from worker.web.webhooks.store.results import EMAIL
from worker.web.webhooks.store.webhooks import Arrived


class SesSource:
    """What Amazon SES publishes to a topic of SNS, which posts it here."""

    name, largest = EMAIL, sns_messages.LARGEST

    def __init__(self, topics: Sequence[str], keyring: Keyring, clock: Clock, sns: Sns) -> None:
        self._topics, self._keyring, self._clock, self._sns = topics, keyring, clock, sns

    def refuses_unread(self, delivery: Delivery) -> str:
        ours = delivery.headers.get(sns_messages.TOPIC_HEADER) in self._topics
        return "" if ours else "its topic is not in delivery.ses.topics"

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
                return of_sender(self.name, digests, callbacks.read(message.message))
