"""Masks personal values and secrets in a provider's message, so that it can be shown, stored and logged.

Providers quote request values ("Invalid value 'Maria'"), write them in upper case, and quote links and tokens.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from worker.core.foundation.harmless_text import plain
from worker.core.model.sessions import SessionRequest

MASK = "…"
LONGEST_MESSAGE = 300
# The rest of a longer message is dropped: the patterns below must not run over a megabyte.
LONGEST_READ = 640
# Shorter values are masked only as whole words: "Li" is a name, and also a part of "limit".
SHORTEST_ANYWHERE = 3

PATTERNS = (
    # A URL keeps its host; path and query may hold a token.
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)(?:[^\s/?#@]*@)?([^\s/?#\"'<>]*)[^\s\"'<>]*", re.I), r"\1\2/" + MASK),
    # Email addresses. Here and below a run is looked at from its beginning only, which keeps the search linear.
    (re.compile(r"(?<![^\s@\"'<>(),;:])[^\s@\"'<>(),;:]+(?:@|%40)[^\s@\"'<>(),;:]+", re.IGNORECASE), MASK),
    # Tokens and ids: long runs that mix letters and digits, and very long runs of anything.
    (
        re.compile(
            r"(?<![A-Za-z0-9_+/=.~-])(?=[A-Za-z0-9_+/=.~-]*\d)(?=[A-Za-z0-9_+/=.~-]*[A-Za-z])[A-Za-z0-9_+/=.~-]{16,}"
        ),
        MASK,
    ),
    (re.compile(r"(?<![A-Za-z0-9_+/=.~-])[A-Za-z0-9_+/=.~-]{40,}"), MASK),
    (re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}"), MASK),  # phone, document and personal numbers, dates of birth
)


def masked(message: object, request: SessionRequest, *, secrets: Iterable[str] = ()) -> str:
    """`message` on one line, at most LONGEST_MESSAGE characters, without the request's personal values.

    `secrets` are masked too, anywhere in the text. A message that is not a text gives "".
    """
    if not isinstance(message, str):
        return ""
    line = _one_line(message[:LONGEST_READ])
    if len(message) > LONGEST_READ:
        line = line.rpartition(" ")[0]  # the cut may have left half of a value, which would no longer match
    for value in sorted(_values(request, secrets), key=len, reverse=True):
        line = _without(line, value)
    for pattern, replacement in PATTERNS:
        line = pattern.sub(replacement, line)
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def _without(line: str, value: str) -> str:
    if len(value) >= SHORTEST_ANYWHERE:
        return re.sub(re.escape(value), MASK, line, flags=re.IGNORECASE)
    return re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", MASK, line, flags=re.IGNORECASE)


def _one_line(text: str) -> str:
    """The text as one line of visible characters: bidi and zero-width characters could hide or reverse a value."""
    return plain(unicodedata.normalize("NFC", text), most=sys.maxsize)


def _values(request: SessionRequest, secrets: Iterable[str]) -> set[str]:
    """Every value that must not be shown: unchanged, in upper case (as iDenfy writes it), and word by word."""
    person = request.customer.person
    values = {
        person.email,
        person.phone,
        person.first_name,
        person.last_name,
        person.company_name,
        person.nationality,
        person.address,
        person.date_of_birth.isoformat() if person.date_of_birth else "",
        *_texts(request.parameters),
        *secrets,
    }
    lines = {_one_line(value) for value in values}
    words = {word.strip(",.;:'\"()") for line in lines for word in line.split()}
    # Some letters become two in another case ("ß", "İ"); a case-insensitive search does not find those.
    forms = (form for value in lines | words for form in (value, value.upper(), value.lower()))
    return {line for form in forms if len(line := _one_line(form)) > 1}


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in a parameter, at any depth. Booleans are skipped: they identify no person."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float | date) and not isinstance(value, bool):
        yield str(value)
