"""What an adapter needs to know of an account, so that adapters do not know the configuration's model."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, Protocol

Prefill = Literal["none", "name", "all"]


class Secret(Protocol):
    """A value that no repr shows."""

    def reveal(self) -> str: ...

    def reload(self) -> bool:
        """Read it again from its file; whether it has changed. False where it does not come from a file."""


class AccountSettings(Protocol):
    """One `[accounts.NAME]` of the configuration, already checked (DESIGN.md 3.2).

    `lifetime` is what sessions are asked to live for, None where it cannot be asked for. `link` is the
    template that wins over a provider's own link; `link_hosts` are the only hosts that a link may lead to.
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
    """An account that cannot work as it is configured. `key` is the setting at fault; the text says what to do."""

    def __init__(self, account: str, key: str, problem: str) -> None:
        super().__init__(f"accounts.{account}.{key}: {problem}")
        self.account = account
        self.key = key
        self.problem = problem


def required_secret(account: AccountSettings, key: str) -> Secret:
    """The account's secret `key`. Raises AccountUnusable where it is not set."""
    secret: Secret | None = getattr(account, key)
    if secret is None:
        raise AccountUnusable(account.name, key, f"{account.provider} needs it")
    return secret
