"""Which adapter serves an account. A new endpoint is one module and one line here."""

from collections.abc import Callable, Mapping

from worker.providers.account import AccountSettings, AccountUnusable
from worker.providers.contract import Provider
from worker.providers.frankieone_v2 import FrankieOneV2
from worker.providers.idenfy_kyc import IdenfyKyc

# By provider and dialect, as the configuration spells them; "" where a provider has but one.
ADAPTERS: Mapping[tuple[str, str], Callable[[AccountSettings], Provider]] = {
    ("idenfy-kyc", "narrative"): IdenfyKyc,
    ("frankieone-v2", ""): FrankieOneV2,
}


def build_provider(account: AccountSettings) -> Provider:
    """The adapter for the account. Raises AccountUnusable, which names the setting and what to do."""
    # Only iDenfy KYC speaks two dialects; for the others the setting means nothing.
    dialect = account.dialect if account.provider == "idenfy-kyc" else ""
    adapter = ADAPTERS.get((account.provider, dialect))
    if adapter is not None:
        return adapter(account)
    served = ", ".join(f"{name} ({form})" if form else name for name, form in ADAPTERS)
    asked = f"{account.provider} ({dialect})" if dialect else account.provider
    raise AccountUnusable(account.name, "provider", f"{asked} is not supported yet; supported are {served}")
