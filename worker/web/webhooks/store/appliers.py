"""Who applies the webhooks of each kind of source."""

from collections.abc import Callable, Mapping

from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.session_chain import Again
from worker.core.messages.store.fallback import DeliveryPolicy
from worker.web.webhooks.store.delivery_updates import DeliveryUpdates
from worker.web.webhooks.store.provider_updates import ProviderUpdates
from worker.web.webhooks.store.results import ACCOUNT, SENDER
from worker.web.webhooks.store.webhooks import Apply


def appliers(
    keyring: Keyring,
    peers: Mapping[str, frozenset[str]],
    *,
    again: Again,
    delivery: Callable[[], DeliveryPolicy],
) -> dict[str, Apply]:
    """By the prefix of the sources. `peers`: for each account, all accounts whose webhooks come to its address."""
    return {
        ACCOUNT: ProviderUpdates(keyring, peers, again=again),
        SENDER: DeliveryUpdates(keyring, delivery),
    }
