"""The contract of a source of webhooks, and what the sources share. Nothing here stores anything."""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Protocol, runtime_checkable

from worker.core.foundation.keyring import Keyring
from worker.providers.webhooks.contract import Delivery, Unreadable
from worker.senders.delivery_reports import DeliveryUpdate, NotUnderstood
from worker.web.webhooks.store.results import given_of
from worker.web.webhooks.store.webhooks import Arrived

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
class Asking(Protocol):
    """A source that must ask its service before it can check a webhook."""

    async def ask(self, delivery: Delivery, peer: str) -> str:
        """Ask for what `refuses` needs; why a genuine webhook could not be taken now, "" if it can. Never raises.

        `peer`: the machine that sent it, which is not known to be the service."""


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
