"""What adapters are handed of the configuration, already checked: they do not import its model."""

from collections.abc import Mapping
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
    def lifetime(self) -> timedelta | None: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def unchecked(self) -> Mapping[str, Any]: ...
    @property
    def per_row(self) -> tuple[str, ...]: ...
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
