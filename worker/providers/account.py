"""An account as its adapter uses it: its credentials, and the links that may be sent to its customers; and what
adapters have in common.

Our message asks the customer to trust the link. So its host is always checked against the account's list, even though
the answer with the link is authenticated.
"""

import re
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

from onboarding_worker.adapters.bodies import BadAnswer, Unread, read_from
from onboarding_worker.adapters.settings import AccountSettings, Secret
from onboarding_worker.core.foundation.clock import EPOCH
from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest
from onboarding_worker.core.model.sessions import ExpirySource, Session, SessionRequest
from onboarding_worker.core.rules.reconciliation import Listing
from onboarding_worker.providers.facts import facts_of, lifetime_of
from onboarding_worker.providers.parameters import documented


class AccountUnusable(Exception):
    """An account whose settings cannot work. `key` is the setting at fault; the text names the remedy."""

    def __init__(self, account: str, key: str, problem: str) -> None:
        super().__init__(f"accounts.{account}.{key}: {problem}")
        self.account = account
        self.key = key
        self.problem = problem


def required_secret(account: AccountSettings, key: str) -> Secret:
    """The account's secret `key`. Raises AccountUnusable if it is not set."""
    secret: Secret | None = getattr(account, key)
    if secret is None:
        raise AccountUnusable(account.name, key, f"{account.provider} needs it")
    return secret


def basic(user: str, password: str) -> Mapping[str, str]:
    """The headers of a JSON request with this log-in."""
    return {
        "Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii"),
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


# Room for a template with the longest token; mail programs and browsers accept this length.
LONGEST_LINK = 8192
# Only the characters that RFC 3986 allows in a URL: no space, control character, quote, backslash or non-ASCII letter
# that looks like an ASCII one.
URL_TEXT = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&()*+,;=%']+")
OWN = re.compile(r"\{(token|customer_id|reference)\}")
PLACEHOLDERS = re.compile(r"\{(token|customer_id|reference|provider|digits|vendor\.[A-Za-z0-9_-]+)\}")


def https_link(text: object, hosts: Iterable[str]) -> str | None:
    """`text` if it may be sent: https (http for loopback only), to one of `hosts`, without a user name; else None.

    An entry of `hosts` may have a port ("verify.example.com:8443"); without a port it allows any port.
    """
    if not isinstance(text, str) or len(text) > LONGEST_LINK or not URL_TEXT.fullmatch(text):
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or "@" in parts.netloc:
        return None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        return None
    allowed = {entry.lower() for entry in hosts}
    return text if host in allowed or (port is not None and f"{host}:{port}" in allowed) else None


def _quoted(value: str) -> str:
    return value if value.isascii() and value.isalnum() else quote(value, safe="")


class Links:
    """The links of one account: made from its template, or given in answers."""

    def __init__(self, template: str, hosts: Iterable[str]) -> None:
        """`template` must have no `template_problem`: then no value leads a link to another host."""
        parts = PLACEHOLDERS.split(template)
        self._first, self._others = parts[0], list(zip(parts[1::2], parts[2::2], strict=True))
        self._hosts = frozenset(hosts)
        # What usual links begin with. `https_link` takes any other link apart.
        self._beginnings = tuple(filter(None, (https_link(f"https://{host}/", self._hosts) for host in self._hosts)))

    def made(self, values: Mapping[str, str]) -> str | None:
        """The link from the template with the values of its placeholders, quoted: {token}, {customer_id}, {reference},
        {provider}, {digits} and {vendor.NAME}. What the answer does not have is empty; other braces stay. None if it is
        too long."""
        link = self._first
        for name, text in self._others:
            link += _quoted(values.get(name, "")) + text
        return link if len(link) <= LONGEST_LINK else None

    def given(self, text: object) -> str | None:
        """`text` if it may be sent, as `https_link`."""
        if isinstance(text, str) and text.startswith(self._beginnings):
            return text if len(text) <= LONGEST_LINK and URL_TEXT.fullmatch(text) else None
        return https_link(text, self._hosts)


def template_problem(template: str, hosts: Iterable[str]) -> str | None:
    """Why links made from `template` could not be sent; None if they can. Called at the start, before any paid call."""
    authority = re.match(r"[^/?#]*//[^/?#]*", template)
    if not OWN.search(template):
        return "has none of {token}, {customer_id} and {reference}: every customer would get the same link"
    if authority and PLACEHOLDERS.search(authority[0]):
        return "has a placeholder in its host"
    if https_link(Links(template, hosts).made({"token": "t", "customer_id": "c", "reference": "r"}), hosts) is None:
        return "is not an https address of a host in link_hosts"
    return None


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
    """What adapters have in common, for one account: its credentials, links and lifetime. Raises
    AccountUnusable if links made from the account's own template, else from the documented one, could not be sent."""

    may_return_earlier = False

    def __init__(
        self,
        account: AccountSettings,
        make: Callable[..., Mapping[str, str]],
        *secrets: Secret | None,
        documented_link: str = "",
    ) -> None:
        """`make` makes the headers of a call. It gets the secrets' values in this order; "" for a secret that the
        account does not have. `documented_link`: the template of links; "" if the answers have a link, or the account
        has one."""
        self._account, self._make, self._secrets = account, make, secrets
        # Read with the first call: who only looks at a list or a status needs no secret.
        self._values: tuple[str, ...] = ()
        self._made_headers: Mapping[str, str] = {}
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

    def repeatable(self, request: SessionRequest) -> bool:
        return False

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

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        return tuple([secret.reveal() if secret else "" for secret in self._secrets])

    def headers(self) -> Mapping[str, str]:
        """The same object as long as the secrets stay the same."""
        values = self.secrets
        if values != self._values:
            self._made_headers, self._values = self._make(*values), values
        return self._made_headers

    def reload_credentials(self) -> bool:
        changed = [secret.reload() for secret in self._secrets if secret]
        return any(changed)

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
