"""What each plain column may hold, and the form in which it is stored: a rule returns the value or a Refusal. Pure."""

import re
import unicodedata
import zoneinfo
from collections.abc import Callable
from functools import cache
from typing import Any

from onboarding_worker.core.model.customers import Channel, CustomerKind
from onboarding_worker.lists.cells import bare, invisible_in, unless_lost_in_sheet
from onboarding_worker.lists.other_names import country_of, language_of, without_accents
from onboarding_worker.providers import countries
from onboarding_worker.providers.values import Refusal, characters, unless_rewritten
from onboarding_worker.templates.no_values import LOOKUPS, SPOILED
from onboarding_worker.templates.values import NAMES

Rule = Callable[[str], Any]

LONGEST_NAME = 100
LONGEST_ADDRESS = 500
MOST_MARKS = 6  # on one letter: Hebrew with all its points, and stacks of Tibetan, have five
MOST_DECOMPOSED = 4  # the most characters that become one letter of a living language (NFC)
MOST_TAGS = 5
LONGEST_TAG = 32

_VISIBLY = "type it again without control characters and text-direction marks"
# They reorder the text around them, so that a mail would show other text than the list has.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LOCALE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?")
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "x": "X", "d": "X", "diverse": "X", "other": "X"}
# Without accents.
_YES = frozenset(["true", "1", "yes", "y", "ja", "j", "wahr", "oui", "vrai", "si", "verdadero", "taip", "tiesa"])
_NO = frozenset(["false", "0", "no", "n", "nein", "falsch", "non", "faux", "falso", "ne", "netiesa"])


def text(value: str, longest: int = LONGEST_NAME) -> str | Refusal:
    """Text for people: NFC, one line, at most `longest` characters, no invisible characters, and none with many marks:
    they are drawn over the lines above and below."""
    if not (value.isascii() and value.isprintable()):
        if len(value) > MOST_DECOMPOSED * longest:  # normalising costs more than its length
            return Refusal(f"{characters(value)}, more than {longest}", f"shorten it to {longest}")
        value = unicodedata.normalize("NFC", value).replace("\xa0", " ")
        breaks = len(value.splitlines()) - 1
        if breaks > 0:
            return Refusal(f"it has {breaks + 1:,} lines", "write it on one line; or a quote before it is not closed")
        if not value.isprintable() and (unfit := next(filter(_unfit, value), "")):
            return Refusal(f"it contains an invisible character: {invisible_in(unfit)}", _VISIBLY)
        if _has_many_marks(value):
            return Refusal(f"it has a letter with more than {MOST_MARKS} marks", "type it again without them")
    if len(value) > longest:
        return Refusal(f"{characters(value)}, more than {longest}", f"shorten it to {longest}")
    return value


def _unfit(character: str) -> bool:
    # Unassigned characters may be letters of a newer Unicode, and several scripts need joiners: both may stay.
    if character in _BIDI or ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
        return True
    return unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp")


def _has_many_marks(value: str) -> bool:
    marks = 0
    for category in map(unicodedata.category, value):
        if category in ("Mn", "Me"):
            marks += 1
            if marks > MOST_MARKS:
                return True
        elif category != "Cf":  # a joiner has no shape: the marks behind it are on the same letter
            marks = 0
    return False


def address(value: str) -> str | Refusal:
    """An address; the lines of a cell are joined with commas."""
    lines = [line.strip(" ,") for line in value.splitlines()] if not value.isprintable() else [value]
    return text(", ".join(line for line in lines if line), LONGEST_ADDRESS)


# Addresses that email-validator certainly accepts unchanged; this check costs a tenth of the library's.
# Narrower than the library's rules on purpose: no upper case (the library lowers domains and some local parts), no
# "--" (IDNA reserves it), a top-level domain of letters only, and none that the library refuses or treats specially.
PLAIN_EMAIL = re.compile(
    r"(?=.{6,254}\Z)(?=.{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@"
    r"(?:[a-z0-9](?:[a-z0-9]|-(?!-)){0,62}(?<!-)\.)+"
    r"(?!(?:arpa|invalid|local|localhost|onion|test)\Z)[a-z]{2,63}\Z"
)


