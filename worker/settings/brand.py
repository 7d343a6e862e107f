"""The look of the messages, without any template."""

import re
import unicodedata
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from worker.settings.values import Section, Shown, Text
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


class BrandSection(Section):
    """How the built-in messages look. The text on the button is white or dark, whichever can be read on the colour."""

    name: Text | None = Field(
        None,
        max_length=60,
        description="Who the messages are from, in their words.",
        json_schema_extra={"default": "the name in email.from"},
    )
    logo: Annotated[str, AfterValidator(_logo), Shown("https address")] | None = Field(
        None,
        description="A picture for the top of the emails, shown 40 pixels high. Mail programs load it from there.",
        json_schema_extra={"default": "the name"},
    )
    colour: Annotated[str, AfterValidator(_colour), Shown("colour")] = Field(
        Brand.colour, description="The colour of the button and of links."
    )
    footer: Annotated[str, AfterValidator(_lines), Shown("string")] | None = Field(
        None, max_length=600, description="Text for the end of the emails, such as the company's address."
    )
    support: Text | None = Field(
        None,
        max_length=200,
        description="Whom to ask: an email address, a phone number with +, an https address, or other text.",
    )

    @property
    def look(self) -> Brand:
        """The brand as templates use it."""
        return Brand(self.name or "", self.logo or "", self.colour, self.footer or "", self.support or "")
