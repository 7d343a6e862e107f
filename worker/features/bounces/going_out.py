"""What a mail carries so that a bounce, or a customer who wants no more mails, finds its way back to us."""

from collections.abc import Callable

from worker.core.foundation.keyring import Keyring
from worker.features.bounces.return_path import UNSUBSCRIBE, ReturnPath
from worker.features.bounces.section import Bounces
from worker.senders.contract import Returning
from worker.settings.model import Settings
from worker.wiring.senders import WayBack


def return_path_of(settings: Settings, keyring: Keyring) -> ReturnPath | None:
    """None where the configuration has none."""
    pattern = settings.section(Bounces).return_path
    return ReturnPath(pattern, lambda key: keyring.digests("return path", key)) if pattern else None


def _returning(settings: Settings, keyring: Keyring) -> Callable[[str], Returning] | None:
    return_path = return_path_of(settings, keyring)
    if return_path is None:
        return None
    says_so = settings.section(Bounces).unsubscribe

    def returning(key: str) -> Returning:
        address = return_path.of(key)
        return Returning(address, (f"List-Unsubscribe: <mailto:{address}?subject={UNSUBSCRIBE}>",) if says_so else ())

    return returning


WAY_BACK = WayBack(mails=_returning)
