"""Which adapter serves an account, and which reads its webhooks. A new endpoint is one line here for each."""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Protocol

from worker.providers.account import AccountSettings, AccountUnusable, Secret
from worker.providers.contract import Provider
from worker.providers.frankieone_v1 import FrankieOneV1
from worker.providers.frankieone_v2 import FrankieOneV2
from worker.providers.frankieone_webhooks import FrankieOneWebhooks
from worker.providers.idenfy_kyb import IdenfyKyb
from worker.providers.idenfy_kyb_webhooks import IdenfyKybWebhooks
from worker.providers.idenfy_kyc import IdenfyKyc
from worker.providers.idenfy_kyc_webhooks import IdenfyKycWebhooks
from worker.providers.webhooks import WebhookReader, WebhookSettings

# By provider, as the configuration spells it.
ADAPTERS: Mapping[str, Callable[[AccountSettings], Provider]] = {
    "idenfy-kyc": IdenfyKyc,
    "idenfy-kyb": IdenfyKyb,
    "frankieone-v1": FrankieOneV1,
    "frankieone-v2": FrankieOneV2,
}
READERS: Mapping[str, Callable[[WebhookSettings], WebhookReader]] = {
    "idenfy-kyc": IdenfyKycWebhooks,
    "idenfy-kyb": IdenfyKybWebhooks,
    "frankieone-v1": FrankieOneWebhooks,
    "frankieone-v2": FrankieOneWebhooks,
}


def build_provider(account: AccountSettings) -> Provider:
    """The adapter for the account. Raises AccountUnusable, which names the setting and what to do."""
    adapter = ADAPTERS.get(account.provider)
    if adapter is None:
        served = ", ".join(ADAPTERS)
        raise AccountUnusable(account.name, "provider", f"{account.provider} is not supported; supported are {served}")
    return adapter(account)


def webhook_peers(accounts: Mapping[str, AccountSettings]) -> dict[str, frozenset[str]]:
    """By account, all whose webhooks come to its address, itself among them: a provider knows one address for each
    of its own accounts, however many of ours use that one."""

    def known_as(account: AccountSettings) -> tuple[object, ...]:
        given = (account.api_key, account.customer_id)
        return (READERS.get(account.provider), account.base_url, *(one and one.reveal() for one in given))

    by_provider: dict[tuple[object, ...], set[str]] = {}
    for name, account in accounts.items():
        by_provider.setdefault(known_as(account), set()).add(name)
    return {name: frozenset(by_provider[known_as(account)]) for name, account in accounts.items()}


class TakesWebhooks(AccountSettings, WebhookSettings, Protocol):
    """An account, with what its webhooks are known by."""


def shared_webhook_keys(accounts: Mapping[str, TakesWebhooks]) -> list[str]:
    """A line for each account whose webhooks another one's would pass for, which is not the same at the provider.

    Neither the body nor its signature says to which address it was sent.
    """
    peers = webhook_peers(accounts)
    lines = {}
    for (first, one), (second, other) in combinations(accounts.items(), 2):
        if READERS.get(one.provider) is not READERS.get(other.provider) or second in peers[first]:
            continue
        key = _shared(one, other)
        if key and second not in lines:
            lines[second] = (
                f"accounts.{second}.{key}: accounts.{first} has the same, and is another account at the provider: who"
                " has a copy of what the one was told can tell it to the other; give each its own"
            )
    return list(lines.values())


def _shared(one: TakesWebhooks, other: TakesWebhooks) -> str:
    """The setting by which both would believe the same webhook; "" where there is none."""
    if _in_both(one.webhook_keys, other.webhook_keys):
        return "webhook_keys"
    if _in_both(one.webhook_secret, other.webhook_secret):
        return "webhook_secret"
    if not (one.webhook_secret and other.webhook_secret) and _in_both(one.jwt_key, other.jwt_key):
        return "jwt_key"  # which the provider may have but one of; with secrets that differ, addresses do
    return ""


def _in_both(one: Iterable[Secret], other: Iterable[Secret]) -> bool:
    return not {secret.reveal() for secret in one}.isdisjoint(secret.reveal() for secret in other)


def build_webhook_reader(account: WebhookSettings) -> WebhookReader | None:
    """What reads the account's webhooks; None for a provider of which none are known.

    Raises AccountUnusable, which names the setting, where nothing would tell genuine ones from forged ones.
    """
    reader = READERS.get(account.provider)
    return None if reader is None else reader(account)
