"""An account as its adapter uses it: its settings, its credentials, and the links that may be sent to its customers.
Adapters do not import the configuration's model.

Our message asks the customer to trust the link. So its host is always checked against the account's list, even though
the answer with the link is authenticated.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlsplit

from worker.core.foundation.tls import is_loopback

Prefill = Literal["none", "name", "all"]


class Secret(Protocol):
    """A value that no repr shows."""

    def reveal(self) -> str: ...

    def reload(self) -> bool:
        """Read the secret from its file again. True if its value has changed; False if it does not come from a file."""


class AccountSettings(Protocol):
    """One `[accounts.NAME]` of the configuration, already checked (docs/reference/configuration.md).

    `lifetime` is the session lifetime that the request asks for; None if the provider takes no lifetime. `link` is
    the template that is used instead of the provider's own link. A link may lead to no host outside `link_hosts`.
    """

    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def dialect(self) -> str: ...
    @property
    def lifetime(self) -> timedelta | None: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def unchecked(self) -> Mapping[str, Any]: ...
    @property
    def base_url(self) -> str: ...
    @property
    def api_key(self) -> Secret | None: ...
    @property
    def api_secret(self) -> Secret | None: ...
    @property
    def customer_id(self) -> Secret | None: ...
    @property
    def customer_child_id(self) -> Secret | None: ...
    @property
    def channel(self) -> str | None: ...
    @property
    def prefill(self) -> Prefill: ...
    @property
    def link(self) -> str | None: ...
    @property
    def link_hosts(self) -> tuple[str, ...]: ...


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


class Credentials:
    """An account's secrets, and the headers that contain them: made again when a secret has another value."""

    def __init__(self, make: Callable[..., Mapping[str, str]], *secrets: Secret | None) -> None:
        """`make` gets the secrets' values in this order; "" for a secret that the account does not have."""
        self._make = make
        self._secrets = secrets
        # Read with the first call: who only looks at a list or a status needs no secret.
        self._values: tuple[str, ...] = ()
        self._headers: Mapping[str, str] = {}

    @property
    def values(self) -> tuple[str, ...]:
        """What no message may show."""
        return tuple([secret.reveal() if secret else "" for secret in self._secrets])

    def headers(self) -> Mapping[str, str]:
        """The same object as long as the secrets stay the same."""
        values = self.values
        if values != self._values:
            self._headers, self._values = self._make(*values), values
        return self._headers

    def reload(self) -> bool:
        """Read the secrets from their files again. True if any has changed."""
        changed = [secret.reload() for secret in self._secrets if secret]
        return any(changed)


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
