"""Test messages: a row's message to an address of one's own, by the configured sender, marked as a test.

No session is opened and no row changes: the link is an example that leads nowhere. No limit or cap counts it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.customers import Channel, Customer
from onboarding_worker.core.model.endings import Problem
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.rules.contact import Invitation, advice_for
from onboarding_worker.core.rules.text_numbers import why_not_texted
from onboarding_worker.http import event_loop
from onboarding_worker.lists import phone_numbers, rules
from onboarding_worker.providers.facts import lifetime_of
from onboarding_worker.senders.contract import Message
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.policies import hours_of, stable_links, texted_countries
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import Templates
from onboarding_worker.wiring.templates import sender_name

LINK = "https://example.invalid/this-is-a-test"  # no name ends in .invalid: RFC 2606
MARK = "TEST"
WORDS = "This is a test message. Its link is an example and leads nowhere."
_NOT_BY_WHATSAPP = (
    "the row's message goes by WhatsApp, whose approved words cannot say that they are a test;"
    " `onboard template preview --channel whatsapp` shows what would be sent"
)
_STYLE = "margin:0;padding:12px;background:#ffe58f;color:#1a2230;font:16px sans-serif;text-align:center"
_BANNER = f'<p style="{_STYLE}">{WORDS}</p>'
_BODY = re.compile(r"<body\b[^>]*>", re.IGNORECASE)


class NotSent(Exception):
    """No test message was sent. The text says why, for the person who asked, and names no customer."""


@dataclass(frozen=True, repr=False)
class TestMessage:
    """Personal, so no repr."""

    channel: str
    message: Message


def sample(
    settings: Settings, templates: Templates, customer: Customer, channel: str, kind: str, *, link: str, now: datetime
) -> Message:
    """The customer's message as it would be, with an example in place of the link, which lives as long as the one of
    the customer's account would. Raises TemplateProblem."""
    clock = hours_of(settings).clock_of(
        timezone=customer.timezone, phone=customer.person.phone, country=customer.country
    )
    name = sender_name(settings, channel, customer.brand)
    account = settings.accounts.get(customer.account)
    lives = lifetime_of(account, customer.parameters.get(account.provider, {})) if account is not None else None
    lives = own.valid if (own := stable_links(settings)) is not None else lives
    invitation = Invitation(
        customer,
        Opening(link),
        now + (lives or timedelta(days=7)),
        sender_name=name,
        wording=kind,
        clock=clock,
        advice=advice_for(kind),
    )
    return templates.render(invitation, channel=channel, now=now)


def written(
    settings: Settings, templates: Templates, customer: Customer, to: str, *, kind: str, now: datetime
) -> TestMessage:
    """The test message to an email address, or to a phone number with its +. Raises NotSent."""
    channel, read = (Channel.EMAIL, rules.email(to)) if "@" in to else (Channel.SMS, phone_numbers.phone(to, ""))
    if not isinstance(read, str):
        raise NotSent(f"the address is not good: {read.problem}; {read.hint}")
    if channel is Channel.SMS and customer.channel is Channel.WHATSAPP:
        raise NotSent(_NOT_BY_WHATSAPP)
    if channel not in settings.sending:
        raise NotSent(f"no sender is configured for {channel}: add [{channel}] to the configuration")
    _check_log_in(settings, channel)
    if channel is Channel.SMS and (why := why_not_texted(read, texted_countries(settings))):
        raise NotSent(f"the number is not texted: {why}")
    try:
        made = sample(settings, templates, customer, channel, kind, link=LINK, now=now)
    except TemplateProblem as problem:
        raise NotSent(str(problem)) from None
    # The key is of no message of ours: a report of it finds nothing.
    message = replace(marked(made, channel), key=uuid4().hex, to=read, valid_for=None, is_test=True)
    return TestMessage(channel, message)


def _check_log_in(settings: Settings, channel: str) -> None:
    """`onboard web`, which strangers reach, may have none. Raises NotSent."""
    try:
        if settings.email is not None and channel == Channel.EMAIL:
            _ = settings.email.server
        elif (texting := settings.texting(channel)) is not None:
            texting.token.reveal()
    except SettingsError:
        raise NotSent(f"this process does not know the log-in of [{channel}]; `onboard template send` does") from None


def marked(made: Message, channel: str) -> Message:
    """The message, whose words say that they are a test: in the subject and in the body."""
    if channel == Channel.SMS:
        return replace(made, text=f"{MARK}: {made.text}")
    opened = _BODY.search(made.html)
    at = opened.end() if opened else 0
    html = f"{made.html[:at]}{_BANNER}{made.html[at:]}" if made.html else ""
    return replace(made, subject=f"[{MARK}] {made.subject}", text=f"{WORDS}\n\n{made.text}", html=html)


def hand_over(settings: Settings, clock: Clock, keyring: Keyring, test: TestMessage) -> Mapping[str, Any]:
    """Send it now; returns what the server said of it. Blocks for at most the sender's time-out. Raises NotSent."""
    from onboarding_worker.wiring.senders import build_senders  # imported here: aiohttp and aiosmtplib

    others = {name: None for name in ("email", "sms", "whatsapp") if name != test.channel}

    async def send() -> Any:
        sender = build_senders(settings.model_copy(update=others), clock, keyring)[test.channel]
        try:
            return await sender.send(test.message)
        finally:
            await sender.close()

    receipt = event_loop.run(send())
    if isinstance(receipt, Problem):
        raise NotSent(f"the {test.channel} sender did not accept it: {receipt.detail}")
    return {"reference": receipt.reference}
