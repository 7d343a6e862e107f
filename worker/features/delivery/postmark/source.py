"""Postmark's webhooks as they come."""

from collections.abc import Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.features.delivery.postmark import callbacks
from worker.providers.webhooks.contract import Delivery
from worker.web.webhooks.contract import digests_of, of_sender
from worker.web.webhooks.store.results import EMAIL
from worker.web.webhooks.store.webhooks import Arrived


class PostmarkSource:
    """Postmark's webhooks."""

    name, largest = EMAIL, callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring = keys, keyring

    def refuses_unread(self, delivery: Delivery) -> str:
        return callbacks.refusal(delivery.headers, keys=self._keys)

    def refuses(self, delivery: Delivery, query: str) -> str:
        return ""  # its credentials are in a header

    def read(self, delivery: Delivery) -> Arrived:
        digests = digests_of(self._keyring, b"postmark." + delivery.body)
        return of_sender(self.name, digests, callbacks.read(delivery.body))
