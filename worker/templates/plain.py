"""Text of strangers as one harmless line, and what a mail program would read in it. Pure."""

import unicodedata

from worker.core.foundation import harmless_text

LENGTH = 60
# Browsers read these as the dot of a host name (UTS 46), besides those that become a dot by NFKC.
_DOTS = str.maketrans("\u3002\uff61", "..")
# Letters and symbols without a shape: they would split a host for us, and not for its reader.
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def plain(text: str, *, most: int = LENGTH) -> str:
    """As `foundation.harmless_text.plain`, for what a message shows."""
    return harmless_text.plain(text, most=most)


def folded(text: str) -> str:
    """The text to test for what it may become: wide and styled letters as plain ones, each dot of a host name as ".",
    without accents and without characters that have no shape. `text` is short, and `plain`."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKD", text).translate(_DOTS)
    return "".join(char for char in text if char not in _FILLERS and unicodedata.category(char)[0] not in "MC")
