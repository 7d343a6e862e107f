"""The senders: email over SMTP, and SMS."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from worker.core.customers.customers import Channel
from worker.core.limits.rate_limits import Limit
from worker.providers.facts import TEXT_SERVICES, AdapterBroken, text_facts_of
from worker.settings.addresses import MailServer
from worker.settings.problems import Findings
from worker.settings.tls import Client, OwnServer
from worker.settings.values import (
    Cost,
    Country,
    Credential,
    Credentials,
    Duration,
    Mailbox,
    PerCountry,
    RampUp,
    Rate,
    Section,
    ServerUrl,
    Shown,
    SmtpUrl,
    Text,
    Whole,
    setting,
)

SERVICE = r"MG[0-9a-f]{32}"


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


NAMES = Shown(" or ".join(f'`"{name}"`' for name in TEXT_SERVICES.built_in) + ", or the name of an installed adapter")


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
    provider: Annotated[str, AfterValidator(_text_service), NAMES] = setting(
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
