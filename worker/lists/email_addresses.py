"""Email addresses: whether they can receive messages, and the one form that we store."""

import re
import unicodedata

from worker.providers.refusals import Refusal, characters

# Addresses that email-validator certainly accepts unchanged; this check costs a tenth of the library's.
# Narrower than the library's rules on purpose: no upper case (the library lowers domains and some local parts), no
# "--" (IDNA reserves it), a top-level domain of letters only.
_PLAIN_EMAIL = re.compile(
    r"(?=.{6,254}\Z)[a-z0-9_+-]{1,64}(?:\.[a-z0-9_+-]+)*@"
    r"(?:[a-z0-9](?:[a-z0-9]|-(?!-)){0,62}(?<!-)\.)+(?P<top>[a-z]{2,63})\Z"
)
_LONGEST_LOCAL_PART = 64
_SPECIAL = (
    "arpa",
    "invalid",
    "local",
    "localhost",
    "onion",
    "test",
)  # email-validator refuses or treats these specially: it decides


def email(text: str) -> str | Refusal:
    """The address with its domain in lower-case ASCII. Makes no DNS request; reserved test domains are accepted."""
    if is_plain_email(text):
        return text
    if "…" in text:
        return Refusal("a masked address", "give the whole address, or leave the cell empty")
    if "@" not in text:
        return Refusal(f"{characters(text)} without an @", "give an address such as name@example.com")
    if text.count("@") == 1 and len(text.splitlines()) > 1:
        return Refusal("a line break in an address", "write it on one line; or a quote before it is not closed")
    if re.search(r"[,;\s]", text.partition("@")[2]):
        return Refusal("more than one email address", "give one address alone, without a name or a second address")
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


def is_plain_email(text: str) -> bool:
    """True for a plain address that needs no library. Never true for an address that the library refuses."""
    found = _PLAIN_EMAIL.match(text)
    return found is not None and text.index("@") <= _LONGEST_LOCAL_PART and found["top"] not in _SPECIAL
