"""Mailgun's webhooks as they come."""

from collections.abc import Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.features.delivery.mailgun import callbacks
from worker.providers.webhooks.contract import Delivery
from worker.web.webhooks.contract import digests_of, of_sender
from worker.web.webhooks.store.results import EMAIL
from worker.web.webhooks.store.webhooks import Arrived


class MailgunSource:
    """Mailgun's webhooks."""

    name, largest = EMAIL, callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return ""  # the signature is in the body

    def refuses(self, delivery: Delivery, query: str) -> str:
        return callbacks.refusal(delivery.body, keys=self._keys, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived:
        named = b"mailgun." + callbacks.named(delivery.body)
        return of_sender(self.name, digests_of(self._keyring, named), callbacks.read(delivery.body))
