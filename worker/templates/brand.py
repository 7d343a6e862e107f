"""The sender's own look, without any template: name, logo, colour, footer and support contact. Computed once. Pure. One
colour is configured. The colours of the text on it and of links beside it follow from it, so that every message can be
read, in light and in dark mail programs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from onboarding_worker.core.foundation.notation import plain

LINE_LENGTH = 200  # of a footer, and of the contact
COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
# WCAG 2.2, success criterion 1.4.3: the least contrast of text to its background.
LEAST_CONTRAST = 4.5
WHITE, BLACK = "#ffffff", "#000000"
DARK_INK = "#1a2230"
PAPER, DARK_PAPER = WHITE, "#1c2127"  # the card in the layout, in a light and in a dark mail program


@dataclass(frozen=True)
class Brand:
    """Checked by the configuration. `logo` is an https address, `colour` is #rrggbb, `footer` may have several lines.
    `support` is an email address, a phone number, an https address, or text such as opening hours. Empty: not shown."""

    name: str = ""
    logo: str = ""
    colour: str = "#1a5fc8"
    footer: str = ""
    support: str = ""
    template: str = ""  # of rows that name none; "": the default one

    @property
    def values(self) -> Mapping[str, str]:
        """The variables of templates that it has."""
        return {
            "logo": self.logo,
            "colour": self.colour,
            "ink": self.ink,
            # The button under the pointer: further away from its text's colour, so never harder to read.
            "hover_colour": _mixed(self.colour, BLACK if self.ink == WHITE else WHITE, 0.2),
            # Of a link on the card of a light mail program, and of a dark one.
            "link_colour": _readable(self.colour, PAPER, BLACK),
            "link_colour_dark": _readable(self.colour, DARK_PAPER, WHITE),
            "footer": "\n".join(plain(line, most=LINE_LENGTH) for line in self.footer.splitlines()),
            "support": plain(self.support, most=LINE_LENGTH),
            "support_link": self.support_link,
        }

    @property
    def ink(self) -> str:
        """The colour of the text on the button: white where it can be read, else the darker of two that can."""
        if contrast(WHITE, self.colour) >= LEAST_CONTRAST:
            return WHITE
        return DARK_INK if contrast(DARK_INK, self.colour) >= LEAST_CONTRAST else BLACK

    @property
    def support_link(self) -> str:
        """What opens when the support contact is clicked; "" for plain text."""
        if self.support.startswith("https://"):
            return self.support
        if re.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", self.support):
            return f"mailto:{self.support}"
        if re.fullmatch(r"\+[\d ()-]{6,24}", self.support):
            return "tel:" + re.sub(r"[^+\d]", "", self.support)
        return ""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21. Source: WCAG 2.2, "contrast ratio" and "relative luminance"."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in _parts(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _readable(colour: str, background: str, towards: str) -> str:
    """The colour, mixed with `towards` until it can be read on the background."""
    share = 0.0
    while contrast(mixed := _mixed(colour, towards, share), background) < LEAST_CONTRAST:
        share += 0.1
    return mixed


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(_parts(colour), _parts(other), strict=True)
    return "#" + "".join(f"{round(mine + (theirs - mine) * min(share, 1.0)):02x}" for mine, theirs in pairs)


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
