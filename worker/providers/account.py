"""The account settings that an adapter reads. Adapters do not import the configuration's model."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, Protocol

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
    def lifetime(self) -> timedelta | None: ...
    @property
    def prefill(self) -> Prefill: ...
    @property
    def link(self) -> str | None: ...
    @property
    def link_hosts(self) -> tuple[str, ...]: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def unchecked(self) -> Mapping[str, Any]: ...


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
