"""The variables of a template, made harmless first.

A name is whatever a person typed into a form. It must not be able to break a subject into two lines, reverse
text, hide characters, or put a stranger's link into a bank's mail.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from worker.domain.invitations.dates import in_words
from worker.domain.model.customers import Customer, CustomerKind

NAME_LENGTH = 60
LINK_LENGTH = 4096
# Mail programs turn such words into links automatically.
ADDRESS = re.compile(r"://|www\.", re.IGNORECASE)
ADDRESS_IN_NAME = re.compile(r"://|@|/|\w\.\w{2}", re.IGNORECASE)
LINK = re.compile(r"https?://[^\s\"<>\\\x00-\x20\x7f-\x9f]+", re.IGNORECASE)
RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ps", "ur", "yi"})

# Every variable that a template may use, with its meaning (docs/templates.md).
VARIABLES: Mapping[str, str] = {
    "first_name": "given name, or empty",
    "last_name": "family name, or empty",
    "name": "given and family name; empty where the given name is unknown, so that the greeting can be neutral",
    "company_name": "the company's name, or empty",
    "customer_kind": '"individual" or "company"',
    "purpose": 'the purpose of the session, "onboarding" unless the list says otherwise',
    "kind": '"invitation" or "reminder"',
    "link": "the session's link",
    "expires": "when the link ends, in words",
    "expires_short": "the same, short, in letters that a text message has",
    "days_left": "whole days until the link ends",
    "hours_left": "whole hours until the link ends",
    "sender_name": "who the message is from",
    "language": "the language of the chosen words, BCP 47",
    "direction": '"ltr" or "rtl"',
}


@dataclass(frozen=True, repr=False)
class Invitation:
    """The content of an invitation. Personal and secret: no repr shows it. `expires_at` is aware UTC."""

    customer: Customer
    link: str
    expires_at: datetime
    sender_name: str
    kind: str = "invitation"

    def __repr__(self) -> str:
        return f"Invitation(kind={self.kind!r}, …)"


def variables(invitation: Invitation, *, language: str, now: datetime) -> dict[str, Any]:
    """The variables for a template in `language`: exactly the keys of VARIABLES."""
    customer, person = invitation.customer, invitation.customer.person
    first, last = _person_name(person.first_name), _person_name(person.last_name)
    company = "" if ADDRESS.search(person.company_name) else plain(person.company_name)
    left = max(invitation.expires_at - now, timedelta(0))
    zone = customer.timezone
    return {
        "first_name": first,
        "last_name": last,
        "name": f"{first} {last}".strip() if first else "",
        "company_name": company,
        "customer_kind": CustomerKind(customer.kind).value,
        "purpose": plain(customer.purpose),
        "kind": invitation.kind,
        "link": invitation.link,
        "expires": in_words(invitation.expires_at, language=language, timezone=zone),
        "expires_short": in_words(invitation.expires_at, language=language, timezone=zone, short=True),
        "days_left": left // timedelta(days=1),
        "hours_left": left // timedelta(hours=1),
        "sender_name": plain(invitation.sender_name),
        "language": language,
        "direction": "rtl" if language.partition("-")[0].lower() in RIGHT_TO_LEFT else "ltr",
    }


def is_link(link: str) -> bool:
    """True if this can be a link: http(s), bounded in length, with no character that ends or hides a link."""
    return len(link) <= LINK_LENGTH and LINK.fullmatch(link) is not None


def plain(text: str, *, most: int = NAME_LENGTH) -> str:
    """`text` on one line, without control, bidi, zero-width and other invisible characters, cut to `most`."""
    if not text.isprintable():
        text = "".join(map(_visible, text))
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _person_name(text: str) -> str:
    """A person's name; empty if it contains an address: no real name does, and every phishing text needs one."""
    name = plain(text)
    return "" if ADDRESS_IN_NAME.search(name) else name


def _visible(char: str) -> str:
    match unicodedata.category(char):
        case "Cc" | "Zl" | "Zp" | "Zs":
            return " "
        case "Cf" | "Cs" | "Co" | "Cn":
            return ""
        case _:
            return char
