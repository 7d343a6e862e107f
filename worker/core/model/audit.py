"""The entries of the audit log. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

RETENTION = "retention"  # the actor where the configuration acts, and no person
# The widths of the columns. What is longer is cut off.
ACTOR, ACTION, SUBJECT, REASON = 200, 64, 200, 200


class Act(NamedTuple):
    """Who does something, and what: a command by its words, or an event by its type. `reason`: why, in the words of the
    person who does it; "" if no one was asked."""

    actor: str
    action: str
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """Who did what to whom. `at` is aware. `count`: how many rows or things it was done to.

    An entry stays when a customer is erased. So it holds the customer's id at most: no name, address, token or link,
    and no text that a stranger or a provider has written.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    count: int = 1
    reason: str = ""


def printable(text: str, most: int) -> str:
    """The text in one line, as a log of text lines can hold it: what cannot be shown becomes `?`."""
    return (text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text))[:most]
