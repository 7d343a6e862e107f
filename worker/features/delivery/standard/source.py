"""The callbacks of a mail system of your own."""

import logging
from collections.abc import Sequence

from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.core.messages.delivery_reports import NotUnderstood
from worker.features.delivery.standard import callbacks
from worker.providers.webhooks.contract import Delivery, Unreadable
from worker.web.webhooks.contract import digests_of, of_sender
from worker.web.webhooks.standard_webhooks import ID
from worker.web.webhooks.store.results import EMAIL
from worker.web.webhooks.store.webhooks import Arrived

log = logging.getLogger(__name__)


class MailSource:
    """A mail system's callbacks, or those of a program that translates them."""

    name, largest = EMAIL, callbacks.LARGEST

    def __init__(self, keys: Sequence[str], keyring: Keyring, clock: Clock) -> None:
        self._keys, self._keyring, self._clock = keys, keyring, clock
        self._logged: set[str] = set()

    def refuses_unread(self, delivery: Delivery) -> str:
        return "" if delivery.headers.get(ID) else "it is not signed"

    def refuses(self, delivery: Delivery, query: str) -> str:
        now = self._clock()
        return callbacks.refusal(delivery.headers, delivery.body, keys=self._keys, now=now)

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        update = callbacks.read(delivery.body)
        if isinstance(update, NotUnderstood):
            if update.malformed:
                return Unreadable(update.reason, status=400)
            if update.reason not in self._logged:
                self._logged.add(update.reason)
                log.info("%s: a callback is stored as ignored, as are all like it: %s", self.name, update.reason)
        # The digest includes the id, which a repetition keeps: two bounces may have the same text.
        named = delivery.headers[ID].encode("utf-8", "surrogatepass") + b"." + delivery.body
        return of_sender(self.name, digests_of(self._keyring, named), update)
