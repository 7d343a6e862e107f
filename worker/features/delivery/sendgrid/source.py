"""SendGrid's webhooks as they come."""

from collections.abc import Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.core.messages.delivery_reports import NotUnderstood
from worker.features.delivery.sendgrid import callbacks
from worker.providers.webhooks.contract import Delivery
from worker.web.webhooks.contract import digests_of, of_sender
from worker.web.webhooks.store.results import EMAIL
from worker.web.webhooks.store.webhooks import Arrived


class SendgridSource:
    """SendGrid's webhooks: many events each."""

    name, largest = EMAIL, callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(callbacks.SIGNATURE) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        now = self._clock()
        return callbacks.refusal(delivery.headers, delivery.body, keys=self._keys, now=now)

    def read(self, delivery: Delivery) -> Arrived | Sequence[Arrived]:
        updates = callbacks.read(delivery.body)
        if isinstance(updates, NotUnderstood):
            return of_sender(self.name, digests_of(self._keyring, delivery.body), updates)
        return [
            of_sender(self.name, digests_of(self._keyring, b"sendgrid." + named), update) for named, update in updates
        ]