def email(text: str) -> str | Refusal:
    """The address with its domain in lower-case ASCII. Makes no DNS request; reserved test domains are accepted."""
    if PLAIN_EMAIL.match(text):
        return text
    text = bare(text, "mailto:")
    if "…" in text:
        return Refusal("a masked address", "give the whole address, or leave the cell empty")
    if "@" not in text:
        return Refusal(f"{characters(text)} without an @", "give an address such as name@example.com")
    if text.count("@") == 1 and len(text.splitlines()) > 1:
        return Refusal("a line break in an address", "write it on one line; or a quote before it is not closed")
    if re.search(r"[,;\s]", text.partition("@")[2]):
        return Refusal("more than one email address", "give one address alone, without a name or a second address")
    if hidden := invisible_in(text):
        return Refusal(f"an invisible character in an address: {hidden}", "delete it, or type the address again")
    from email_validator import EmailNotValidError, validate_email  # imported here: hardly any address needs it

    try:
        # test_environment only allows .test addresses, and only in this call.
        valid = validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except (EmailNotValidError, UnicodeError):  # the library's text repeats parts of the address
        return Refusal(f"{characters(text)} that are not an email address", "check the address for a typing error")
    if "." not in valid.ascii_domain:
        return Refusal("an address whose domain has no dot", "give the whole domain, such as example.com")
    if any(map(_looks_like_another, valid.domain.split("."))):
        return Refusal("a domain that mixes letters of two alphabets which look alike", "type the domain again by hand")
    return f"{valid.local_part}@{valid.ascii_domain}"


def _looks_like_another(label: str) -> bool:
    """Whether a part of a domain mixes Latin letters with Cyrillic, Greek or Armenian ones. Registries sell no such
    name; a person takes it for another."""
    if label.isascii():
        return False
    alphabets = {unicodedata.name(letter, "").partition(" ")[0] for letter in label if letter.isalpha()}
    return "LATIN" in alphabets and not alphabets.isdisjoint({"CYRILLIC", "GREEK", "ARMENIAN"})


def ascii_text(longest: int) -> Rule:
    """A rule for ids of other systems: printable ASCII of at most `longest` characters."""

    def rule(value: str) -> str | Refusal:
        if rewritten := unless_rewritten(value):
            return rewritten
        if not (value.isascii() and value.isprintable()):
            return not_ascii(value, "use letters without accents, digits and punctuation")
        if len(value) > longest:
            return Refusal(f"{characters(value)}, more than {longest}", f"shorten it to {longest}")
        return value

    return rule


def not_ascii(value: str, hint: str) -> Refusal:
    such = f", such as {hidden}" if (hidden := invisible_in(value)) else ""
    return Refusal(f"characters that are not printable ASCII{such}", hint)


def no_name(text: str) -> Refusal:
    if SPOILED.search(text):
        return Refusal("letters that a wrong encoding has spoiled", "write the name again, and save it as UTF-8")
    return Refusal("a placeholder in place of a name", "give the name, or leave the cell empty")


def country(value: str) -> str | Refusal:
    if code := countries.alpha2(value):
        return code
    if meant := countries.usual_mistake(value):
        return Refusal("not an ISO 3166 code", f"use {meant}")
    return country_of(value) or Refusal(
        f"{characters(value)} that are not a country", "use an ISO 3166 code, such as DE, or its name"
    )


def locale(value: str) -> str | Refusal:
    found = _LOCALE.fullmatch(value) or _LOCALE.fullmatch(language_of(value) or "")
    if not found:
        return Refusal(f"{characters(value)} that are not a locale", "use a language code such as de, or its name")
    language, script, region = found.groups()
    return "-".join(filter(None, (language.lower(), (script or "").title(), (region or "").upper())))


