"""The senders: email over SMTP, and SMS."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from worker.domain.limits.rate_limits import Limit
from worker.settings.addresses import SmtpServer
from worker.settings.secrets import Secret
from worker.settings.tls import Client
from worker.settings.values import (
    Cost,
    Country,
    Credential,
    Credentials,
    Duration,
    Rate,
    Sender,
    SenderKey,
    ServerUrl,
    Shown,
    SmtpUrl,
    Text,
    Whole,
)

SERVICE = r"MG[0-9a-f]{32}"


def _number(value: str) -> str:
    if not re.fullmatch(rf"\+[1-9]\d{{4,14}}|{SERVICE}|(?=.*[A-Za-z])[A-Za-z0-9 ]{{1,11}}", value, re.ASCII):
        raise ValueError('expected a number such as "+15005550006", a messaging service (MG…) or a sender\'s name')
    return value


class Email(Client):
    """The mail server, and the sender of the emails."""

    url: SmtpUrl = Field(
        repr=False,
        description="smtp://HOST:PORT (port 25), smtp+starttls://USER:PASSWORD@HOST (587) or smtps://… (465)."
        " With a password: from the environment or a file.",
    )
    from_: Sender = Field(alias="from", description="The sender of the invitations.")
    limits: tuple[Rate, ...] = Field(
        (), description="Messages are spaced so that none of these limits is ever exceeded."
    )
    price: Cost | None = Field(
        None,
        description='What one email costs, such as "0.05 EUR": `check` then gives amounts.',
        json_schema_extra={"default": "not given"},
    )
    on_unknown: Literal["repeat", "hold"] = Field(
        "repeat",
        description="What to do about a hand-over that broke without an answer: repeat it under the same Message-ID"
        " (repeat), or hold the message for a person (hold).",
    )
    timeout: Duration = Field(
        timedelta(seconds=30),
        ge=timedelta(milliseconds=50),
        le=timedelta(minutes=10),
        description="How long one hand-over may take.",
    )
    callback_keys: tuple[SenderKey, ...] = Field(
        (),
        description="The keys that sign callbacks about bounces and deliveries (`POST /callbacks/email`). At least 32"
        " characters.",
    )
    connections: Whole = Field(4, ge=1, le=200, description="Open connections to the server, for each worker process.")

    @property
    def server(self) -> SmtpServer:
        return SmtpServer.parse(self.url)

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def encryption(self) -> Literal["plain", "starttls", "tls"]:
        return self.server.tls

    @property
    def username(self) -> str | None:
        return self.server.username

    @property
    def password(self) -> Secret | None:
        return self.server.password


class Sms(Client):
    """The SMS provider's account."""

    provider: Literal["twilio"] = Field("twilio", description="The SMS provider.")
    base_url: ServerUrl = Field("https://api.twilio.com", description="The SMS provider's address.")
    account: Text = Field(pattern=r"^[^\s/?#]+$", description="The account's SID.")
    token: Credential = Field(description="The account's token.")
    from_: Annotated[str, AfterValidator(_number), Shown("string")] = Field(
        alias="from", description="The number, messaging service or name that messages come from."
    )
    name: Text | None = Field(
        None,
        max_length=60,
        description="The sender's name in the text messages.",
        json_schema_extra={"default": "a `from` that is a name, else the name in email.from"},
    )
    limits: tuple[Rate, ...] = Field(
        (Limit.parse("1/second"),),
        description="Messages are spaced so that none of these limits is ever exceeded, for each `from`.",
    )
    countries: Annotated[tuple[Country, ...], Field(min_length=1)] | None = Field(
        None,
        description='The countries that text messages may go to, such as ["LT", "LV"].',
        json_schema_extra={"default": "all"},
    )
    price: Cost | None = Field(
        None,
        description='What one text costs, such as "0.05 EUR": `check` then gives amounts.',
        json_schema_extra={"default": "not given"},
    )
    on_unknown: Literal["reconcile", "hold", "repeat"] = Field(
        "reconcile",
        description="What to do about a message with an unknown outcome: ask the provider (reconcile), hold it for a"
        " person (hold), or send it again (repeat).",
    )
    timeout: Duration = Field(
        timedelta(seconds=10),
        ge=timedelta(milliseconds=50),
        le=timedelta(minutes=10),
        description="How long one call may take.",
    )
    callback_key: Credentials = Field(
        (),
        description="The key that signs delivery callbacks; several during a rotation.",
        json_schema_extra={"default": "`token`"},
    )

    @property
    def sender_name(self) -> str:
        """The sender's name; "" if `from` is a number or a messaging service, which a customer does not recognise."""
        if self.name:
            return self.name
        return "" if self.from_.startswith("+") or re.fullmatch(SERVICE, self.from_) else self.from_
