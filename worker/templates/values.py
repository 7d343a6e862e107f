"""What of a customer, a list and an answer a message repeats: which names of strangers are repeated, what a mail
program would read in a text; and the variables of templates, made harmless: on one line, without hidden characters, and
without a stranger's words in an operator's mail. Pure.

A name is whatever a stranger typed into a form, and the message goes out in the operator's name, to an address that the
same stranger chose. So what looks like an address, a number to call or a sentence is not repeated: the greeting is the
neutral one then. Tests are made on the `folded` text: `evil．com` is a host too. A real name that looks like one of
these loses its greeting, and nothing else.

Of a provider's answer, `digits`, `provider` and `vendor.NAME` are shown. The vendor chooses these values, and the
message asks its reader for trust: so only short values without an address get in. An address from an answer is sent as
the account's `link` alone, whose host is checked.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.core.model.customers import MESSAGE, CustomerKind
from onboarding_worker.core.model.refusals import Advice
from onboarding_worker.core.rules.contact import Invitation
from onboarding_worker.templates.no_values import real_name, real_names

NAMES = ("first_name", "last_name", "company_name")  # the columns
LENGTH = 60
# Browsers read these as the dot of a host name (UTS 46), besides those that become a dot by NFKC.
_DOTS = str.maketrans("\u3002\uff61", "..")
# Letters and symbols without a shape: they would split a host for us, and not for its reader.
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

LONGEST = 40  # characters of a given or a family name; wide ones, of which a sentence needs few, count twice
# A name of plain letters: two of these have nothing that the tests below look for.
_WORD = re.compile(rf"[A-Za-z]{{1,{LONGEST}}}")
MOST_WORDS = 8  # of both
MOST_DIGITS = 3  # "John 3rd"; with more it may be a number to call
MOST_DIGITS_OF_COMPANY = 4  # "Studio 1984"
READ = 200  # characters of a company's name that are tested; fewer are shown
# With so many words, one in small letters makes a sentence, unless it is short or one of PARTICLES.
SENTENCE_WORDS = 4
SHORT_WORD = 3
PARTICLES = re.compile("binti?|dalla|degli|dela|dell[aeio]|kyzy|ogl[uy]|qizi|sant[ao]?|ugli|uulu|vande[nr]")
# Mail programs and phones make links of these, and browsers take `//` and `/\` in an `href` for another host; within a
# code in Base64 `//` is none. Five numbers with dots, or a larger one, are a phone number or a sum.
_NUMBER = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_HOST = rf"(?<![\w+])[/\\]{{2}}|@|www\.|(?<!\d)(?<!\d\.){_NUMBER}(?:\.{_NUMBER}){{3}}(?!\.?\d)"
_ADDRESS = rf"{_HOST}|\w\.\w{{2}}|[a-z][a-z0-9+.-]*:\S"
_MONEY = "[$\u00a2-\u00a5\u058f\u060b\u09f2\u09f3\u0e3f\u20a0-\u20cf]"
# A host that only a person reads: letters that stand alone, a dot that does, or the word for it. The alphabets whose
# names are not written so; three initials are usual.
_LETTER = "[a-zα-ωа-я0-9]"
_SPACED = rf"(?<![^\W_]){_LETTER}(?:[\W_]+{_LETTER}){{3}}(?![^\W_])|\s\.(?:\s|\w)|\w\s*[\[({{<]?\bdot\b[\])}}>]?\s*\w"
_NO_PERSON = re.compile(
    rf"{_ADDRESS}|{_SPACED}|{_MONEY}|[/:;!?,\u00a1\u00bf\u060c\u061b\u061f\u3001]|(?:\w{{5}}|\d)\.", re.I
)
_NO_COMPANY = re.compile(rf"{_ADDRESS}|{_SPACED}|{_MONEY}|(?:\w{{5}}|\d)[.!?]\s+\w", re.I)
_RUNS = re.compile(r"\d+")
# "GmbH & Co.KG" is usual, and .kg is a country's domain.
_LEGAL_FORM = re.compile(r"\b(Co|Pty|Pte|mbH)\.(?=(?:Inc|KG|KGaA|Limited|Ltd|OHG)\b)", re.I)


def folded(text: str) -> str:
    """The text to test for what it may become: wide and styled letters as plain ones, each dot of a host name as ".",
    without accents and without characters that have no shape. `text` is short, and `plain`."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKD", text).translate(_DOTS)
    return "".join(char for char in text if char not in _FILLERS and unicodedata.category(char)[0] not in "MC")


def person_names(first: str, last: str) -> tuple[str, str]:
    """The given and the family name as a message repeats them; both empty if they look like something else. One that
    stands for no name is empty."""
    if _WORD.fullmatch(first) and _WORD.fullmatch(last):
        return real_names(first, last)
    first, last = plain(first, most=LENGTH), plain(last, most=LENGTH)
    together = folded(f"{first} {last}")
    words = together.split()
    small = (word for word in words if len(word) > SHORT_WORD and word.islower())
    is_sentence = len(words) >= SENTENCE_WORDS and not all(map(PARTICLES.fullmatch, small))
    is_long = max(_width(first), _width(last)) > LONGEST or len(words) > MOST_WORDS
    if is_long or is_sentence or _digits(together) > MOST_DIGITS or _NO_PERSON.search(together):
        return "", ""
    return real_names(first, last)


