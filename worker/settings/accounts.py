"""An account at a provider: its keys, its host, and what it may spend."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from string import Formatter
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from onboarding_worker.adapters.catalogue import AdapterBroken
from onboarding_worker.core.foundation.notation import listed_in_words, parse_duration, show_duration
from onboarding_worker.providers.facts import PROVIDERS, ProviderFacts, facts_of
from onboarding_worker.settings.addresses import is_host, web_url
from onboarding_worker.settings.problems import nearest
from onboarding_worker.settings.tls import TrustsAuthority
from onboarding_worker.settings.values import (
    Cost,
    Credential,
    CreditCaps,
    Duration,
    Host,
    Identifier,
    Parameters,
    PathSecrets,
    Rate,
    Secrets,
    ServerUrl,
    Shown,
    Text,
    Whole,
    setting,
)

PLACEHOLDERS = ("token", "customer_id", "reference", "provider", "digits")
OWN = {"token", "customer_id", "reference"}  # a link with one of these is the customer's own
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def _provider(name: str) -> str:
    if name not in PROVIDERS:
        meant = nearest(name, PROVIDERS)
        raise ValueError(f"expected one of {', '.join(PROVIDERS)}" + (f"; did you mean `{meant}`?" if meant else ""))
    try:
        facts_of(name)
    except AdapterBroken as error:
        raise ValueError(str(error)) from None
    return name


def facts_in(given: Any) -> ProviderFacts | None:
    """The facts of the provider that an unchecked table names; None: it names none that can be used."""
    provider = given.get("provider") if isinstance(given, dict) else None
    with suppress(AdapterBroken):  # the key itself has the problem
        return facts_of(provider) if isinstance(provider, str) else None
    return None


def _link(value: str) -> str:
    expected = 'expected a URL such as "https://verify.example.com/start#token={token}"'
    try:
        pieces = list(Formatter().parse(value))
    except ValueError:
        raise ValueError(f"{expected}: a brace is not closed") from None
    names = [name for _, name, _, _ in pieces if name is not None]
    known = all(name in PLACEHOLDERS or re.fullmatch(r"vendor\.[A-Za-z0-9_-]{1,64}", name) for name in names)
    if not known or any(form or turn for _, _, form, turn in pieces):
        raise ValueError(
            "the only placeholders are {token}, {customer_id}, {reference}, {provider}, {digits} and {vendor.NAME}"
        )
    if OWN.isdisjoint(names):
        raise ValueError(f"{expected}: without {{token}} all customers would get the same link")
    parts = web_url(value.replace("{{", "").replace("}}", ""), expected)
    if "{" in parts.netloc:
        raise ValueError(f"{expected}, with its placeholders after the host")
    return value


class Account(TrustsAuthority):
    """One contract with a provider. `name` is its key; `load` fills it in, and `budget` and what the budget shares."""

    name: str = Field("", json_schema_extra={"resolved": True})
    provider: Annotated[str, AfterValidator(_provider), Shown.names(PROVIDERS)] = setting(
        ..., "The provider, and its endpoint."
    )
    base_url: ServerUrl = setting(
        "", "Its address, up to the documented path; https, or http on this machine.", "the provider's production host"
    )
    api_key: Credential = setting(..., "Its API key.")
    api_secret: Credential | None = setting(None, "iDenfy only, and needed there.")
    customer_id: Identifier | None = setting(
        None, "FrankieOne only, and needed there: the UUID for X-Frankie-CustomerID."
    )
    customer_child_id: Identifier | None = setting(None, "FrankieOne only: X-Frankie-CustomerChildID.")
    channel: Text | None = setting(None, "FrankieOne only: X-Frankie-Channel.", pattern=r"^[A-Za-z0-9]{1,64}$")
    dialect: Annotated[str, Shown("one of the provider's forms")] = setting(
        "narrative",
        'Which documented form: for idenfy-kyc `"narrative"` (`authToken`) or `"openapi"` (`tokenString`).',
        "the provider's first form",
    )
    limits: tuple[Rate, ...] = setting(
        (),
        "All workers together never exceed any of these; [] for none.",
        'iDenfy `["10000/hour"]`, FrankieOne `["5/second"]`',
    )
    burst: Duration = setting(
        timedelta(minutes=2),
        "How much of a limit per hour or day may be used ahead, and is taken from the pace afterwards; at most a"
        ' tenth. `"0 s"`: none.',
        le=timedelta(days=1),
    )
    concurrency: Whole = setting(50, "The most calls in flight, over all workers together.", ge=1, le=10_000)
    credits: CreditCaps = setting(
        (),
        "The most calls that cost a credit, or may have: an answer of 500 or 503 counts. In all, such as `60000`, by"
        ' period, `"2000 / day"` (or `week`, `month`), or several: `["60000", "2000 / day"]`. A cap that is set later'
        " covers earlier calls too.",
        "no cap",
    )
    price: Cost | None = setting(None, 'What one session costs, such as "0.90 EUR".')
    budget: Text = setting("", "Accounts with the same name here share one.", "one for each host and credential")
    on_unknown: Literal["reconcile", "hold", "repeat"] = setting(
        "reconcile", "If a call's outcome is unknown: ask the provider, hold the row for a person, or call again."
    )
    on_orphan: Literal["wait", "hold"] = setting(
        "wait",
        "If a session's token was lost with its answer: wait for its end and ask for another, or hold the row for a"
        " person.",
    )
    lifetime: Duration | None = setting(
        None,
        "How long a link lives, in whole seconds; iDenfy only.",
        "iDenfy: 7 days (24 hours with `generateDigitString`); FrankieOne: its vendor decides",
        ge=timedelta(seconds=1),
        le=timedelta(days=30),
    )
    prefill: Literal["none", "name", "all"] = setting(
        "none",
        "The personal fields that the provider gets; for frankieone-v1, which makes the entity of them, the default is"
        " `all`.",
    )
    timeout: Duration = setting(
        timedelta(seconds=10), "How long one call may take.", ge=timedelta(milliseconds=50), le=timedelta(minutes=10)
    )
    parameters: Parameters = setting({}, "Sent with every request, checked against the provider's schema.", repr=False)
    unchecked: Parameters = setting({}, "The provider's newer parameters, sent without a check.", repr=False)
    per_row: tuple[Text, ...] = setting(
        (),
        "The parameters that rows may set, with the [right](#rights), though they [name an address or can weaken the"
        " check](../providers/parameters.md#what-a-row-may-set); and `account`: rows may name this account.",
        "none",
    )
    link: Annotated[str, AfterValidator(_link), Shown("URL with placeholders")] | None = setting(
        None,
        "The link to send; needed for FrankieOne v1 and v2, which document none. Placeholders, whose values are"
        " quoted: {token}, {customer_id}, {reference}, and of the answer {provider} (FrankieOne's vendor),"
        " {vendor.NAME} (one of its vendorParameters) and {digits} (iDenfy's digit string).",
        "the provider's own",
    )
    link_hosts: tuple[Host, ...] = setting(
        (),
        "A link to any other host is refused. Needed for frankieone-hosted.",
        "the provider's documented hosts, and those of `link` and `base_url`",
    )
    webhook_keys: tuple[Credential, ...] = setting(
        (), "iDenfy only: the keys that sign its webhooks; 16 characters or more."
    )
    jwt_key: Secrets = setting((), "FrankieOne only: the public key (PEM) of its webhooks' tokens.")
    jwt_audience: Text | None = setting(None, "FrankieOne only: the `aud` that a token must have.", "any")
    webhook_secret: PathSecrets = setting(
        (), "FrankieOne only: a segment of the webhook's path, of 16 to 128 letters, digits, - or _."
    )

    @property
    def lacks_credentials(self) -> bool:
        """Whether one that the configuration names has no value here."""
        named = (self.api_key, self.api_secret, self.customer_id, self.customer_child_id)
        return any(one is not None and one.is_missing for one in named)

    @property
    def hears_results(self) -> bool:
        """Whether the provider's webhooks are accepted, by which the worker learns who has finished."""
        return bool(self.webhook_keys or self.webhook_secret or self.jwt_key)

    def credentials_in_words(self, sources: Mapping[str, str]) -> str:
        """The keys of the credentials, and where their values come from (`sources`, by key)."""
        keys = [f"accounts.{self.name}.{key}" for key in ("api_key", "api_secret") if getattr(self, key) is not None]
        return listed_in_words([f"{key} ({sources[key]})" if key in sources else key for key in keys])

    @model_validator(mode="before")
    @classmethod
    def fill(cls, given: Any) -> Any:
        """Fill in the defaults that depend on the provider, before anything is checked."""
        facts = facts_in(given)
        if facts is None:
            return given
        filled = {"base_url": facts.host, "limits": [facts.limit], "prefill": facts.prefill, **given}
        if facts.dialects:
            filled.setdefault("dialect", facts.dialects[0])
        if not facts.lifetimes:
            with suppress(ValueError):  # a bad value is reported later
                parse_duration(filled.get("lifetime"))
                del filled["lifetime"]
        elif "lifetime" not in filled and facts.lifetime is not None:
            asks, parameters = facts.asks(str(filled.get("dialect", ""))), given.get("parameters")
            longest = asks.longest(parameters) if asks and isinstance(parameters, dict) else timedelta.max
            filled["lifetime"] = show_duration(min(facts.lifetime, longest))
        if "link_hosts" not in filled:
            own = [_host_of(filled.get(key)) for key in ("link", "base_url")]
            filled["link_hosts"] = tuple(dict.fromkeys([*facts.link_hosts, *filter(None, own)]))
        return filled


def _host_of(url: Any) -> str:
    try:
        host = urlsplit(url).hostname or "" if isinstance(url, str) else ""
    except ValueError:
        return ""
    return host if is_host(host) else ""  # a bad URL is reported under its own key
