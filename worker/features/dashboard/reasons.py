"""The reason that a person gives for a change. It stays in the audit log for ever, so it must name nobody. Pure."""

import re

SHORTEST, LONGEST = 3, 120
_ADDRESS = re.compile(r"\S@\S")
_NUMBER = re.compile(r"\d(?:[\s().+/-]?\d){6,}")
_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_LINK = re.compile(r"https?://", re.IGNORECASE)


def why_unfit(reason: str) -> str:
    """What is wrong with the reason, for the person who wrote it; "" if nothing is."""
    if len(reason) < SHORTEST:
        return "Say in a few words why. The audit log keeps it."
    if len(reason) > LONGEST:
        return f"Say it in at most {LONGEST} characters."
    if _ADDRESS.search(reason) or _NUMBER.search(_DATE.sub("", reason)) or _LINK.search(reason):
        return "Leave out addresses, phone numbers and links: the audit log keeps the reason for ever."
    return ""
