"""The contract of every provider adapter. Adapters are pure: they build a request and read an answer.

`worker.http.client` makes the call between the two. So tests give an adapter bytes, and a new adapter is a
module with these functions and a table of answers (docs/how-to/adding-a-provider.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from worker.core.adapters import Provider
from worker.core.customers.customers import FieldProblem
from worker.core.foundation.ids import EPOCH
from worker.core.model.endings import Kind, Problem
from worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from worker.core.model.sessions import ExpirySource, Session, SessionRequest
from worker.core.unknown.reconciliation import Listed, Listing
from worker.providers.account import AccountSettings, AccountUnusable, Credentials, Links, Secret, template_problem
from worker.providers.bodies import BadAnswer, Unread, read_from
from worker.providers.facts import LifetimeAsked, ProviderFacts, facts_of, lifetime_of
from worker.providers.parameters import Table, documented
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


# Why an endpoint that verifies people refuses a company.
NO_COMPANIES = FieldProblem("kind", "this account verifies people, not companies", "route companies elsewhere")


class AccountAdapter(NoLookUp, ABC):
    """What our own adapters have in common, for one account: its credentials, links and lifetime. Raises
    AccountUnusable if links made from the account's own template, else from the documented one, could not be sent."""

    may_return_earlier = False

    def __init__(
        self,
        account: AccountSettings,
        headers: Callable[..., Mapping[str, str]],
        *secrets: Secret | None,
        documented_link: str = "",
    ) -> None:
        """`headers`: see `Credentials`. `documented_link`: the template of links; "" if the answers have a link, or the
        account has one."""
        self._account = account
        self._credentials = Credentials(headers, *secrets)
        self._names = documented(account.provider)
        self._base_url = account.base_url.rstrip("/")
        link = account.link or documented_link
        if link and (problem := template_problem(link, account.link_hosts)):
            raise AccountUnusable(account.name, "link" if account.link else "link_hosts", f"{link} {problem}")
        self._links = Links(link, account.link_hosts)
        self._lives = lifetime_of(account)
        facts = facts_of(account.provider)
        self._opens_early = facts is not None and facts.opens_early

    @abstractmethod
    def session_in(self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime) -> Session:
        """The session in the answer's JSON. Raises BadAnswer, whose text names the field and never its value."""

    @abstractmethod
    def problem(self, answer: HttpAnswer, unread: Unread, request: SessionRequest, now: datetime) -> Problem:
        """The Problem for an answer without what was asked for."""

    @abstractmethod
    def repeatable(self, request: SessionRequest) -> bool:
        """As `Provider.repeatable`."""

    @property
    def lifetime(self) -> timedelta | None:
        return self._lives

    def lifetime_with(self, parameters: Mapping[str, Any]) -> timedelta | None:
        return lifetime_of(self._account, parameters) if parameters else self._lives

    def read(
        self, answer: HttpAnswer, request: SessionRequest, *, issued_at: datetime, now: datetime
    ) -> Session | Problem:
        read = read_from(answer, lambda found: self.session_in(found, request, issued_at))
        return self.problem(answer, read, request, now) if isinstance(read, Unread) else read

    def broken(self, failure: Broken, request: SessionRequest) -> Problem:
        unknown = failure.sent and not self.repeatable(request)
        return Problem(Kind.UNKNOWN if unknown else Kind.TRANSIENT, failure.detail)

    def reissue_at(self, expires_at: datetime) -> datetime:
        return EPOCH if self._opens_early else expires_at

    def reload_credentials(self) -> bool:
        return self._credentials.reload()

    def made(
        self,
        request: SessionRequest,
        field: str,
        token: str,
        *,
        reference: str,
        ends: tuple[datetime, ExpirySource],
        references: Mapping[str, str],
        link: str | None = None,
        placeholders: Mapping[str, str] = MappingProxyType({}),
        **more: Any,
    ) -> Session:
        """The session with the token, which is the answer's `field`, and with those of the `references` that the answer
        has. `link`: the answer's own; None: it is made, also of these `placeholders`. Raises BadAnswer."""
        values = {"token": token, "customer_id": request.customer.customer_id, "reference": reference, **placeholders}
        link = link or self._links.made(values)
        if link is None:  # the token is too long for a link
            raise BadAnswer(f"the {field} in the answer does not fit into a link")
        return Session(
            token=token,
            link=link,
            reference=reference,
            expires_at=ends[0],
            expiry_source=ends[1],
            references={name: value for name, value in references.items() if value},
            **more,
        )


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
