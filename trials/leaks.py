"""Checks that no log has customers' addresses, numbers and names, tokens or links.

A complaint names the file and the kind of value, not the value.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from trials.customers import FAMILY
from trials.evidence import Evidence

# The forms of the list's addresses and numbers; no other text in a log has these forms.
PERSONAL = {
    "an email address": re.compile(r"\bc\d+@example\.com"),
    "a phone number": re.compile(r"\+?4479\d{8}"),
    "a name": re.compile(re.escape(FAMILY)),
    "a link": re.compile(r"https?://(?!127\.0\.0\.1\b)\S*[?&#]\S+"),
}
WORD = re.compile(r"[A-Za-z0-9_.~-]{16,}")


def leaks(files: Iterable[Path], evidence: Evidence) -> Iterator[str]:
    """A complaint for each kind of leak in each file. `evidence` has the providers' tokens."""
    tokens = {call["token"] for call in evidence.received.calls if call["token"]}
    for file in files:
        text = file.read_text("utf-8", "replace")
        for what, form in PERSONAL.items():
            number = len(form.findall(text))
            if number:
                yield f"nothing_leaks: {file.name} has {what}, {number} times"
        number = sum(word in tokens for found in WORD.findall(text) for word in (found, *re.split(r"[.~]", found)))
        if number:
            yield f"nothing_leaks: {file.name} has {number} tokens"
