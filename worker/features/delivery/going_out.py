"""What messages carry so that the services that report on them name them."""

from collections.abc import Callable

from worker.core.foundation.keyring import Keyring
from worker.features.delivery.postmark.callbacks import headers_of
from worker.features.delivery.section import Delivery
from worker.features.delivery.texts import callback_address
from worker.senders.contract import Returning
from worker.settings.model import Settings
from worker.wiring.senders import WayBack


def _mails(settings: Settings, keyring: Keyring) -> Callable[[str], Returning] | None:
    if settings.section(Delivery).postmark is None:
        return None
    return lambda key: Returning(headers=headers_of(key))


WAY_BACK = WayBack(mails=_mails, texts=callback_address)
