"""The kind of a session's first message, and those that repeat its link because a person asked: `resend-1`, … Pure.

A session has one message of each kind on each channel, so two commands at once cannot make two messages.
"""

from collections.abc import Iterable

FIRST = "invitation"  # the kind of a session's first message, as opposed to its reminders
PREFIX = "resend-"


def is_resend(kind: str) -> bool:
    return kind.startswith(PREFIX)


def next_kind(kinds: Iterable[str]) -> str:
    """The kind of the next message on a channel that has messages of these kinds."""
    return f"{PREFIX}{sum(map(is_resend, kinds)) + 1}"