@cache
def _timezones() -> dict[str, str]:
    return {name.lower(): name for name in zoneinfo.available_timezones() if name not in ("Factory", "localtime")}


def timezone(value: str) -> str | Refusal:
    name = _timezones().get(value.lower().replace(" ", "_"))
    return name or Refusal(f"{characters(value)} that are not a time zone", "use an IANA name such as Europe/Vilnius")


_KINDS, _CHANNELS = {one.value: one for one in CustomerKind}, {one.value: one for one in Channel}
_NO_KIND = Refusal("neither individual nor company", "use individual or company, or leave it empty for individual")
_ANY = "use one of these, or leave it empty to use the address that the row has"
_NO_CHANNEL = Refusal(f"none of {', '.join(Channel)}", _ANY)


def kind(value: str) -> CustomerKind | Refusal:
    return _KINDS.get(value.lower(), _NO_KIND)


def channel(value: str) -> Channel | Refusal:
    return _CHANNELS.get(value.lower(), _NO_CHANNEL)


def consent(value: str) -> bool | Refusal:
    word = value.lower() if value.isascii() else without_accents(value)
    if word in _YES or word in _NO:
        return word in _YES
    return Refusal("neither true nor false", "use true or false; leave it empty if you do not know")


def sex(value: str) -> str | Refusal:
    return _SEXES.get(value.lower()) or Refusal("none of M, F and X", "use M, F or X, or leave it empty")


def purpose(value: str) -> str | Refusal:
    slug = value.lower()
    if _SLUG.fullmatch(slug):
        return slug
    return Refusal("not a short name", "use at most 64 of a-z, 0-9, _ and -, such as onboarding")


def name(value: str) -> str | Refusal:
    """The name of something in the configuration or on disk."""
    if _NAME.fullmatch(value):
        return value
    return Refusal("not a short name", "use at most 64 letters, digits, dots, _ and -")


def tags(value: str) -> tuple[str, ...] | Refusal:
    parts = (part.strip() for part in value.split(";"))
    found = tuple(dict.fromkeys(tag for tag in parts if tag and tag.lower() not in LOOKUPS))
    if len(found) > MOST_TAGS:
        return Refusal(f"{len(found)} tags, more than {MOST_TAGS}", f"keep at most {MOST_TAGS}")
    for tag in found:
        if len(tag) > LONGEST_TAG:
            return Refusal(f"a tag of {characters(tag)}, more than {LONGEST_TAG}", f"shorten it to {LONGEST_TAG}")
        if "," in tag:
            return Refusal("a comma in a tag", "separate tags with ;")
        checked = unless_lost_in_sheet(tag) or text(tag, LONGEST_TAG)
        if isinstance(checked, Refusal):
            return checked
    return tuple(unicodedata.normalize("NFC", tag) for tag in found)


# What they hold is not needed: a bad value is left out, with a warning.
LEFT_OUT = frozenset({"locale", "timezone"})
# They hold words of a few: another system's may be mapped to ours, `[import.values]`. In others, to nothing.
_WORDED = "kind purpose sex nationality consent country locale timezone channel account template brand"
WORDED = tuple(_WORDED.split())
# The columns that need more than their own cell.
READ_LAST = ("customer_id", "phone", "date_of_birth")
# The columns that are checked alone.
RULES: dict[str, Rule] = {
    "kind": kind,
    "purpose": purpose,
    "email": email,
    **dict.fromkeys(NAMES, text),
    "sex": sex,
    "nationality": country,
    "address": address,
    "consent": consent,
    "country": country,
    "locale": locale,
    "timezone": timezone,
    "channel": channel,
    "account": name,
    "entity_id": ascii_text(100),
    "external_ref": ascii_text(40),
    "tags": tags,
    "template": name,
    "brand": name,
}
COLUMNS = (*READ_LAST, *RULES)
