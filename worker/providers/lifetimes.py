"""How long a session's link lives, as its request asks for it. One answer for the start, for intake and for the call.

    the account, the row's parameters  --lifetime_of-->  timedelta, or None: the vendor decides

A row's own parameter counts first, then the account's. Source: the providers' API references, read for each field.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol

from worker.providers.facts import LifetimeAsked, facts_of

NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


class AsksForLifetime(Protocol):
    """What an account says about the lifetime of its links."""

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


def _asks(account: AsksForLifetime) -> LifetimeAsked | None:
    facts = facts_of(account.provider)
    return facts.asks(account.dialect) if facts else None


def lifetime_parameter(account: AsksForLifetime) -> str:
    """The parameter that asks for a lifetime; "" where the provider takes none."""
    asks = _asks(account)
    return asks.parameter if asks else ""


def asked_lifetime(account: AsksForLifetime, row: Mapping[str, Any] = NO_PARAMETERS) -> timedelta | None:
    """The lifetime that a request names. `row`: the row's parameters for the provider. None: it names none."""
    asks = _asks(account)
    if asks is None:
        return None
    given = {**account.parameters, **row, **account.unchecked}
    seconds = given.get(asks.parameter)
    if isinstance(seconds, int):
        return timedelta(seconds=seconds)
    longest = asks.longest(given)
    if longest < timedelta.max:
        return min(account.lifetime or longest, longest)
    return account.lifetime


def lifetime_of(account: AsksForLifetime, row: Mapping[str, Any] = NO_PARAMETERS) -> timedelta | None:
    """How long a link lives that is opened with these parameters; None where the vendor decides."""
    asks = _asks(account)
    if asks is None:
        return None
    asked = asked_lifetime(account, row)
    return asks.unasked if asked is None else asked
