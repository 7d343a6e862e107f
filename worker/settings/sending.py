"""The senders: email over SMTP, and SMS. And whose messages customers get: the look of them, without any template; and
of several brands also the addresses."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, model_validator

from onboarding_worker.adapters.catalogue import AdapterBroken
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.senders.facts import TEXT_SERVICES, text_facts_of
from onboarding_worker.settings.addresses import MailServer
from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.tls import Client, OwnServer
from onboarding_worker.settings.values import (
    Cost,
    Country,
    Credential,
    Credentials,
    Duration,
    Mailbox,
    Name,
    PerCountry,
    RampUp,
    Rate,
    Section,
    ServerUrl,
    Shown,
    SmtpUrl,
    Text,
    Whole,
    has_controls,
    only,
    setting,
)
from onboarding_worker.templates.brand import COLOUR, Brand

SERVICE = r"MG[0-9a-f]{32}"
MOST_FOOTER_LINES = 6


def _number(value: str, info: ValidationInfo) -> str:
    ours = info.data.get("provider") in TEXT_SERVICES.built_in  # another package's service knows its own forms
    if ours and not re.fullmatch(rf"\+[1-9]\d{{4,14}}|{SERVICE}|(?=.*[A-Za-z])[A-Za-z0-9 ]{{1,11}}", value, re.ASCII):
        raise ValueError('expected a number such as "+15005550006", a messaging service (MG…) or a sender\'s name')
    return value


def _text_service(name: str) -> str:
    try:
        facts = text_facts_of(name)
    except AdapterBroken as error:
        raise ValueError(str(error)) from None
    if facts is None:
        raise ValueError(f"expected {' or '.join(TEXT_SERVICES)}, or the name of an installed adapter")
    if Channel.SMS not in facts.channels:
        raise ValueError(f"{name} has no sender for this channel, only for {', '.join(facts.channels)}")
    return name


class Email(OwnServer):
    """The mail server, and the sender of the emails."""

    url: SmtpUrl = setting(
        ..., "smtp://HOST:PORT (port 25), smtp+starttls://USER:PASSWORD@HOST (587) or smtps://… (465).", repr=False
    )
    from_: Mailbox = setting(..., "The sender of the invitations.", alias="from")
    reply_to: Mailbox | None = setting(None, "Where customers' answers go.", "`from`")
    limits: tuple[Rate, ...] = setting((), "Messages never exceed any of these.")
    ramp: RampUp = setting(
        None, 'For a new domain: "500/day x2" is 500 in the first 24 hours, then 1,000, and so on.', "no ramp"
    )
    price: Cost | None = setting(None, 'What one email costs, such as "0.05 EUR".')
    on_unknown: Literal["repeat", "hold"] = setting(
        "repeat", "If a hand-over's outcome is unknown: repeat it under its Message-ID, or hold it for a person."
    )
    timeout: Duration = setting(
        timedelta(seconds=30),
        "How long one hand-over may take.",
        ge=timedelta(milliseconds=50),
        le=timedelta(minutes=10),
    )
    connections: Whole = setting(4, "Open connections, for each worker process.", ge=1, le=200)

    @property
    def server(self) -> MailServer:
        return MailServer.smtp(self.url)


class Sms(Client):
    """The account at the service for texts, and the sender of the texts."""

    base_url: ServerUrl = setting("", "The provider's address.", "the provider's production host")
    account: Text = setting(..., "The account's SID.", pattern=r"^[^\s/?#]+$")
    key: Annotated[str, Field(pattern=r"^SK[0-9a-fA-F]{32}$")] | None = setting(
        None, "The SID of an API key (SK…); its secret is `token` then.", "the account logs in itself"
    )
    token: Credential = setting(..., "The account's token, or the secret of `key`.")
    on_unknown: Literal["reconcile", "hold", "repeat"] = setting(
        "reconcile", "If a message's outcome is unknown: ask the provider, hold it for a person, or send it again."
    )
    timeout: Duration = setting(
        timedelta(seconds=10), "How long one call may take.", ge=timedelta(milliseconds=50), le=timedelta(minutes=10)
    )
    callback_key: Credentials = setting(
        (),
        "The key that signs delivery callbacks. With it `onboard web` needs no `token`.",
        "`token`; needed with `key`",
    )
    provider: Annotated[str, AfterValidator(_text_service), Shown.names(TEXT_SERVICES)] = setting(
        "twilio", "The provider of texts and WhatsApp."
    )
    from_: Annotated[str, AfterValidator(_number), Shown("string")] = setting(
        ..., "The number, messaging service or name that messages come from.", alias="from"
    )
    limits: tuple[Rate, ...] = setting(
        (Limit.parse("1/second"),), "Messages never exceed any of these, for each `from`."
    )
    countries: Annotated[tuple[Country, ...], Field(min_length=1)] | None = setting(
        None, 'The countries that text messages may go to, such as ["LT", "LV"].', "all"
    )
    per_country: PerCountry = setting(
        1000,
        'The most texts to one country in an hour; "off". Further ones wait for the next hour, and `status` asks for a'
        " person.",
    )
    price: Cost | None = setting(None, 'What one segment of a text costs, such as "0.05 EUR".')

    @model_validator(mode="before")
    @classmethod
    def fill(cls, given: Any) -> Any:
        """Fill in the address of the provider, before anything is checked."""
        if not isinstance(given, dict) or "base_url" in given:
            return given
        try:
            facts = text_facts_of(str(given.get("provider", "twilio")))
        except AdapterBroken:
            facts = None  # the provider's own key has the problem
        return {**given, "base_url": facts.host} if facts else given

    @property
    def sender_name(self) -> str:
        """The sender's name; "" if `from` is a number or a messaging service, which a customer does not recognise."""
        return "" if self.from_.startswith("+") or re.fullmatch(SERVICE, self.from_) else self.from_


