"""What happens to the invented customers of a run, told in events: a story each, drawn from a seed.

`before`: all of it is told before anybody works, so that what it must come to is known. `beside`: it is told while
workers send, and where two things race, either may win.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from trials.customers import FAMILY
from trials.events.told import CANCELLED, ERASED, REQUESTED, UPDATED, Told

SOURCES = ("/crm", "https://signup.example.com/eu", "urn:example:app")
# A customer's own numbers: the later ones are addresses that they moved to.
ADDRESSES = 10_000_000
DEFERRED = "30 minutes"
CHANNELS = ("email", "email", "email", "sms", "both")


@dataclass(frozen=True)
class Signup:
    """An invented customer, of one of the two endpoints that tell in their log whom a call was for."""

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

    def told(self, number: int, kind: str, data: dict[str, Any] | None = None, *, timed: bool = True) -> Told:
        """The event that happened as the `number`th in this story."""
        source = SOURCES[self.index % len(SOURCES)]
        time = self.began + timedelta(seconds=number) if timed else None
        return Told(source, f"{self.index}-{number}", kind, {"customer_id": self.customer_id} | (data or {}), time)


Story = Callable[[Signup], list[Told]]


def requested(one: Signup) -> list[Told]:
    return [one.told(1, REQUESTED, one.row(), timed=one.index % 3 > 0)]


def deferred(one: Signup) -> list[Told]:
    """They are in the app right now: the mail waits for half an hour, which is longer than any run."""
    return [one.told(1, REQUESTED, one.row(invite_after=DEFERRED), timed=False)]


def moved(one: Signup) -> list[Told]:
    return [one.told(1, REQUESTED, one.row()), one.told(2, UPDATED, {"email": one.email(1), "phone": one.phone(1)})]


def moved_twice(one: Signup) -> list[Told]:
    """The first move is out of date as to the address, and all that is known of the number."""
    first = one.told(2, UPDATED, {"email": one.email(1), "phone": one.phone(1)})
    return [one.told(1, REQUESTED, one.row()), first, one.told(3, UPDATED, {"email": one.email(2)})]


def moved_before(one: Signup) -> list[Told]:
    """The request knows the address that they had moved to before, so the older news of it changes nothing."""
    return [one.told(1, UPDATED, {"email": one.email(2), "phone": one.phone(2)}), one.told(2, REQUESTED, one.row())]


def asked_again(one: Signup) -> list[Told]:
    """Twice in a row, the second time with another address: one invitation, to that one."""
    return [one.told(1, REQUESTED, one.row()), one.told(2, REQUESTED, one.row(1))]


def asked_again_and_moved(one: Signup) -> list[Told]:
    moved_on = one.told(3, UPDATED, {"email": one.email(2)})
    return [one.told(1, REQUESTED, one.row()), one.told(2, REQUESTED, one.row(1)), moved_on]


def pressed_twice(one: Signup) -> list[Told]:
    return [one.told(1, REQUESTED, one.row()), one.told(2, REQUESTED, one.row())]


def cancelled(one: Signup) -> list[Told]:
    return [one.told(1, REQUESTED, one.row()), one.told(2, CANCELLED)]


def cancelled_before(one: Signup) -> list[Told]:
    """Cancelled, and then wanted after all: what was cancelled is older."""
    return [one.told(1, CANCELLED), one.told(2, REQUESTED, one.row())]


def wanted_after_all(one: Signup) -> list[Told]:
    return [*cancelled(one), one.told(3, REQUESTED, one.row(1))]


def two_purposes(one: Signup) -> list[Told]:
    return [one.told(1, REQUESTED, one.row()), one.told(2, REQUESTED, one.row(purpose="credit"))]


def one_purpose_cancelled(one: Signup) -> list[Told]:
    return [*two_purposes(one), one.told(3, CANCELLED, {"purpose": "credit"})]


def erased(one: Signup) -> list[Told]:
    return [one.told(1, REQUESTED, one.row()), one.told(2, ERASED)]


def erased_after_moving(one: Signup) -> list[Told]:
    return [*moved(one), one.told(3, ERASED)]


def back_after_erasure(one: Signup) -> list[Told]:
    return [*erased(one), one.told(3, REQUESTED, one.row(1))]


def never_asked(one: Signup) -> list[Told]:
    kind, data = [(UPDATED, {"email": one.email()}), (CANCELLED, {}), (ERASED, {})][one.index % 3]
    return [one.told(1, kind, data)]


# How often each comes, in parts.
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
BESIDE: dict[Story, int] = {
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


def told_by(
    stories: dict[Story, int], events: int, *, first: int, began: datetime, draw: random.Random
) -> Iterator[list[Told]]:
    """Stories of new customers, from number `first` on, until so many events are told.

    Every kind of story comes once before they are drawn by their parts.
    """
    left, index = events, first
    opening: Sequence[Story] = list(stories)
    while left > 0:
        number = index - first
        if number < len(opening):
            story = opening[number]
        else:
            story = draw.choices(list(stories), weights=list(stories.values()))[0]
        told = story(Signup(index, began + timedelta(milliseconds=number)))[:left]
        left -= len(told)
        index += 1
        yield told
