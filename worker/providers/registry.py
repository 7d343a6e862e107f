"""Which adapter serves an account. A new endpoint is one module and one line here."""

from collections.abc import Callable, Mapping

from worker.providers.account import AccountSettings, AccountUnusable
from worker.providers.contract import Provider
from worker.providers.frankieone_v1 import FrankieOneV1
from worker.providers.frankieone_v2 import FrankieOneV2
from worker.providers.idenfy_kyb import IdenfyKyb
from worker.providers.idenfy_kyc import IdenfyKyc

# By provider, as the configuration spells it.
ADAPTERS: Mapping[str, Callable[[AccountSettings], Provider]] = {
    "idenfy-kyc": IdenfyKyc,
    "idenfy-kyb": IdenfyKyb,
    "frankieone-v1": FrankieOneV1,
    "frankieone-v2": FrankieOneV2,
}


def build_provider(account: AccountSettings) -> Provider:
    """The adapter for the account. Raises AccountUnusable, which names the setting and what to do."""
    adapter = ADAPTERS.get(account.provider)
    if adapter is None:
        served = ", ".join(ADAPTERS)
        raise AccountUnusable(account.name, "provider", f"{account.provider} is not supported; supported are {served}")
    return adapter(account)
