"""The `Prefer` header (RFC 7240), of which only `wait` is read. Pure."""

import re
from collections.abc import Sequence

LONGEST_WAIT = 10  # seconds
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.IGNORECASE)


def preferred_wait(headers: Sequence[str]) -> int:
    """For how many seconds the caller would wait, at most LONGEST_WAIT; 0 without such a header.

    The first of several counts. A header that cannot be read is no preference, as the RFC requires.
    """
    for preference in ",".join(headers).split(","):
        found = _WAIT.fullmatch(preference)
        if found:
            return min(int(found[1] or found[2]), LONGEST_WAIT)
    return 0
