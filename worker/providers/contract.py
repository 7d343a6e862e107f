"""The contract of every provider adapter. Adapters are pure: they build a request and read an answer.

`worker.http.client` makes the call between the two. So tests give an adapter bytes, and a new adapter is a
module with these functions and a table of answers (docs/how-to/adding-a-provider.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from worker.core.adapters import Provider
from worker.core.model.endings import Kind, Problem
from worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from worker.core.model.sessions import Session, SessionRequest
from worker.core.unknown.reconciliation import Listed, Listing
from worker.providers.account import AccountSettings
from worker.providers.facts import LifetimeAsked, ProviderFacts
from worker.providers.parameters import Table
from worker.providers.webhooks.contract import WebhookReader, WebhookSettings

# The types that an adapter uses, from one module.
__all__ = [
    "Adopts",
    "Broken",
    "Endpoint",
    "HttpAnswer",
    "HttpRequest",
    "LifetimeAsked",
    "Listed",
    "Listing",
    "NoLookUp",
    "Provider",
    "ProviderFacts",
    "Table",
]


@runtime_checkable
class Adopts(Protocol):
    """An endpoint that lists its sessions, and whose links are made of what another tool knows of a session."""

    def adopted(self, request: SessionRequest, *, token: str, reference: str, expires_at: datetime) -> Session | str:
        """The session that another tool opened; or why it cannot be one of this account."""


class NoLookUp:
    """For an endpoint that documents no list of its sessions. `no_look_up` is the reason, as text."""

    no_look_up = "the provider documents no list of its sessions"

    def look_up(self, request: SessionRequest, *, page: int) -> HttpRequest | None:
        return None

    def read_look_up(self, answer: HttpAnswer, request: SessionRequest, *, now: datetime) -> Listing | Problem:
        return Problem(Kind.BAD_INPUT, self.no_look_up)


@dataclass(frozen=True)
class Endpoint:
    """All that the worker must know of one provider's endpoint. Its name is that of its entry point.

    `adapter` makes the adapter of an account; it raises AccountUnusable for settings that make every session unusable.
    `parameters` has a table for each dialect. `webhooks` makes the reader of an account's webhooks; None: there are
    none, and results do not come back.
    """

    facts: ProviderFacts
    adapter: Callable[[AccountSettings], Provider]
    parameters: tuple[Table, ...]
    webhooks: Callable[[WebhookSettings], WebhookReader] | None = None
