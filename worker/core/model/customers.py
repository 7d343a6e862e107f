"""A customer as all of the worker uses it: the accepted line of a list, or the data of an event."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import StrEnum
from itertools import islice
from typing import Any


class CustomerKind(StrEnum):
    INDIVIDUAL = "individual"
    COMPANY = "company"

    __hash__ = str.__hash__  # an enumeration's own takes far longer, and each row of a list needs it several times


class Channel(StrEnum):
    """The channel that the list gives for the customer; `invitation_channels` gives the channels to invite on."""

    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    BOTH = "both"
    NONE = "none"

    __hash__ = str.__hash__  # as above


# The values of a claimed row and of its call are not frozen, and nothing changes them: making frozen ones costs four
# times as much.
@dataclass(repr=False)
class Person:
    """Personal fields: stored encrypted, and in no log, repr, message or exception. Empty means unknown."""

    email: str = ""
    phone: str = ""  # E.164
    first_name: str = ""
    last_name: str = ""
    company_name: str = ""
    date_of_birth: date | None = None
    sex: str = ""  # M, F or X
    nationality: str = ""  # ISO 3166 alpha-2
    address: str = ""
    # Columns of the list that are for messages alone, by name; None: it has none.
    message: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        return "Person(…)"


MESSAGE = "message"
OWN_PREFIX = f"{MESSAGE}."  # of its columns in a list
MOST_OWN = 20  # of its columns
PERSONAL = tuple(field.name for field in fields(Person) if field.name != MESSAGE)
OF_PERSON = (*PERSONAL, MESSAGE)
# What an event customer.updated and a corrected report may change: who the customer is and how to reach them, not how
# they are served.
UPDATABLE = (*PERSONAL, "country", "locale", "timezone")


def with_own(person: Person, newer: Mapping[str, str] | None) -> Person:
    """The person with these columns for messages too. Of more than `MOST_OWN` the newer ones stay."""
    if not newer:
        return person
    return replace(person, message=dict(islice({**newer, **(person.message or {}), **newer}.items(), MOST_OWN)))


@dataclass
class Customer:
    """One accepted line. `customer_id` is the list owner's own id: ASCII, at most 100, no personal data.

    `parameters` are the line's `PROVIDER.PARAMETER` cells, by provider and then by documented name,
    already checked; they may be personal, so they are encrypted with `person`.
    """

    customer_id: str
    kind: CustomerKind = CustomerKind.INDIVIDUAL
    purpose: str = "onboarding"
    person: Person = field(default_factory=Person)
    country: str = ""  # ISO 3166 alpha-2
    locale: str = ""  # BCP 47: "de", "pt-BR"
    timezone: str = ""  # IANA
    channel: Channel = Channel.NONE
    account: str = ""  # forces a route
    entity_id: str = ""
    external_ref: str = ""
    tags: tuple[str, ...] = ()
    template: str = ""
    consent: bool | None = None  # None: the line does not say
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    brand: str = ""  # whose messages the customer gets; "": the default one's


ACCOUNT_COLUMN = "account column"  # why an account was chosen, if the row names it

_DIGITS = re.compile("[0-9…]+")


@dataclass(frozen=True)
class FieldProblem:
    """Why a line is refused, or a warning about it. Names the column and the value's shape, never the value; `hint` is
    what to do. `unread`: the cell has a value that its column does not know; of a list another may be meant."""

    column: str  # "" for a problem of the whole line or event
    problem: str
    hint: str = ""
    unread: bool = field(default=False, compare=False)

    @property
    def remedy(self) -> tuple[str, str]:
        """The same for all problems with one remedy. The digits of a hint may be those of one value."""
        return self.column, _DIGITS.sub("", self.hint) or self.problem

    @property
    def named(self) -> str:
        """The problem behind its column, if it has one."""
        return f"{self.column}: {self.problem}" if self.column else self.problem


_INVITED: Mapping[Channel, tuple[str, ...]] = {
    **{channel: (channel.value,) for channel in Channel},
    Channel.BOTH: (Channel.EMAIL.value, Channel.SMS.value),
    Channel.NONE: (),
}


def invitation_channels(channel: Channel) -> tuple[str, ...]:
    """The channels that an invitation goes out on."""
    return _INVITED[channel]


@dataclass(frozen=True, repr=False)
class Details:
    """What is stored about a customer, apart from rows. Personal, so it has no repr."""

    person: Person
    country: str = ""
    locale: str = ""
    timezone: str = ""
    kind: CustomerKind = CustomerKind.INDIVIDUAL

    def get(self, column: str) -> Any:
        """The value of one of `UPDATABLE`, or of a column for messages, `message.NAME`: "" for none."""
        if column.startswith(OWN_PREFIX):
            return (self.person.message or {}).get(column.removeprefix(OWN_PREFIX), "")
        return getattr(self.person if column in PERSONAL else self, column)

    def shown(self, column: str) -> str:
        """The value as a report writes it; "" for none."""
        value = self.get(column)
        return value.isoformat() if isinstance(value, date) else str(value or "")
