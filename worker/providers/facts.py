"""What an adapter says about its accounts, and where the adapters are: our own, and those that other installed packages
declare as entry points; and where the services for messages to phones are.

The configuration, the intake of lists and the templates ask here, so that no room below the adapters names a provider.
An entry point is code that the operator has installed. It is imported when its name is used first, and not before.
"""

import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from onboarding_worker.providers.account import AccountSettings

# The name is part of columns (`NAME.PARAMETER`), and stands in tables and messages.
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
F = TypeVar("F")
NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


class AdapterBroken(Exception):
    """An adapter that cannot be loaded. The text names the adapter, its package and the place, and no value."""


@dataclass(frozen=True)
class Foreign:
    """An adapter of another package. `package` is its name and version, such as `onboarding-acme 0.1.0`."""

    name: str
    package: str
    point: EntryPoint


class Catalogue:
    """The adapters of one group by name. `built_in` has our own: `module:ATTRIBUTE` by name, as an entry point."""

    def __init__(self, group: str, built_in: Mapping[str, str]) -> None:
        self.group, self.built_in = group, built_in
        self._loaded: dict[str, Any] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._by_name

    def __iter__(self) -> Iterator[str]:
        """All names, our own first."""
        yield from self.built_in
        yield from self._by_name

    @cached_property
    def foreign(self) -> tuple[Foreign, ...]:
        """The adapters of other packages, in the order of their names."""
        found = {(point.name, _package(point)): point for point in entry_points(group=self.group)}
        return tuple(Foreign(name, package, found[name, package]) for name, package in sorted(found))

    @cached_property
    def _by_name(self) -> dict[str, Foreign]:
        return {one.name: one for one in self.foreign if one.name not in self.built_in}

    def clashes(self) -> list[str]:
        """Why names cannot be used, a line each. Which of two adapters gets the calls must not be chance."""
        by_name: dict[str, list[str]] = {}
        for one in self.foreign:
            by_name.setdefault(one.name, []).append(one.package)
        why = []
        for name, packages in by_name.items():
            shown = name if NAME.fullmatch(name) else ascii(name[:64])
            if shown != name:
                why.append(f"{packages[0]}: its adapter has the name {shown}: expected small letters, digits and -")
            elif name in self.built_in:
                why.append(f"{packages[0]}: its adapter has the name {name}, which is built in: uninstall the package")
            elif len(packages) > 1:
                why.append(f"{' and '.join(packages)}: both have an adapter {name}: uninstall one")
        return why

    def load(self, name: str) -> Any:
        """The adapter; None if there is none of this name. Raises AdapterBroken."""
        if name not in self._loaded and name in self:
            own = self.built_in.get(name)
            point = EntryPoint(name, own, self.group) if own else self._by_name[name].point
            try:
                self._loaded[name] = point.load()
            except Exception as error:  # code of others: whatever it raises, only its own accounts must suffer
                if own:
                    raise
                # The text of a foreign exception may hold a value. Its type and its place do not.
                why = f"the adapter {name} of {self._by_name[name].package} cannot be loaded: {_place(error)}"
                raise AdapterBroken(why) from None
        return self._loaded.get(name)

    def facts(self, name: str, kind: type[F], wanted: str) -> F | None:
        """The adapter's `facts`; None if there is none of this name. Raises AdapterBroken, also for no `wanted`."""
        adapter = self.load(name)
        facts = getattr(adapter, "facts", None)
        if adapter is None or isinstance(facts, kind):
            return facts
        package = self._by_name[name].package
        raise AdapterBroken(f"the adapter {name} of {package} cannot be used: its entry point is no {wanted}")

    def forget(self) -> None:
        for known in ("foreign", "_by_name"):
            self.__dict__.pop(known, None)
        self._loaded.clear()


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    missing = f" ({error.name})" if isinstance(error, ImportError) and error.name else ""
    return f"{type(error).__name__}{missing} at {PurePath(last.filename).name}, line {last.lineno}"


def _package(point: EntryPoint) -> str:
    found = point.dist
    return f"{found.name} {found.version}" if found else "a package without a name"


@dataclass(frozen=True)
class TextFacts:
    """What a service documents: its production host, and the channels (`worker/core/model/channels.py`) it serves."""

    host: str
    channels: tuple[str, ...] = ("sms",)


TEXT_SERVICES = Catalogue("onboarding_worker.senders", {"twilio": "onboarding_worker.senders.sms:TEXT_SERVICE"})


def text_facts_of(service: str) -> TextFacts | None:
    """The facts of the service; None if there is none of this name. Raises AdapterBroken."""
    return TEXT_SERVICES.facts(service, TextFacts, "onboarding_worker.senders.contract.TextService")


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
def _asks(account: "AccountSettings") -> LifetimeAsked | None:
    facts = facts_of(account.provider)
    return facts.asks(account.dialect) if facts else None


def lifetime_parameter(account: "AccountSettings") -> str:
    """The parameter that asks for a lifetime; "" where the provider takes none."""
    asks = _asks(account)
    return asks.parameter if asks else ""


def asked_lifetime(account: "AccountSettings", row: Mapping[str, Any] = NO_PARAMETERS) -> timedelta | None:
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


def lifetime_of(account: "AccountSettings", row: Mapping[str, Any] = NO_PARAMETERS) -> timedelta | None:
    """How long a link lives that is opened with these parameters; None where the vendor decides."""
    asks = _asks(account)
    if asks is None:
        return None
    asked = asked_lifetime(account, row)
    return asks.unasked if asked is None else asked
