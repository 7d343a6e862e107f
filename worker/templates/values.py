"""The variables of a template, made harmless first: on one line, without hidden characters (`plain`), and without a
stranger's words in an operator's mail (`names`)."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from worker.core.customers.customers import CustomerKind
from worker.core.messages.wording import Invitation
from worker.core.model.sessions import Opening
from worker.templates.answer_values import VALUE_LENGTH, VENDOR, shown
from worker.templates.brand import Brand
from worker.templates.dates import in_words
from worker.templates.names import company_name, person_names, plain

LINE_LENGTH = 200  # of a footer
LINK_LENGTH = 4096
LINK = re.compile(r"https?://[^\s\"<>\\\x00-\x20\x7f-\x9f]+", re.IGNORECASE)
RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ps", "ur", "yi"})

# What messages and the page behind our own link have in common.
OF_EACH_TEXT: Mapping[str, str] = {
    "logo": "the logo's address, or empty",
    "colour": "the brand's colour, as #rrggbb",
    "ink": "the colour of text on it",
    "hover_colour": "the brand's colour under the pointer",
    "link_colour": "the colour of links",
    "link_colour_dark": "the colour of links on a dark background",
    "footer": "the brand's footer, or empty",
    "support": "the contact for questions, or empty",
    "support_link": "what opens when the contact is clicked, or empty",
    "language": "the language of the chosen words, BCP 47",
    "direction": '"ltr" or "rtl"',
}
# Every variable that a message's template may use, with its meaning (docs/reference/templates.md).
VARIABLES: Mapping[str, str] = {
    "first_name": "given name, or empty",
    "last_name": "family name, or empty",
    "name": "given and family name; empty where the given name is unknown, so that the greeting can be neutral",
    "company_name": "the company's name, or empty",
    "customer_kind": '"individual" or "company"',
    "purpose": 'the purpose of the session, "onboarding" unless the list says otherwise',
    "kind": '"invitation", "reminder" or "new_link"',
    "link": "the session's link",
    "link_path": "the link without its scheme and host, for a button whose host is fixed",
    "digits": "the digits that some iDenfy sessions ask for, or empty",
    "provider": "the vendor that the session is at, as FrankieOne names it, or empty",
    VENDOR: "vendor.NAME: one of the vendor's own values in FrankieOne's answer, or empty",
    "expires": "when the link ends, in words",
    "expires_short": "the same, short, in letters that a text message has",
    "days_left": "whole days until the link ends",
    "hours_left": "whole hours until the link ends",
    "sender_name": "who the message is from",
    **OF_EACH_TEXT,
}


def variables(invitation: Invitation, brand: Brand, *, language: str, now: datetime, greeting: bool) -> dict[str, Any]:
    """The variables for a template in `language`: exactly the keys of VARIABLES. `greeting`: with the customer's
    names."""
    customer, person = invitation.customer, invitation.customer.person
    first, last = person_names(person.first_name, person.last_name) if greeting else ("", "")
    company = company_name(person.company_name) if greeting else ""
    opening = invitation.opening or Opening(invitation.link)
    left = max(invitation.expires_at - now, timedelta(0))
    zone = invitation.timezone or customer.timezone
    return {
        "first_name": first,
        "last_name": last,
        "name": f"{first} {last}".strip() if first else "",
        "company_name": company,
        "customer_kind": CustomerKind(customer.kind).value,
        "purpose": plain(customer.purpose),
        "kind": invitation.kind,
        "link": invitation.link,
        "link_path": path_of(invitation.link),
        "digits": shown(plain(opening.digits)),
        "provider": shown(plain(opening.vendor)),
        VENDOR: {name: shown(plain(value, most=VALUE_LENGTH + 1)) for name, value in opening.vendor_parameters.items()},
        "expires": in_words(invitation.expires_at, language=language, timezone=zone),
        "expires_short": in_words(invitation.expires_at, language=language, timezone=zone, short=True),
        "days_left": left // timedelta(days=1),
        "hours_left": left // timedelta(hours=1),
        "sender_name": plain(invitation.sender_name),
        **of_each_text(brand, language),
    }


@lru_cache(maxsize=64)
def of_each_text(brand: Brand, language: str) -> Mapping[str, str]:
    """Exactly the keys of OF_EACH_TEXT."""
    return {
        "logo": brand.logo,
        "colour": brand.colour,
        "ink": brand.ink,
        "hover_colour": brand.hover,
        "link_colour": brand.link,
        "link_colour_dark": brand.link_in_the_dark,
        "footer": "\n".join(plain(line, most=LINE_LENGTH) for line in brand.footer.splitlines()),
        "support": plain(brand.support, most=LINE_LENGTH),
        "support_link": brand.support_link,
        "language": language,
        "direction": "rtl" if language.partition("-")[0].lower() in RIGHT_TO_LEFT else "ltr",
    }


def path_of(link: str) -> str:
    """The link without its scheme and host, and without the slash after them."""
    return link.partition("://")[2].partition("/")[2]


def is_link(link: str) -> bool:
    """True if this can be a link: http(s), bounded in length, with no character that ends or hides a link."""
    return len(link) <= LINK_LENGTH and LINK.fullmatch(link) is not None
