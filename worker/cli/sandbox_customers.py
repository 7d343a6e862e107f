"""The options of `onboard sandbox` for its customers and their webhooks."""

import functools
import re
from pathlib import Path
from typing import Any

import click

from onboarding_sandbox.options import CUSTOMERS, MAILS, TEXTS, shares, span, span_or_range, trouble_share
from onboarding_sandbox.wire import SESSIONS
from worker.cli.shared_options import Read, together
from worker.settings.starter import sandbox_webhooks

# The help text stays short: docs/reference/sandbox.md explains each behaviour.
KNOWN = ", ".join(CUSTOMERS)


def address(text: str) -> tuple[str, str]:
    """Read `http://…` or `idenfy-kyc=http://…`. Raises ValueError with what is expected."""
    match = re.fullmatch(rf"(?:({'|'.join(SESSIONS)})=)?(https?://[^\s/?#]+(?:/[^\s?#]*)?)", text.strip(), re.ASCII)
    if not match:
        raise ValueError('expected an address such as "idenfy-kyc=http://127.0.0.1:8080/webhooks/kyc"')
    return match[1] or "", match[2].rstrip("/")


def plain_address(text: str) -> str:
    """Read `http://…`. Raises ValueError with what is expected."""
    endpoint, url = address(text)
    if endpoint:
        raise ValueError("expected an address without an endpoint")
    return url


def _shares(known: Any) -> Read:
    return Read("shares", functools.partial(shares, known=list(known)))


def _codes(text: str) -> tuple[str, ...]:
    codes = tuple(part.strip() for part in text.split(","))
    if not all(re.fullmatch(r"[A-Z][A-Z0-9_]+", code, re.ASCII) for code in codes):
        raise ValueError('expected codes such as "DOC_TOO_BLURRY,FACE_MISMATCH"')
    return codes


# The names are the fields of SandboxOptions that the options set; None leaves the default.
customer_options = together(
    click.option(
        "--customers",
        type=_shares(CUSTOMERS),
        metavar="DOES:SHARE,…",
        help=f"Which share of the customers does what: {KNOWN}; the rest never come.",
    ),
    click.option(
        "--customers-keep",
        is_flag=True,
        default=None,
        help="Draw once for each customer what it does, and not again for each new session.",
    ),
    click.option(
        "--customers-after",
        type=Read("times", span_or_range),
        metavar="TIME[..TIME]",
        help="When a customer acts, after its session was opened.  [default: 10s..2m]",
    ),
    click.option(
        "--customers-by-message",
        is_flag=True,
        default=None,
        help="Customers act after a message with their session's link has arrived, and not after it was opened.",
    ),
    click.option(
        "--page",
        type=Read("address", plain_address),
        metavar="URL",
        help="The address of `onboard web`: customers come by our own link in a message, press the page's button, and"
        " act in the session that it leads to.  [default: they act after their session was opened]",
    ),
    click.option(
        "--review-after",
        type=Read("time", span),
        metavar="TIME",
        help="How long a review of a session takes.  [default: 5m]",
    ),
    click.option(
        "--deny-reasons",
        type=Read("codes", _codes),
        metavar="CODE,…",
        help="Why iDenfy denies persons: each such session has one of these codes.  [default: DOC_NOT_FULLY_VISIBLE]",
    ),
    click.option(
        "--time-scale",
        type=click.FloatRange(0, min_open=True),
        metavar="N",
        help="Run the customers' time N times faster: with 86400 a day takes a second.  [default: 1]",
    ),
    click.option(
        "--webhooks",
        multiple=True,
        callback=lambda _context, _option, pairs: dict(pairs) or sandbox_webhooks(),
        type=Read("address", address, shows=False),
        metavar="[ENDPOINT=]URL",
        help="The address for webhooks: the account's, for FrankieOne with its secret. Without an endpoint, "
        "the endpoint's name is appended. Repeatable.  [default: those of `onboard init --sandbox`, at "
        "http://127.0.0.1:8080]",
    ),
    click.option(
        "--webhook-trouble",
        "webhook_troubles",
        multiple=True,
        type=Read("trouble", trouble_share),
        metavar="KIND:SHARE",
        help="Trouble with webhooks, for a share of sessions: late:0.1,by=1h, twice:0.05, swapped:0.05, forged:0.01. "
        "Repeatable.",
    ),
    click.option(
        "--webhook-key", metavar="KEY", help="The key that signs iDenfy's webhooks.  [default: sandbox-webhook-key]"
    ),
    click.option(
        "--webhook-jwt-key",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=lambda _context, _option, path: path and path.read_text("utf-8", "replace"),
        help="An RSA private key (PEM): it signs a token in FrankieOne's webhooks.",
    ),
    click.option(
        "--texts",
        type=_shares(TEXTS),
        metavar="BECOMES:SHARE,…",
        help=f"What Twilio reports about texts with a callback: {', '.join(TEXTS)}; the rest: delivered.",
    ),
    click.option(
        "--mails",
        type=_shares(MAILS),
        metavar="BECOMES:SHARE,…",
        help=f"What is reported about emails: {', '.join(MAILS)}; the rest: nothing.",
    ),
    click.option(
        "--mail-webhook",
        type=Read("address", plain_address, shows=False),
        metavar="URL",
        help="The address for webhooks about emails.",
    ),
    click.option(
        "--mail-webhook-key",
        metavar="KEY",
        help="The key that signs webhooks about emails.  [default: sandbox-mail-key]",
    ),
)