class WhatsApp(Section):
    """The WhatsApp sender, for rows and steps with the channel `whatsapp`: at the account of [sms], which it needs."""

    from_: Text = setting(..., "The number of the WhatsApp sender, or a messaging service that has one.", alias="from")
    limits: tuple[Rate, ...] = setting(
        (Limit.parse("10/second"),),
        'Messages never exceed any of these, for each `from`. Meta bounds the people in 24 hours: `"1000/day"` keeps'
        " to that.",
    )
    price: Cost | None = setting(None, 'What one message costs, such as "0.05 EUR".')

    def at(self, account: Sms) -> Sms:
        """The account of texts, with this sender."""
        return account.model_copy(update={"from_": self.from_, "limits": self.limits, "price": self.price})


def check_whatsapp(whatsapp: WhatsApp, sms: Sms, findings: Findings) -> None:
    """WhatsApp goes by the service for texts, which has its own forms of `from`."""
    facts = text_facts_of(sms.provider)
    if facts is not None and Channel.WHATSAPP not in facts.channels:
        served = ", ".join(facts.channels)
        findings.problem(("whatsapp",), f"{sms.provider} has no sender for WhatsApp, only for {served}")
    is_ours = sms.provider in TEXT_SERVICES.built_in
    if is_ours and not re.fullmatch(rf"\+[1-9]\d{{4,14}}|{SERVICE}", whatsapp.from_, re.ASCII):
        expected = 'expected a number such as "+15005550006", or a messaging service (MG…)'
        findings.problem(("whatsapp", "from"), expected)


def _logo(value: str) -> str:
    expected = 'expected an https address without a password, such as "https://www.example.com/logo.png"'
    is_one = re.fullmatch(r"https://[A-Za-z0-9.:-]+/[!#-&(-;=?-\[\]_a-z~]*", value, re.ASCII) and len(value) <= 500
    with suppress(ValueError):  # a bad port
        if is_one and urlsplit(value).port != 0:
            return value
    raise ValueError(expected)


def _lines(value: str) -> str:
    lines = value.strip().splitlines()
    if not lines or len(lines) > MOST_FOOTER_LINES:
        raise ValueError(f"expected 1 to {MOST_FOOTER_LINES} lines of text")
    if any(map(has_controls, lines)):
        raise ValueError("expected text without control characters")
    return "\n".join(line.strip() for line in lines)


_COLOUR = only(COLOUR.fullmatch, 'a colour such as "#1a5fc8"')


class Look(Section):
    """How the built-in messages look."""

    name: Text | None = setting(
        None, "Who the messages are from, in their words.", "the name in the emails' `from`", max_length=60
    )
    logo: Annotated[str, AfterValidator(_logo), Shown("https address")] | None = setting(
        None, "A picture for the top of the emails, shown 40 pixels high. Mail programs load it from there.", "the name"
    )
    colour: Annotated[str, _COLOUR, AfterValidator(str.lower), Shown("colour")] = setting(
        Brand.colour, "The colour of the button and of links."
    )
    footer: Annotated[str, AfterValidator(_lines), Shown("string")] | None = setting(
        None, "Text for the end of the emails, such as the company's address.", max_length=600
    )
    support: Text | None = setting(
        None, "Whom to ask: an email address, a phone number with +, an https address, or other text.", max_length=200
    )

    @property
    def look(self) -> Brand:
        """The brand as templates use it."""
        return Brand(self.name or "", self.logo or "", self.colour, self.footer or "", self.support or "")


class NamedBrand(Look):
    """One of several brands, for rows whose column `brand`, or whose route, names it. Of `[brand]` it takes nothing."""

    from_: Mailbox | None = setting(
        None, "The sender of its emails.", "that of [email], with its `reply_to`", alias="from"
    )
    reply_to: Mailbox | None = setting(None, "Where answers to its emails go.", "its `from`")
    template: Text | None = setting(None, "The template of its rows that name none.", "`default`")

    @property
    def look(self) -> Brand:
        return replace(super().look, template=self.template or "")

    def addresses(self, email: Email) -> tuple[str, str]:
        """`from` and `reply_to` of its emails; "": answers go to `from`. Those of another sender are not its own."""
        of_sender = email.reply_to if self.from_ is None else None
        return self.from_ or email.from_, self.reply_to or of_sender or ""


class BrandSection(Look):
    """How the built-in messages look. The text on the button is white or dark, whichever can be read on the colour."""

    named_inside = NamedBrand
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Name, NamedBrand] = Field(init=False)


def check_brands(brands: Mapping[str, NamedBrand], tree: Mapping[str, Any], findings: Findings) -> None:
    """Addresses of emails need what sends them."""
    for name, brand in brands.items():
        for key, given in (("from", brand.from_), ("reply_to", brand.reply_to)):
            if given is not None and "email" not in tree:
                findings.consequence(("brand", name, key), "needs the section [email]")
