"""The contract of every provider adapter. Adapters are pure: they build a request and read an answer.

`worker.http.client` makes the call between the two. So tests give an adapter bytes, and a new adapter is a
module with these functions and a table of answers (docs/how-to/adding-a-provider.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from worker.core.customers.customers import Customer, FieldProblem
from worker.core.model.endings import Kind, Problem
from worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from worker.core.model.sessions import Session, SessionRequest
from worker.core.unknown.reconciliation import Listed, Listing
from worker.providers.account import AccountSettings
from worker.providers.facts import LifetimeAsked, ProviderFacts
from worker.providers.parameters.tables import Table
from worker.providers.webhooks.contract import WebhookReader, WebhookSettings

# The types that an adapter uses, from one module.
__all__ = [
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


class Provider(Protocol):
    """One account's endpoint. Built once per process from the account's settings; holds no connection."""

    @property
    def lifetime(self) -> timedelta | None:
        """The link lifetime that the account's requests ask for; None if the vendor decides."""

    def lifetime_with(self, parameters: Mapping[str, Any]) -> timedelta | None:
        """The same for a row with these parameters of its own (`domain.providers.lifetimes`)."""

    @property
    def may_return_earlier(self) -> bool:
        """True if a call may return a token that an earlier call has opened: its link has aged then."""

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        """Why this endpoint cannot serve the customer; empty if it can. The check sends nothing."""

    def build(self, request: SessionRequest) -> HttpRequest:
        """The request that opens a session.

        The same credentials give the same headers, so the caller can compare headers to see that a credential was
        replaced.
        """

    def read(
        self, answer: HttpAnswer, request: SessionRequest, *, issued_at: datetime, now: datetime
    ) -> Session | Problem:
        """The session in the answer, or the Problem. Never raises on a provider's bytes.

        `issued_at` is the time just before the request was written (aware UTC): a lifetime given as a
        duration counts from it, so the expiry is never too late. `now` is the time of reading, for dates in headers.
        """

    def broken(self, failure: Broken, request: SessionRequest) -> Problem:
        """The Problem of a call without an answer: surely not carried out, or unknown."""

    def repeatable(self, request: SessionRequest) -> bool:
        """True if the same request may be sent again without a second session or a second charge."""

    def reissue_at(self, expires_at: datetime) -> datetime:
        """The earliest useful time to ask for another session, for a customer with a session until `expires_at`."""

    def reload_credentials(self) -> bool:
        """Read secrets from their files again, after a 401. True if any has changed."""

    @property
    def no_look_up(self) -> str:
        """Why a call with an unknown outcome cannot be reconciled, for the operator; "" if it can be."""

    def look_up(self, request: SessionRequest, *, page: int) -> HttpRequest | None:
        """The request for one page (from 1) of the customer's sessions at the provider; None if it has no such list.

        The request always goes to the account's configured address: a link in an answer is never followed.
        """

    def read_look_up(self, answer: HttpAnswer, request: SessionRequest, *, now: datetime) -> Listing | Problem:
        """The page in the answer, or the Problem. Never raises on a provider's bytes.

        The Problem stops or pauses the account only if every other call would fail too. A listing that this account
        may not read is BAD_INPUT. No Problem is UNKNOWN: a look-up changes nothing, so it is made again.
        """


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
