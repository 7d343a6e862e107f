"""The stories of a run's invented customers, as events. Each customer's story comes from a seed.

BEFORE: all events are published before a worker runs, so that the result is certain. DURING: the events are published
while workers send, so if two things race, either may win.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from trials.customers import FAMILY
from trials.events.event import CANCELLED, ERASED, REQUESTED, UPDATED, Event

SOURCES = ("/crm", "https://signup.example.com/eu", "urn:example:app")
# The numbers of a customer's addresses: the later ones are new addresses.
ADDRESSES = 10_000_000
DEFERRED = "30 minutes"
CHANNELS = ("email", "email", "email", "sms", "both")


@dataclass(frozen=True)
class Signup:
    """An invented customer, at one of the two endpoints whose log names the customer of a call."""

    index: int
    began: datetime

    @cached_property
    def customer_id(self) -> str:
        return f"E-{self.index:06}"

    @property
    def channel(self) -> str:
        return CHANNELS[self.index % len(CHANNELS)]

    def email(self, move: int = 0) -> str:
        return f"c{self.index + move * ADDRESSES}@example.com"

    def phone(self, move: int = 0) -> str:
        return f"+4479{self.index + move * ADDRESSES:08}"

    def row(self, move: int = 0, **more: Any) -> dict[str, Any]:
        named = {"customer_id": self.customer_id, "first_name": "Ann", "last_name": FAMILY}
        named["country"] = ("DE", "DE", "LT")[self.index % 3]
        return named | {"email": self.email(move), "phone": self.phone(move), "channel": self.channel} | more

    def event(self, number: int, kind: str, data: dict[str, Any] | None = None, *, timed: bool = True) -> Event:
        """The story's event with this number."""
        source = SOURCES[self.index % len(SOURCES)]
        time = self.began + timedelta(seconds=number) if timed else None
        return Event(source, f"{self.index}-{number}", kind, {"customer_id": self.customer_id} | (data or {}), time)


Story = Callable[[Signup], list[Event]]


def requested(one: Signup) -> list[Event]:
    return [one.event(1, REQUESTED, one.row(), timed=one.index % 3 > 0)]


def deferred(one: Signup) -> list[Event]:
    """The customer is in the app now: the email waits for half an hour, longer than any run."""
    return [one.event(1, REQUESTED, one.row(invite_after=DEFERRED), timed=False)]


def moved(one: Signup) -> list[Event]:
    return [one.event(1, REQUESTED, one.row()), one.event(2, UPDATED, {"email": one.email(1), "phone": one.phone(1)})]


def moved_twice(one: Signup) -> list[Event]:
    """The second move has a newer email address; the phone number is still that of the first move."""
    first = one.event(2, UPDATED, {"email": one.email(1), "phone": one.phone(1)})
    return [one.event(1, REQUESTED, one.row()), first, one.event(3, UPDATED, {"email": one.email(2)})]


def moved_before(one: Signup) -> list[Event]:
    """The request has newer addresses than the update before it, so the update changes nothing."""
    return [one.event(1, UPDATED, {"email": one.email(2), "phone": one.phone(2)}), one.event(2, REQUESTED, one.row())]


def asked_again(one: Signup) -> list[Event]:
    """Two requests, the second with another address: one invitation, to the second address."""
    return [one.event(1, REQUESTED, one.row()), one.event(2, REQUESTED, one.row(1))]


def asked_again_and_moved(one: Signup) -> list[Event]:
    moved_on = one.event(3, UPDATED, {"email": one.email(2)})
    return [one.event(1, REQUESTED, one.row()), one.event(2, REQUESTED, one.row(1)), moved_on]


def pressed_twice(one: Signup) -> list[Event]:
    return [one.event(1, REQUESTED, one.row()), one.event(2, REQUESTED, one.row())]


def cancelled(one: Signup) -> list[Event]:
    return [one.event(1, REQUESTED, one.row()), one.event(2, CANCELLED)]


def cancelled_before(one: Signup) -> list[Event]:
    """A cancellation, then a newer request: the request counts."""
    return [one.event(1, CANCELLED), one.event(2, REQUESTED, one.row())]


def wanted_after_all(one: Signup) -> list[Event]:
    return [*cancelled(one), one.event(3, REQUESTED, one.row(1))]


def two_purposes(one: Signup) -> list[Event]:
    return [one.event(1, REQUESTED, one.row()), one.event(2, REQUESTED, one.row(purpose="credit"))]


def one_purpose_cancelled(one: Signup) -> list[Event]:
    return [*two_purposes(one), one.event(3, CANCELLED, {"purpose": "credit"})]


def erased(one: Signup) -> list[Event]:
    return [one.event(1, REQUESTED, one.row()), one.event(2, ERASED)]


def erased_after_moving(one: Signup) -> list[Event]:
    return [*moved(one), one.event(3, ERASED)]


def back_after_erasure(one: Signup) -> list[Event]:
    return [*erased(one), one.event(3, REQUESTED, one.row(1))]


def never_asked(one: Signup) -> list[Event]:
    kind, data = [(UPDATED, {"email": one.email()}), (CANCELLED, {}), (ERASED, {})][one.index % 3]
    return [one.event(1, kind, data)]


# How often each story comes, relative to the others.
BEFORE: dict[Story, int] = {
    requested: 60,
    deferred: 2,
    moved: 5,
    moved_twice: 3,
    moved_before: 3,
    asked_again: 3,
    asked_again_and_moved: 2,
    pressed_twice: 3,
    cancelled: 5,
    cancelled_before: 2,
    wanted_after_all: 2,
    two_purposes: 3,
    one_purpose_cancelled: 2,
    erased: 2,
    erased_after_moving: 1,
    back_after_erasure: 1,
    never_asked: 1,
}
DURING: dict[Story, int] = {
    requested: 80,
    deferred: 2,
    moved: 4,
    moved_twice: 2,
    moved_before: 2,
    pressed_twice: 3,
    cancelled: 3,
    two_purposes: 2,
    erased: 2,
}


def events_of(
    stories: dict[Story, int], events: int, *, first: int, began: datetime, draw: random.Random
) -> Iterator[list[Event]]:
    """Stories of new customers, from number `first` on, with this many events in total.

    Every kind of story comes once; the rest are drawn by their weights.
    """
    left, index = events, first
    opening: Sequence[Story] = list(stories)
    while left > 0:
        number = index - first
        if number < len(opening):
            story = opening[number]
        else:
            story = draw.choices(list(stories), weights=list(stories.values()))[0]
        events = story(Signup(index, began + timedelta(milliseconds=number)))[:left]
        left -= len(events)
        index += 1
        yield events
