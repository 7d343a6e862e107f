"""What a message says: the values that it is written from, and its words. What writes it is given to the core."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from worker.core.customers.customers import Customer
from worker.core.model.sessions import Opening


@dataclass(repr=False)  # not frozen: see `customers.customers`
class Invitation:
    """The content of an invitation. Personal and secret: no repr shows it. `expires_at` is aware UTC."""

    customer: Customer
    link: str
    expires_at: datetime
    sender_name: str
    kind: str = "invitation"
    timezone: str = ""  # the zone that its times are written in; "": the customer's own, or UTC
    opening: Opening | None = None  # what its session has besides the link

    def __repr__(self) -> str:
        return f"Invitation(kind={self.kind!r}, …)"


@dataclass(repr=False)  # not frozen: see `customers.customers`
class Rendered:
    """The words of one message. Personal and secret: no repr shows any of it.

    `language` is the locale of the words (BCP 47), which may be another than the customer's. `html` is
    empty where the template has none; `subject` and `html` are for a text message.
    """

    language: str
    subject: str
    text: str
    html: str
    digest: str = ""  # of the files and the settings that it was made from: nothing of a person

    def __repr__(self) -> str:
        return f"Rendered(language={self.language!r}, …)"


class CannotWrite(Exception):
    """The operator's words are wrong, not the customer. The text never has a value of a customer."""


class Writer(Protocol):
    """Writes messages: the templates."""

    def render(self, invitation: Invitation, *, channel: str, now: datetime) -> Rendered:
        """The words for a channel at `now` (aware UTC). Raises CannotWrite."""