def company_name(text: str) -> str:
    """The company's name as a message repeats it; empty if it looks like something else."""
    name = _LEGAL_FORM.sub(r"\1. ", plain(text, most=READ))
    read = folded(name)
    digits = _digits(read)
    split = digits >= MOST_DIGITS_OF_COMPANY and len(_RUNS.findall(read)) > 1  # 1-800-…
    if _NO_COMPANY.search(read) or digits > MOST_DIGITS_OF_COMPANY or split:
        return ""
    return real_name(plain(name, most=LENGTH))


def _width(text: str) -> int:
    return len(text) if text.isascii() else len(text) + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


LINK_LENGTH = 4096
LINK = re.compile(r"https?://[^\s\"<>\\\x00-\x20\x7f-\x9f]+", re.IGNORECASE)
RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ps", "ur", "yi"})
VENDOR = "vendor"
VALUE_LENGTH = 200  # of a vendor's value: nobody reads a longer one, and a part of it would be a wrong code
OWN_NAME = re.compile("[a-z][a-z0-9_]{0,31}")  # of a column of the list's own, message.NAME
ADDRESS_IN_VALUE = re.compile(rf"{_HOST}|\w\.[^\W\d_]{{2}}|^[a-z][a-z0-9+.-]*:", re.IGNORECASE)

# A plain address with nothing that an address of a page, or of a mail to somebody else, could begin with.
_MAILBOX = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@([A-Za-z0-9.-]+)")


def is_own_mailbox(value: str, domains: Collection[str]) -> bool:
    """Whether a value is an email address at one of our own domains: strangers get no mail there, so the customer
    writes to us, even if a stranger typed it."""
    found = _MAILBOX.fullmatch(value)
    return found is not None and found[1].lower() in domains


class Screen(StrEnum):
    """What the page behind our own link shows."""

    ASK = "ask"  # who asks and why, with the button that goes on
    AGAIN = "again"  # the same, after a press that did not count
    WAITING = "waiting"  # a session is being opened: the page asks again by itself
    LONG = "long"  # it is still being opened after a while
    DONE = "done"  # the customer has finished
    LATER = "later"  # nothing can be opened: a person of the company must decide
    NOT_ME = "not_me"  # whether the link is really for another person
    STOPPED = "stopped"  # it was for another person: no message follows
    GONE = "gone"  # the link is unknown, or was revoked: nothing says which
    BUSY = "busy"  # too many requests
    TROUBLE = "trouble"  # we cannot answer at the moment


# What messages and the page behind our own link have in common: first, what `Brand.values` has.
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
    "kind": '"invitation", "reminder", "new_link" or "try_again"',
    "advice": "what a refused customer can do better: words among "
    + ", ".join(f'"{one}"' for one in Advice if one)
    + ", or empty",
    "link": "the session's link",
    "link_path": "the link without its scheme and host, for a button whose host is fixed",
    "digits": "the digits that some iDenfy sessions ask for, or empty",
    "provider": "the vendor that the session is at, as FrankieOne names it, or empty",
    VENDOR: "vendor.NAME: one of the vendor's own values in FrankieOne's answer, or empty",
    MESSAGE: "message.NAME: a column of the list that is for messages, or empty",
    "expires": "when the link ends, in words",
    "expires_short": "the same, short, in letters that a text message has",
    "days_left": "whole days until the link ends",
    "hours_left": "whole hours until the link ends",
    "sender_name": "who the message is from",
    **OF_EACH_TEXT,
}
# Every variable that the page may use. None is personal: a link may be opened by anybody.
PAGE_VARIABLES: Mapping[str, str] = {
    "screen": ", ".join(f'"{one}"' for one in Screen),
    "again": "whether the press on this page did not count, and the page says so",
    "customer_kind": '"individual" or "company"; "individual" where the link is unknown',
    "sender_name": "who asks",
    "action": "the address that the form is sent to",
    "token": "the hidden value of the form, which shows that it comes from this page",
    "address": "the page's own address; where a page that waits looks again",
    "not_me": "the address of the page for persons whom the link is not for",
    "ready_by": "when the verification can begin at the latest, in words; empty where that is in some minutes",
    "style": "the style of the page",
    **OF_EACH_TEXT,
}


