"""What an adapter says about its accounts, and where the adapters are.

The configuration, the intake of lists and the templates ask here, so that no room below the adapters names a provider.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from onboarding_worker.adapters.catalogue import Catalogue
from onboarding_worker.adapters.settings import AccountSettings

NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})

# The keys of an account that only some providers use.
_SPECIAL = "api_secret webhook_keys dialect customer_id customer_child_id channel jwt_key jwt_audience webhook_secret"
SPECIAL_KEYS = tuple(_SPECIAL.split())


@dataclass(frozen=True)
class LifetimeAsked:
    """The parameter with the lifetime in seconds, and how long links live where nothing asks for a lifetime.
    `shortened_by`: a parameter with which the provider accepts no lifetime above `shortened_to`."""

    parameter: str
    unasked: timedelta
    shortened_by: str = ""
    shortened_to: timedelta = timedelta.max

    def longest(self, given: Mapping[str, object]) -> timedelta:
        """The longest lifetime that the provider accepts with these parameters."""
        shortened = bool(self.shortened_by) and given.get(self.shortened_by) is True
        return self.shortened_to if shortened else timedelta.max


@dataclass(frozen=True)
class ProviderFacts:
    """What a provider documents for one endpoint. Source: its public API reference, read for each field."""

    host: str  # the production host; a documented path is appended
    limit: str  # the limit of calls if the account names none, such as "5/second"
    link_hosts: tuple[str, ...] = ()  # where links may lead to, besides the hosts of `link` and `base_url`
    paths: tuple[str, ...] = ()  # what the documented paths begin with: `base_url` ends before them
    keys: tuple[str, ...] = ()  # which of SPECIAL_KEYS its accounts may have
    needs: Mapping[str, str] = field(default_factory=dict)  # the keys that they must have, each with why, or ""
    answers: tuple[str, ...] = ()  # what an answer may have besides the link, as `link` and templates name it
    needs_name: bool = False  # without the person's name there is nothing to verify
    prefill: str = "none"  # which personal fields are sent if the account does not say
    dialects: tuple[str, ...] = ()  # the endpoint's forms, the default first
    opens_early: bool = False  # another session while one lives; as the adapter's `reissue_at`
    lifetime: timedelta | None = None  # what is asked for if the account does not say
    lifetimes: Mapping[str, LifetimeAsked] = field(default_factory=dict)  # by dialect; "": all; none: it takes none

    def asks(self, dialect: str) -> LifetimeAsked | None:
        """How a request asks for a lifetime; None where it cannot, because the vendor behind the provider decides."""
        return self.lifetimes.get(dialect) or self.lifetimes.get("")


# The adapters of other packages are declared in the same form: the entry points of this group.
PROVIDERS = Catalogue(
    "onboarding_worker.providers",
    {
        "idenfy-kyc": "onboarding_worker.providers.idenfy_kyc:ENDPOINT",
        "idenfy-kyb": "onboarding_worker.providers.idenfy_kyb:ENDPOINT",
        "frankieone-v1": "onboarding_worker.providers.frankieone_v1:ENDPOINT",
        "frankieone-v2": "onboarding_worker.providers.frankieone_v2:ENDPOINT",
        "frankieone-hosted": "onboarding_worker.providers.frankieone_hosted:ENDPOINT",
    },
)


def facts_of(provider: str) -> ProviderFacts | None:
    """The facts of the provider; None if there is none of this name. Raises AdapterBroken."""
    return PROVIDERS.facts(provider, ProviderFacts, "onboarding_worker.providers.contract.Endpoint")


# How long a session's link lives, as its request asks for it: one answer for the start, for intake and for the call. A
# row's own parameter counts first, then the account's.
def _asks(account: AccountSettings) -> LifetimeAsked | None:
    facts = facts_of(account.provider)
    return facts.asks(account.dialect) if facts else None


def lifetime_parameter(account: AccountSettings) -> str:
    """The parameter that asks for a lifetime; "" where the provider takes none."""
    asks = _asks(account)
    return asks.parameter if asks else ""


def asked_lifetime(account: AccountSettings, row: Mapping[str, Any] = NO_PARAMETERS) -> timedelta | None:
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


def lifetime_of(account: AccountSettings, row: Mapping[str, Any] = NO_PARAMETERS) -> timedelta | None:
    """How long a link lives that is opened with these parameters; None where the vendor decides."""
    asks = _asks(account)
    if asks is None:
        return None
    asked = asked_lifetime(account, row)
    return asks.unasked if asked is None else asked
