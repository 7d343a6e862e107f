"""Which words a message has: invitation, reminder, or new link for a customer whose earlier link it replaces, or who
was refused and is asked once more; and what it is written from. What writes it is given to the core. Pure.

A session has one message of each kind on each channel, so two commands at once cannot make two: `invitation`, its
reminders, and those that repeat its link because a person asked, `resend-1`, …
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from worker.core.adapters import Message
from worker.core.customers.customers import Customer
from worker.core.model.refusals import Advice
from worker.core.model.sessions import Opening
from worker.core.model.states import InvitationState

# The customer was reached by such a message. A bounced message reached no one, and a held one perhaps no one.
REACHED = frozenset({InvitationState.SENT, InvitationState.DELIVERED})


class Wording(StrEnum):
    """The value of the template variable `kind`."""

    INVITATION = "invitation"
    REMINDER = "reminder"
    NEW_LINK = "new_link"
    TRY_AGAIN = "try_again"  # a new link for a customer who was refused, with what to do better


NEW_LINKS = frozenset({Wording.NEW_LINK, Wording.TRY_AGAIN})


def wording_of(*, first: bool, reached_before: bool, refused: bool = False) -> Wording:
    """The words of a message.

    `first`: it is the first message of its session on its channel, or repeats that on request; not a reminder.
    `reached_before`: a message with the link of an earlier session of the customer, for the same purpose, is in one of
    the states of REACHED. Without the words of a new link the customer would get the first message twice, and take the
    second for a mistake or for fraud. Our own link survives its session: sent again, it has the words of an invitation
    (`message_context.use_own_link`). `refused`: the provider has refused the customer, who is asked once more.
    """
    if not first:
        return Wording.REMINDER
    if refused:
        return Wording.TRY_AGAIN
    return Wording.NEW_LINK if reached_before else Wording.INVITATION


def advice_for(kind: str) -> str:
    """The advice of a message that shows what such a one looks like."""
    return Advice.DOCUMENT_PHOTO.value if kind == Wording.TRY_AGAIN else ""


FIRST = "invitation"  # the kind of a session's first message, as opposed to its reminders
PREFIX = "resend-"


def is_resend(kind: str) -> bool:
    return kind.startswith(PREFIX)


def next_kind(kinds: Iterable[str]) -> str:
    """The kind of the next message on a channel that has messages of these kinds."""
    return f"{PREFIX}{sum(map(is_resend, kinds)) + 1}"


@dataclass(repr=False)  # not frozen: see `customers.customers`
class Invitation:
    """What a message is written from. Personal and secret: no repr shows it. `expires_at` is aware UTC."""

    customer: Customer
    opening: Opening
    expires_at: datetime
    sender_name: str
    kind: str = "invitation"
    timezone: str = ""  # the zone that its times are written in; "": the customer's own, or UTC
    advice: str = ""  # what the customer can do better (`model.refusals.advice_of`)
    key: str = ""  # these two as in the `Message`; a preview has neither
    at: datetime | None = None

    def __repr__(self) -> str:
        return f"Invitation(kind={self.kind!r}, …)"


class CannotWrite(Exception):
    """The operator's words are wrong, not the customer. The text never has a value of a customer."""


class Writer(Protocol):
    """Writes messages: the templates."""

    def render(self, invitation: Invitation, *, channel: str, now: datetime) -> Message:
        """The message on a channel at `now` (aware UTC). Raises CannotWrite."""
