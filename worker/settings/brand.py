"""Whose messages customers get: the look of them, without any template; and of several brands also the addresses."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

from worker.settings.problems import Findings
from worker.settings.sending import Email
from worker.settings.values import Mailbox, Section, Shown, Text, setting
from worker.templates.brand import COLOUR, Brand

MOST_FOOTER_LINES = 6


def _colour(value: str) -> str:
    if not COLOUR.fullmatch(value):
        raise ValueError('expected a colour such as "#1a5fc8"')
    return value.lower()


def _logo(value: str) -> str:
    expected = 'expected an https address without a password, such as "https://www.example.com/logo.png"'
    if not re.fullmatch(r"https://[A-Za-z0-9.:-]+/[!#-&(-;=?-\[\]_a-z~]*", value, re.ASCII) or len(value) > 500:
        raise ValueError(expected)
    try:
        port_is_good = urlsplit(value).port != 0
    except ValueError:
        port_is_good = False
    if not port_is_good:
        raise ValueError(expected)
    return value


def _lines(value: str) -> str:
    lines = value.strip().splitlines()
    if not lines or len(lines) > MOST_FOOTER_LINES:
        raise ValueError(f"expected 1 to {MOST_FOOTER_LINES} lines of text")
    if any(unicodedata.category(character) in ("Cc", "Cf") for line in lines for character in line):
        raise ValueError("expected text without control characters")
    return "\n".join(line.strip() for line in lines)


class Look(Section):
    """How the built-in messages look."""

    name: Text | None = setting(
        None, "Who the messages are from, in their words.", "the name in the emails' `from`", max_length=60
    )
    logo: Annotated[str, AfterValidator(_logo), Shown("https address")] | None = setting(
        None, "A picture for the top of the emails, shown 40 pixels high. Mail programs load it from there.", "the name"
    )
    colour: Annotated[str, AfterValidator(_colour), Shown("colour")] = setting(
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


def check_brands(brands: Mapping[str, NamedBrand], tree: Mapping[str, Any], findings: Findings) -> None:
    """Addresses of emails need what sends them."""
    for name, brand in brands.items():
        for key, given in (("from", brand.from_), ("reply_to", brand.reply_to)):
            if given is not None and "email" not in tree:
                findings.consequence(("brand", name, key), "needs the section [email]")
