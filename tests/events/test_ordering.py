"""Events of one customer come to the same end in whatever order they arrive, as docs/reference/events.md promises."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.customers import Customer, Person
from onboarding_worker.core.model.incoming import EventKind
from onboarding_worker.events.standing import (
    EarlierEvents,
    brings_details,
    changed,
    columns_of,
    overlaid,
    spares_newer,
    why_ignored,
)
from tests.events.customer_days import DAWN, C, CustomerEvent, E, R, U, days


@dataclass
class Desk:
    """A store of one customer in memory: it asks the same questions as the real one."""

    details: Customer | None = None
    details_at: datetime | None = None
    seen: list[CustomerEvent] = field(default_factory=list)
    updates: dict[datetime, dict[str, str]] = field(default_factory=dict)
    jobs: dict[datetime, str] = field(default_factory=dict)  # open ones: of when, and for which purpose

    def newest(self, kind: EventKind, purpose: str | None = None) -> datetime | None:
        of = [one.at for one in self.seen if one.kind is kind and purpose in (None, one.purpose)]
        return max(of, default=None)

    def take(self, event: CustomerEvent) -> None:
        known = EarlierEvents(
            details_at=self.details_at,
            erased_at=self.newest(E),
            requested_at=self.newest(R, event.purpose),
            cancelled_at=self.newest(C, event.purpose),
            requested_for_any_at=self.newest(R),
        )
        ignored = why_ignored(event.kind, event.at, known)
        self.seen.append(event)
        later = [(at, columns) for at, columns in self.updates.items() if at > event.at]
        if event.kind is R and brings_details(event.at, known):
            row = Customer("C-1", person=Person(email=event.email, phone=event.phone))
            self.details, self.details_at = overlaid(row, later), event.at
        if ignored:
            return
        match event.kind:
            case EventKind.REQUESTED:
                self.jobs[event.at] = event.purpose
            case EventKind.CANCELLED:
                self.jobs = {at: purpose for at, purpose in self.jobs.items() if purpose != event.purpose}
            case EventKind.UPDATED:
                self.updates[event.at] = event.columns
                if self.details is not None:
                    self.details = overlaid(self.details, [(event.at, event.columns), *later])
            case EventKind.ERASED:
                spares = spares_newer(event.at, known)
                self.jobs = {at: purpose for at, purpose in self.jobs.items() if spares and at > event.at}
                self.updates = {at: columns for at, columns in self.updates.items() if at > event.at}
                if self.details_at is None or self.details_at <= event.at:
                    self.details = None
                    self.details_at = event.at if self.details_at else None

    @property
    def end(self) -> tuple[Person | None, set[str]]:
        """Who the customer is, and for which purposes they are served."""
        return self.details.person if self.details else None, set(self.jobs.values())


def came_in(order: list[CustomerEvent]) -> tuple[Person | None, set[str]]:
    desk = Desk()
    for event in order:
        desk.take(event)
    return desk.end


@given(days(), st.randoms(use_true_random=False))
def test_events_come_to_the_same_end_in_whatever_order_they_arrive(events, random):
    in_time = sorted(events, key=lambda event: event.minute)
    shuffled = list(events)
    random.shuffle(shuffled)
    assert came_in(shuffled) == came_in(in_time)


def test_the_last_of_two_events_of_one_time_counts():
    known = EarlierEvents(*[DAWN] * 5)
    assert [why_ignored(kind, DAWN, known) for kind in EventKind] == [""] * 4
    assert brings_details(DAWN, known)
    assert not spares_newer(DAWN, known)


@pytest.mark.parametrize(
    "order", [*permutations([CustomerEvent(1, U, email="a"), CustomerEvent(2, U, email="b", phone="c")])]
)
def test_each_column_has_its_newest_value(order):
    desk = Desk()
    for event in (CustomerEvent(0, R, email="old", phone="old"), *order):
        desk.take(event)
    assert desk.end[0] == Person(email="b", phone="c")


def test_what_may_be_newer_and_is_no_more_kept_is_not_written_over():
    row = Customer("C-1")
    assert overlaid(row, [(DAWN, {"locale": "de"})]).locale == "de"
    assert overlaid(row, [(DAWN, {"locale": "de"}), (DAWN + timedelta(days=1), None)]) is None


def test_the_columns_of_an_update_survive_being_kept_as_json():
    born = changed(Customer("C-1"), {"date_of_birth": "1990-12-31", "country": "LT"})
    assert columns_of(born, ["date_of_birth", "country"]) == {"date_of_birth": "1990-12-31", "country": "LT"}
    assert (born.person.date_of_birth.year, born.country) == (1990, "LT")