def variables(
    invitation: Invitation,
    look: Mapping[str, str],
    *,
    language: str,
    now: datetime,
    greeting: bool,
    domains: Collection[str] = (),
) -> dict[str, Any]:
    """The variables of a message in `language`: exactly the keys of VARIABLES. `look`: `Brand.values`. `greeting`: with
    the customer's names. `domains`: those of our own addresses."""
    customer, person = invitation.customer, invitation.customer.person
    first, last = person_names(person.first_name, person.last_name) if greeting else ("", "")
    company = company_name(person.company_name) if greeting and person.company_name else ""
    opening = invitation.opening
    left = max(invitation.expires_at - now, timedelta(0))
    zone = invitation.clock or customer.timezone
    minute = invitation.expires_at.replace(second=0, microsecond=0)  # most links of a batch end within the same ones
    expires, expires_short = in_words(minute, language=language, timezone=zone)
    return {
        "first_name": first,
        "last_name": last,
        "name": f"{first} {last}".strip() if first else "",
        "company_name": company,
        "customer_kind": CustomerKind(customer.kind).value,
        "purpose": plain(customer.purpose, most=LENGTH),
        "kind": invitation.wording,
        "advice": invitation.advice,
        "link": opening.link,
        "link_path": opening.link.partition("://")[2].partition("/")[2],
        "digits": shown(opening.digits, most=LENGTH) if opening.digits else "",
        "provider": shown(opening.vendor, most=LENGTH) if opening.vendor else "",
        VENDOR: {name: shown(value, most=VALUE_LENGTH + 1) for name, value in opening.vendor_parameters.items()},
        MESSAGE: _own(person.message, domains) if person.message else {},
        "expires": expires,
        "expires_short": expires_short,
        "days_left": left // timedelta(days=1),
        "hours_left": left // timedelta(hours=1),
        "sender_name": plain(invitation.sender_name, most=LENGTH),
        **look,
        "language": language,
        "direction": direction(language),
    }


def _own(columns: Mapping[str, str], domains: Collection[str]) -> dict[str, str]:
    """The list's own columns, without what a message may not have."""
    found = {
        name: value if is_own_mailbox(value, domains) else shown(value, most=VALUE_LENGTH + 1)
        for name, value in columns.items()
    }
    return {name: value for name, value in found.items() if value}


def base_of(locale: str) -> str:
    return locale.replace("_", "-").partition("-")[0].lower()


@lru_cache(maxsize=64)
def direction(language: str) -> str:
    return "rtl" if base_of(language) in RIGHT_TO_LEFT else "ltr"


def shown(text: str, *, most: int) -> str:
    """A value of an answer as a message may have it, on one line; "" for one that it may not have."""
    text = plain(text, most=most)
    return "" if len(text) > VALUE_LENGTH or ADDRESS_IN_VALUE.search(folded(text)) else text


@dataclass(frozen=True)
class Dates:
    """How one language writes a date. `first` is the first day of a month, if the language writes it differently.

    `short` is for text messages: it uses only letters of the GSM 7-bit alphabet, so that the text stays one segment.
    """

    months: str
    long: str
    short: str
    first: str = "1"


# Five small tables instead of a locale database: any other language gets English dates.
DATES = {
    "en": Dates(
        "January February March April May June July August September October November December",
        "{day} {month} {year}, {hour:02}:{minute:02} ({zone})",
        "{day} {month:.3} {year}, {hour:02}:{minute:02} ({zone})",
    ),
    "de": Dates(
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "{day}. {month} {year}, {hour:02}:{minute:02} Uhr ({zone})",
        "{date:%d.%m.%Y}, {hour:02}:{minute:02} Uhr ({zone})",
    ),
    "es": Dates(
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "{day} de {month} de {year}, {hour:02}:{minute:02} h ({zone})",
        "{date:%d/%m/%Y}, {hour:02}:{minute:02} h ({zone})",
    ),
    "fr": Dates(
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "{day} {month} {year} à {hour} h {minute:02} ({zone})",
        "{date:%d/%m/%Y} à {hour} h {minute:02} ({zone})",
        first="1er",
    ),
    "lt": Dates(  # months in the genitive, as a date needs them
        "sausio vasario kovo balandžio gegužės birželio liepos rugpjūčio rugsėjo spalio lapkričio gruodžio",
        "{year} m. {month} {day} d. {hour:02}:{minute:02} ({zone})",
        "{date:%Y-%m-%d} {hour:02}:{minute:02} ({zone})",
    ),
}


@lru_cache(maxsize=1024)
def in_words(minute: datetime, *, language: str, timezone: str) -> tuple[str, str]:
    """The `minute` (aware), as the language writes it, with the zone's name; and the same, short.

    `language` is BCP 47; only its first part counts. `timezone` is an IANA name; empty or unknown means UTC.
    """
    try:
        local = minute.astimezone(ZoneInfo(timezone) if timezone else UTC)
    except (LookupError, ValueError, OSError):  # no such zone; not a name at all; a folder of zones
        local = minute.astimezone(UTC)
    name, offset = local.tzname() or "", f"{local:%z}"
    words = DATES.get(base_of(language), DATES["en"])
    parts = {
        "date": local,
        "day": words.first if local.day == 1 else local.day,
        "month": words.months.split()[local.month - 1],
        "year": local.year,
        "hour": local.hour,
        "minute": local.minute,
        # A zone without an abbreviation calls itself "-03".
        "zone": name if name.isalpha() else f"UTC{offset[:3]}:{offset[3:5]}",
    }
    return words.long.format(**parts), words.short.format(**parts)
