"""The sources of webhooks, and how each is recognised: a provider's account, and the services of senders.

Each decision needs only the bytes, the headers and the configuration; this module stores nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Protocol, runtime_checkable

from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.incoming import ACCOUNT
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.contract import build_webhook_reader, webhook_peers
from onboarding_worker.providers.webhooks import contract as webhooks
from onboarding_worker.providers.webhooks.contract import Delivery, Unreadable, WebhookReader
from onboarding_worker.senders.contract import DeliveryUpdate, NotUnderstood
from onboarding_worker.settings.accounts import Account
from onboarding_worker.settings.model import Settings
from onboarding_worker.web.webhooks.store.webhooks import Arrived, given_of, update_as_json

# Fetches the body at a URL; None: it cannot be had.
Get = Callable[[str], Awaitable[bytes | None]]


class Source(Protocol):
    """A source of webhooks. `name` is its name in the database, `largest` its largest body in bytes."""

    @property
    def name(self) -> str: ...
    @property
    def largest(self) -> int: ...

    def refuses_unread(self, delivery: Delivery) -> str:
        """Why the headers and the address alone are refused; "" where the body has to be checked."""

    def refuses(self, delivery: Delivery, query: str) -> str:
        """Why the webhook is not from this source; "" where it is. `query` is the part after the address's `?`."""

    def read(self, delivery: Delivery) -> Arrived | Sequence[Arrived] | Unreadable:
        """What is to be stored of the webhook; Unreadable where it is refused for good. Not for refused webhooks."""


@runtime_checkable
class Asking(Source, Protocol):
    """A source that asks its service before it can check a webhook. A stranger can make it ask: so it asks one thing at
    a time, and who was refused waits."""

    def must_ask(self, delivery: Delivery) -> bool:
        """Whether `refuses` needs what is not known."""

    async def ask(self, delivery: Delivery) -> str:
        """Ask for it; why a genuine webhook could not be taken now, "" if it can. Never raises."""


class Closed:
    """A source whose key is not configured: all its webhooks are refused."""

    largest = 0

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why

    def refuses_unread(self, delivery: Delivery) -> str:
        return self.why

    def refuses(self, delivery: Delivery, query: str) -> str:
        return self.why

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        return Unreadable(self.why, status=401)


def of_sender(source: str, digests: tuple[str, ...], update: DeliveryUpdate | NotUnderstood) -> Arrived:
    if isinstance(update, NotUnderstood):
        return Arrived(source, digests, "unreadable", None, update.reason)
    nothing = update.status is None and update.stop is None and not update.resume
    return Arrived(source, digests, update.event, None if nothing else given_of(update))


def digests_of(keyring: Keyring, content: bytes) -> tuple[str, ...]:
    return keyring.digests("webhook", sha256(content).hexdigest())


# Who may post to /callbacks/CHANNEL: the sources by channel, for the channels that are configured. The last argument
# fetches what they ask of their services; None: over the network. The feature `delivery` has those for mails and texts.
SENDER_SOURCES: Hook[Callable[[Settings, Keyring, Clock, Get | None], Mapping[str, Source]]] = Hook("SENDER_SOURCES")


class AccountSource:
    largest = webhooks.LARGEST

    def __init__(self, account: str, reader: WebhookReader, keyring: Keyring, clock: Clock, *, kept_as: str) -> None:
        """`kept_as`: the account under which webhooks are stored. Accounts that may get each other's webhooks share
        it, so that a copy at another address is recognised as a copy."""
        self.name = f"{ACCOUNT}{account}"
        self._kept_as = f"{ACCOUNT}{kept_as}"
        self._reader, self._keyring, self._clock = reader, keyring, clock

    def refuses_unread(self, delivery: Delivery) -> str:
        return self._reader.refuses_unread(delivery, now=self._clock())

    def refuses(self, delivery: Delivery, query: str) -> str:
        return self._reader.refuses(delivery, now=self._clock())

    def read(self, delivery: Delivery) -> Arrived | Unreadable:
        update = self._reader.read(delivery)
        # A digest of the body alone: an event's name in a header is not signed, and may differ in a copy.
        digests = digests_of(self._keyring, delivery.body)
        if isinstance(update, Unreadable):
            if update.status >= 400:
                return update
            return Arrived(self._kept_as, digests, "unreadable", None, update.reason)
        has_content = update.state is not None or update.alert or bool(update.company_id)
        stored = update_as_json(update) if has_content else None
        return Arrived(self._kept_as, digests, update.event, stored, update.note)


def account_sources(accounts: Mapping[str, Account], keyring: Keyring, clock: Clock) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    peers = webhook_peers(accounts)
    for name, account in accounts.items():
        try:
            reader = build_webhook_reader(account)
        except AccountUnusable as error:
            sources[name] = Closed(f"{ACCOUNT}{name}", str(error))
            continue
        if reader is not None:
            sources[name] = AccountSource(name, reader, keyring, clock, kept_as=min(peers[name]))
    return sources


def sender_sources(
    settings: Settings, keyring: Keyring, clock: Clock, fetch: Get | None = None
) -> Mapping[str, Source]:
    """The sources of callbacks by channel, for the channels that are configured."""
    return {
        channel: source
        for one in SENDER_SOURCES.offered()
        for channel, source in one(settings, keyring, clock, fetch).items()
    }
