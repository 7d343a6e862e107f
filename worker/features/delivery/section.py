"""The section `[delivery]`: a table for the mail service that reports, of which there is one at most."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from onboarding_worker.settings.problems import Findings
from onboarding_worker.settings.secrets import Secret
from onboarding_worker.settings.shape import Credentials, FeatureSection
from onboarding_worker.settings.values import Section, SenderKey, Shown, setting

TOPIC = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov|aws-eusc):sns:([a-z]{2,5}(?:-[a-z]{2,12}){1,3}-\d):\d{12}:[\w-]{1,256}", re.ASCII
)
DOMAINS = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
}


def host_of(topic: str) -> str:
    """The host of SNS in the topic's region. Raises ValueError for what is no topic."""
    match = TOPIC.fullmatch(topic)
    if match is None:
        raise ValueError('expected the ARN of a topic, such as "arn:aws:sns:eu-west-1:123456789012:bounces"')
    return f"sns.{match[2]}.{DOMAINS[match[1]]}"


def _topic(value: str) -> str:
    host_of(value)
    return value


def _verification_key(secret: Secret) -> Secret:
    # Imported here: it loads more of cryptography, for this table alone.
    from onboarding_worker.features.delivery.sendgrid import public_key

    if not secret.is_missing and public_key(secret.reveal()) is None:
        raise ValueError("expected a public key as SendGrid shows it: one line of base64, which begins with MFkw")
    return secret


Topic = Annotated[str, AfterValidator(_topic), Shown("ARN")]
VerificationKey = Annotated[Secret, AfterValidator(_verification_key), Shown("secret")]


class Standard(Section):
    """Callbacks of a mail system of your own, in our form, signed as Standard Webhooks specifies."""

    keys: tuple[SenderKey, ...] = setting(
        ..., "The keys that sign the callbacks. At least 32 characters.", min_length=1
    )


class Mailgun(Section):
    """Mailgun's webhooks as they are."""

    keys: tuple[SenderKey, ...] = setting(..., "Mailgun's webhook signing keys.", min_length=1)


class Sendgrid(Section):
    """SendGrid's event webhook as it is."""

    keys: tuple[VerificationKey, ...] = setting(..., "SendGrid's public verification keys.", min_length=1)


class Postmark(Section):
    """Postmark's webhooks as they are."""

    keys: tuple[SenderKey, ...] = setting(
        ...,
        "Keys of your own: the password in the address that Postmark posts to. At least 32 characters.",
        min_length=1,
    )


class Ses(Section):
    """What Amazon SES publishes to topics of SNS."""

    topics: tuple[Topic, ...] = setting(
        ..., "The topics, by ARN. `onboard web` confirms subscriptions of these by itself, and no other.", min_length=1
    )


class Delivery(Section):
    """The mail service that reports on mails to `POST /callbacks/email`: one of the tables below."""

    standard: Standard | None = None
    mailgun: Mailgun | None = None
    sendgrid: Sendgrid | None = None
    postmark: Postmark | None = None
    ses: Ses | None = None

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(name for name, table in self if table is not None)


def _check(delivery: Delivery, given: Mapping[str, Any], findings: Findings) -> None:
    """Mails are reported on at one address, in one form."""
    first, *others = delivery.services or ("",)
    for name in others:
        findings.problem(("delivery", name), f"one mail service alone reports: here is [delivery.{first}]")
    if first and "email" not in given:
        findings.consequence(("delivery", first), "needs the section [email]: it reports on its mails")


SECTION = FeatureSection(
    "delivery",
    Delivery,
    check=_check,
    outside=lambda delivery: [
        ("delivery.ses.topics", f"https://{host_of(topic)}") for topic in (delivery.ses.topics if delivery.ses else ())
    ],
    credentials=Credentials(
        "a table of [delivery], [sms] with `base_url` in [web]",
        lambda delivery, parts: bool((delivery and delivery.services) or (parts.get("sms") and parts["web"].base_url)),
    ),
)
