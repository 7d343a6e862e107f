"""The `Prefer` header (RFC 7240), of which we know `wait`. Pure."""

import re
from collections.abc import Sequence

LONGEST_WAIT = 10  # seconds
_WAIT = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.IGNORECASE)


def preferred_wait(headers: Sequence[str]) -> int:
    """For how many seconds somebody would wait, at most LONGEST_WAIT; 0 where the headers do not say so.

    Of several the first counts. What cannot be read is no preference, as the RFC has it.
    """
    for preference in ",".join(headers).split(","):
        found = _WAIT.fullmatch(preference)
        if found:
            return min(int(found[1] or found[2]), LONGEST_WAIT)
    return 0
