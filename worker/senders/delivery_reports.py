"""What a sender reports about a message after its hand-over, whatever its service's form. Pure.

Here are the words alone; what follows from a report is decided where reports are applied
(`web.webhooks.store.delivery_reports`).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# Our own Message-ID, as services and programs write it. The group is its left part: the message's key.
MESSAGE_ID = re.compile(r"<?([A-Za-z0-9][A-Za-z0-9._-]{0,199})(?:@[^\s<>@]{1,255})?>?", re.ASCII)


def event_name(given: object) -> str:
    """A service's own name of an event, for people; "event" for what is none.

    It reaches terminals, and no database takes a NUL.
    """
    return given[:32] if isinstance(given, str) and given.isascii() and given.isprintable() else "event"


class DeliveryStatus(StrEnum):
    DELIVERED = "delivered"
    BOUNCED = "bounced"  # it did not arrive, and another attempt would not arrive either
    BLOCKED = "blocked"  # it was filtered, or no reason is given: the same text would be blocked again
    ELSEWHERE = "elsewhere"  # the number is not on this channel; another channel may reach it
    LATER = "later"  # it did not arrive, and another attempt may


class Stop(StrEnum):
    """Why an address must get no more messages."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    STOPPED = "stopped"  # the person asked for it


@dataclass(frozen=True, repr=False)
class DeliveryUpdate:
    """The content of one callback. `reference` is the sender's id of the message (Twilio's sid, an invitation's key).

    `address` is the recipient, where the callback names it: personal, so no repr shows it. `status` None does not
    change the message. `stop`: the address must get no more messages; `resume`: it may get messages again. `code` is
    the provider's own, of digits or letters. `happened_at` is aware UTC, None where the callback has no time.
    """

    event: str
    reference: str = ""
    address: str = ""
    status: DeliveryStatus | None = None
    stop: Stop | None = None
    resume: bool = False
    code: str = ""
    happened_at: datetime | None = None

    def __repr__(self) -> str:
        return f"DeliveryUpdate({self.event}, status={self.status}, stop={self.stop}, code={self.code!r})"


@dataclass(frozen=True)
class NotUnderstood:
    """A genuine callback of the sender that cannot be read. `reason` names no value.

    `malformed`: it is not in the form that our page describes, and its sender should learn so.
    """

    reason: str
    malformed: bool = False
