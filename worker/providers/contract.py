"""The contract of every provider adapter, and how the adapter and the webhook reader of an account are found. Adapters
are pure: they build a request and read an answer.

`onboarding_worker.http.client` makes the call between the two. So tests give an adapter bytes, and a new adapter is a
module with these functions and a table of answers (docs/how-to/adding-a-provider.md).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Protocol, runtime_checkable

from onboarding_worker.adapters.catalogue import AdapterBroken
from onboarding_worker.adapters.settings import AccountSettings, Secret
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from onboarding_worker.core.model.sessions import Session, SessionRequest
from onboarding_worker.core.rules.contracts import Provider
from onboarding_worker.core.rules.reconciliation import Listed, Listing
from onboarding_worker.providers.account import AccountAdapter, AccountUnusable, NoLookUp
from onboarding_worker.providers.facts import PROVIDERS, LifetimeAsked, ProviderFacts
from onboarding_worker.providers.parameters import Table, parameter_warnings
from onboarding_worker.providers.webhooks.contract import WebhookReader, WebhookSettings

# The types that an adapter uses, from one module.
__all__ = ["AccountAdapter", "Adopts", "Broken", "Endpoint", "HttpAnswer", "HttpRequest", "LifetimeAsked", "Listed"]
__all__ += ["Listing", "NoLookUp", "Provider", "ProviderFacts", "Table"]


@runtime_checkable
class Adopts(Protocol):
    """An endpoint that lists its sessions, and whose links are made of what another tool knows of a session."""

    def adopted(self, request: SessionRequest, *, token: str, reference: str, expires_at: datetime) -> Session | str:
        """The session that another tool opened; or why it cannot be one of this account."""


@dataclass(frozen=True)
class Endpoint:
    """All that the worker must know of one provider's endpoint. Its name is that of its entry point. `adapter` makes
    the adapter of an account; it raises AccountUnusable for settings that make every session unusable. `parameters` has
    a table for each dialect. `webhooks` makes the reader of an account's webhooks; None: there are none, and results do
    not come back."""

    facts: ProviderFacts
    adapter: Callable[[AccountSettings], Provider]
    parameters: tuple[Table, ...]
    webhooks: Callable[[WebhookSettings], WebhookReader] | None = None


def endpoint_of(provider: str) -> Endpoint | None:
    """The endpoint of this name; None if there is none. Raises AdapterBroken."""
    endpoint: Endpoint | None = PROVIDERS.load(provider)
    return endpoint


def build_provider(account: AccountSettings) -> Provider:
    """The adapter for the account. Raises AccountUnusable, which names the setting and the remedy."""
    try:
        endpoint = endpoint_of(account.provider)
    except AdapterBroken as error:
        raise AccountUnusable(account.name, "provider", str(error)) from None
    if endpoint is None:
        served = ", ".join(PROVIDERS)
        raise AccountUnusable(account.name, "provider", f"{account.provider} is not supported; supported are {served}")
    return endpoint.adapter(account)


def _reader(provider: str) -> object:
    """What makes the provider's readers. Endpoints of one provider share it."""
    endpoint = endpoint_of(provider)
    return endpoint.webhooks if endpoint else None


def webhook_peers(accounts: Mapping[str, AccountSettings]) -> dict[str, frozenset[str]]:
    """For each account, all accounts that share its webhook address, itself included. A provider has one address for
    each of its own accounts, and several of our accounts may use the same one."""
    # Compared and not revealed: `onboard web` needs no credential of a provider.
    of = {name: (_reader(one.provider), one.base_url, one.api_key, one.customer_id) for name, one in accounts.items()}
    return {name: frozenset(other for other in of if of[other] == own) for name, own in of.items()}


def doubtful_parameters(accounts: Mapping[str, AccountSettings]) -> list[str]:
    """A warning for each parameter of an account that is accepted, and perhaps a mistake."""
    return [
        f"accounts.{name}.parameters.{found.column.partition('.')[2]}: {found.problem}"
        for name, account in accounts.items()
        for found in parameter_warnings(account.provider, account.parameters, account.dialect)
    ]


def shared_webhook_keys(accounts: Mapping[str, WebhookSettings]) -> list[str]:
    """A warning for each account that shares a webhook key with another account of the provider. Neither the body nor
    its signature names the address. So the webhook of one account, copied to the address of the other, would be
    accepted there."""
    peers = webhook_peers(accounts)
    lines = {}
    for (first, one), (second, other) in combinations(accounts.items(), 2):
        if _reader(one.provider) is not _reader(other.provider) or second in peers[first]:
            continue
        key = _shared(one, other)
        if key and second not in lines:
            lines[second] = (
                f"accounts.{second}.{key}: accounts.{first} has the same key, and is another account at the provider:"
                " a copied webhook of one account would be accepted for the other; give each account its own key"
            )
    return list(lines.values())


def _shared(one: WebhookSettings, other: WebhookSettings) -> str:
    """The setting with which both accounts would accept the same webhook; "" if there is none."""
    for key in ("webhook_keys", "webhook_secret"):
        if _in_both(getattr(one, key), getattr(other, key)):
            return key
    if not (one.webhook_secret and other.webhook_secret) and _in_both(one.jwt_key, other.jwt_key):
        return "jwt_key"  # the provider may have only one key; different secrets give different addresses
    return ""


def _in_both(one: Iterable[Secret], other: Iterable[Secret]) -> bool:
    return not {secret.reveal() for secret in one}.isdisjoint(secret.reveal() for secret in other)


def build_webhook_reader(account: WebhookSettings) -> WebhookReader | None:
    """The reader of the account's webhooks; None for a provider without known webhooks. Raises AccountUnusable, which
    names the setting, if no key could tell genuine webhooks from forged ones."""
    endpoint = endpoint_of(account.provider)
    return endpoint.webhooks(account) if endpoint and endpoint.webhooks else None
