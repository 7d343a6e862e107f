"""The words of messages to phones: of a WhatsApp message, a template that Meta has approved and the values of its
placeholders; of a text, the segments that it is sent and charged as. Pure.

    content: HX0123456789abcdef0123456789abcdef
    1: {{ name or "customer" }}
    2: {{ link_path }}

Meta lets a company begin no conversation with words of its own. So `whatsapp.txt` names the approved template by its
ContentSid (at Twilio), or by Meta's own name of it, and gives each placeholder's value on a line of its own.

Segments: 3GPP TS 23.038 (alphabet), 23.040 (long texts). One letter outside the phone alphabet makes the whole text
UCS-2, and its segments less than half as long.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MOST_VALUES = 100
# A ContentSid, or the form that Meta has for names of templates: the one is never taken for the other.
_SID = re.compile(r"HX[0-9a-fA-F]{32}|[a-z0-9_]{1,512}", re.ASCII)
_LINE = re.compile(r"([A-Za-z0-9_]{1,64})[ \t]*:(.*)", re.ASCII)
# 3GPP TS 23.038, 6.2.1: each letter costs one septet. The escape itself (0x1B) is not a letter.
GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# 6.2.1.1: each costs two septets, the escape and the letter, which stay in one segment.
GSM_7_EXTENSION = frozenset("\f^{}\\[~]|€")


class NotContent(ValueError):
    """The text names no approved template, or a value is missing. Its text holds no value."""


@dataclass(frozen=True, repr=False)
class Content:
    """`sid` is the approved template's id, `values` the texts of its placeholders by name. Personal: no repr."""

    sid: str
    values: Mapping[str, str]


def content_of(text: str) -> Content:
    """The content that the rendered text names. Raises NotContent. Twilio refuses an empty value, and one with a line
    break, a tab or many spaces (21656): spaces become single ones."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _LINE.fullmatch(line)
        if match is None:
            raise NotContent('expected lines such as "1: {{ name }}" after "content: HX…"')
        name, value = match[1], " ".join(match[2].split())
        if name in found:
            raise NotContent(f"{name} is there twice")
        if not value:
            raise NotContent(f'{name} is empty; say what to write then, as in {{{{ name or "customer" }}}}')
        found[name] = value
    sid = found.pop("content", "")
    if not _SID.fullmatch(sid):
        raise NotContent('expected the line "content: HX…" with the ContentSid (or name) of an approved template')
    if len(found) > MOST_VALUES:
        raise NotContent(f"more than {MOST_VALUES} values")
    return Content(sid, found)


class Encoding(StrEnum):
    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


# Room in a text of one, and in each numbered part of a longer one: in septets for GSM-7, 16-bit units for UCS-2.
ROOM = {Encoding.GSM_7: (160, 153), Encoding.UCS_2: (70, 67)}


@dataclass(frozen=True)
class Segments:
    """How a text is sent: in `count` messages of `encoding`. An empty text has 0."""

    encoding: Encoding
    count: int


def segments(text: str) -> Segments:
    """How the text is sent, unchanged: nothing is replaced or left out to make it shorter."""
    plain = all(letter in GSM_7 or letter in GSM_7_EXTENSION for letter in text)
    encoding = Encoding.GSM_7 if plain else Encoding.UCS_2
    # Two 16-bit units stay in one segment too.
    costs = [1 + (letter in GSM_7_EXTENSION if plain else ord(letter) > 0xFFFF) for letter in text]
    single, part = ROOM[encoding]
    if sum(costs) <= single:
        return Segments(encoding, 1 if text else 0)
    count, used = 1, 0
    for cost in costs:
        if used + cost > part:
            count, used = count + 1, 0
        used += cost
    return Segments(encoding, count)
