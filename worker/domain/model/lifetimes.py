"""How long a session's link lives, as its request asks for it. One answer for the start, for intake and for the call.

    the account, the row's parameters  --lifetime_of-->  timedelta, or None: the vendor decides

A row's own parameter counts first, then the account's. Source: the providers' API references, read for each field.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol

NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})
# With a digit string iDenfy accepts no lifetime above one day.
DIGIT_STRING, DIGIT_STRING_MOST = "generateDigitString", timedelta(days=1)


@dataclass(frozen=True)
class _Asks:
    """The parameter with the lifetime in seconds, and how long links live where nothing asks for a lifetime."""

    parameter: str
    unasked: timedelta


# By provider and dialect. A provider that is not here takes no lifetime.
_ASKS = {
    ("idenfy-kyc", "narrative"): _Asks("expiryTime", timedelta(days=1)),
    ("idenfy-kyc", "openapi"): _Asks("lifetime", timedelta(days=1)),
    # The adapter always asks: the provider's own hour is too short for a link in an email.
    ("idenfy-kyb", "narrative"): _Asks("lifetime", timedelta(days=7)),
}


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


def lifetime_parameter(account: AsksForLifetime) -> str:
    """The parameter that asks for a lifetime; "" where the provider takes none."""
    asks = _ASKS.get((account.provider, account.dialect))
    return asks.parameter if asks else ""


def asked_lifetime(account: AsksForLifetime, row: Mapping[str, Any] = NO_PARAMETERS) -> timedelta | None:
    """The lifetime that a request names. `row`: the row's parameters for the provider. None: it names none."""
    asks = _ASKS.get((account.provider, account.dialect))
    if asks is None:
        return None
    given = {**account.parameters, **row, **account.unchecked}
    seconds = given.get(asks.parameter)
    if isinstance(seconds, int):
        return timedelta(seconds=seconds)
    if given.get(DIGIT_STRING) is True:
        return min(account.lifetime or DIGIT_STRING_MOST, DIGIT_STRING_MOST)
    return account.lifetime


def lifetime_of(account: AsksForLifetime, row: Mapping[str, Any] = NO_PARAMETERS) -> timedelta | None:
    """How long a link lives that is opened with these parameters; None where the vendor decides."""
    asks = _ASKS.get((account.provider, account.dialect))
    if asks is None:
        return None
    asked = asked_lifetime(account, row)
    return asks.unasked if asked is None else asked
