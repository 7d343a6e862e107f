"""A message of the bus that is refused, as it is stored, and what became of messages that were put back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, repr=False)
class RefusedMessage:
    """A refused message. `content` is personal, so no repr; the other values but `customer_id` name no value of it.

    `identity` is the same for each copy of the message. `kind` is the event's type and `event` its id, where they are
    known to be no person's data. `customer_id`: as the message has it; "" where it names none. `content`: the message
    as JSON values, to put it back; None: it is too large, and not kept.
    """

    queue: str
    identity: str
    reason: str
    kind: str
    event: str
    size: int
    customer_id: str
    content: Mapping[str, Any] | None


class NotPutBack(Exception):
    """No refused message can be put back now. The text says why, for people."""


@dataclass(frozen=True)
class PutBack:
    """How many messages went back, by dead queue; how many were not kept; and why others stay, by dead queue."""

    went: Mapping[str, int] = field(default_factory=dict)
    not_kept: int = 0
    missed: Mapping[str, str] = field(default_factory=dict)


def dead_queue_of(queue: str) -> str:
    """The name of a queue's dead queue."""
    return f"{queue}.dead"
