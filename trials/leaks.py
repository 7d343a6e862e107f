"""What must stand in no log: customers' addresses, numbers and names, tokens and links.

A complaint names the file and what kind of thing it is, not the thing.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from trials.customers import FAMILY
from trials.evidence import Evidence

# The list's own addresses and numbers have these forms; a log has no other reason to hold them.
PERSONAL = {
    "an email address": re.compile(r"\bc\d+@example\.com"),
    "a phone number": re.compile(r"\+?4479\d{8}"),
    "a name": re.compile(re.escape(FAMILY)),
    "a link": re.compile(r"https?://(?!127\.0\.0\.1\b)\S*[?&#]\S+"),
}
WORD = re.compile(r"[A-Za-z0-9_.~-]{16,}")


def leaks(files: Iterable[Path], evidence: Evidence) -> Iterator[str]:
    """`evidence` tells the tokens that the providers gave out."""
    tokens = {call["token"] for call in evidence.received.calls if call["token"]}
    for file in files:
        text = file.read_text("utf-8", "replace")
        for what, form in PERSONAL.items():
            number = len(form.findall(text))
            if number:
                yield f"nothing_leaks: {file.name} holds {what}, {number} times"
        number = sum(word in tokens for found in WORD.findall(text) for word in (found, *re.split(r"[.~]", found)))
        if number:
            yield f"nothing_leaks: {file.name} holds {number} tokens"
