"""Counts the segments that a text is sent and charged as. Source: 3GPP TS 23.038 (alphabet), 23.040 (long texts). Pure.

One letter outside the phone alphabet makes the whole text UCS-2, and its segments less than half as long.
"""

from dataclasses import dataclass
from enum import StrEnum

# 3GPP TS 23.038, 6.2.1: each letter costs one septet. The escape itself (0x1B) is not a letter.
GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# 6.2.1.1: each costs two septets, the escape and the letter, which stay in one segment.
GSM_7_EXTENSION = frozenset("\f^{}\\[~]|€")


class Encoding(StrEnum):
    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


# Room in a text of one message, and in each part of a longer text, which needs some room for its numbering: in septets
# for GSM-7, in 16-bit units for UCS-2.
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
    if plain:
        costs = [2 if letter in GSM_7_EXTENSION else 1 for letter in text]
    else:  # two 16-bit units stay in one segment too
        costs = [2 if ord(letter) > 0xFFFF else 1 for letter in text]
    single, part = ROOM[encoding]
    if sum(costs) <= single:
        return Segments(encoding, 1 if text else 0)
    count, used = 1, 0
    for cost in costs:
        if used + cost > part:
            count, used = count + 1, 0
        used += cost
    return Segments(encoding, count)
