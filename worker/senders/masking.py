"""Masks a server's message, so that it can be shown, stored and logged: without personal values and links."""

import re

from worker.core.foundation.harmless_text import plain

MASK = "[…]"
DETAIL_LENGTH = 160
# The rest of a longer message is dropped: the patterns below must not run over a megabyte.
LONGEST_READ = 640
# Texts that can identify the customer or hold the link: addresses, anything in angle brackets, links, long numbers.
PERSONAL = re.compile(r"<[^<>]*>|(?<!\S)\S*@\S*|\b\w+://\S*|\bwww\.\S*|\+?\d[\d -]{6,}\d", re.IGNORECASE)


def mask(text: str, personal: tuple[str, ...] = ()) -> str:
    """The text on one line, shortened, without addresses, links, long numbers and the `personal` values."""
    text = plain(text[:LONGEST_READ], most=LONGEST_READ)
    text = PERSONAL.sub(MASK, text)
    for value in personal:
        # "User maria.lopez unknown", "Lopez's mailbox is full": servers also quote parts of the address.
        words = {value, value.partition("@")[0], *re.split(r"[\W_]+", value.partition("@")[0])}
        for word in sorted((word for word in words if len(word) > 1), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", MASK, text, flags=re.IGNORECASE)
    return text if len(text) <= DETAIL_LENGTH else text[: DETAIL_LENGTH - 1] + "…"
