"""A provider's message, fit to be shown, stored and logged: its words kept, personal values and secrets not.

Providers quote what they were sent ("Invalid value 'Maria'"), upper-case it, and quote links and tokens.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from worker.domain.model.sessions import SessionRequest

MASK = "…"
LONGEST_MESSAGE = 300
# What is looked at of a longer message: the patterns below must not be run over a megabyte.
LONGEST_READ = 4000
# Shorter values are masked only where they stand alone: "Li" is a name, and a part of "limit".
SHORTEST_ANYWHERE = 3

PATTERNS = (
    # A URL keeps its host; path and query may hold a token.
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)(?:[^\s/?#@]*@)?([^\s/?#\"'<>]*)[^\s\"'<>]*", re.I), r"\1\2/" + MASK),
    (re.compile(r"[^\s@\"'<>(),;:]+(?:@|%40)[^\s@\"'<>(),;:]+", re.IGNORECASE), MASK),  # email addresses
    # Tokens and ids: long runs that mix letters and digits, and very long runs of anything.
    (re.compile(r"(?=[A-Za-z0-9_+/=.~-]*\d)(?=[A-Za-z0-9_+/=.~-]*[A-Za-z])[A-Za-z0-9_+/=.~-]{16,}"), MASK),
    (re.compile(r"[A-Za-z0-9_+/=.~-]{40,}"), MASK),
    (re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}"), MASK),  # phone, document and personal numbers, dates of birth
)


def masked(message: object, request: SessionRequest, *, secrets: Iterable[str] = ()) -> str:
    """`message` on one line, at most LONGEST_MESSAGE characters, without the request's personal values.

    `secrets` are masked too, wherever they stand. What is not a text comes back as "".
    """
    if not isinstance(message, str):
        return ""
    line = _one_line(message[:LONGEST_READ])
    if len(message) > LONGEST_READ:
        line = line.rpartition(" ")[0]  # the cut may have left half of a value, which no longer matches
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
    """One line of visible characters: bidi and zero-width ones could hide a value, or turn the line around."""
    kept = []
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        if category == "Cf":  # zero-width, soft hyphen, bidi controls
            continue
        kept.append(" " if category.startswith(("C", "Z")) else character)
    return " ".join("".join(kept).split())


def _values(request: SessionRequest, secrets: Iterable[str]) -> set[str]:
    """Every value that must not be shown: as it is, upper-cased as iDenfy does it, and word by word."""
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
    # A letter in another case can be two ("ß", "İ"), which ignoring case does not find.
    forms = (form for value in lines | words for form in (value, value.upper(), value.lower()))
    return {line for form in forms if len(line := _one_line(form)) > 1}


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in a parameter, however deep; true and false say nothing about anybody."""
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
