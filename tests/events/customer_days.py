"""What may happen to one customer in a day, drawn at random: events at times of their own."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from onboarding_worker.core.model.incoming import EventKind

DAWN = datetime(2026, 11, 20, tzinfo=UTC)
R, C, U, E = EventKind.REQUESTED, EventKind.CANCELLED, EventKind.UPDATED, EventKind.ERASED


@dataclass(frozen=True)
class CustomerEvent:
    """An event at a minute of the day. `email` and `phone` are its values; a request always has both."""

    minute: int
    kind: EventKind
    purpose: str = "onboarding"
    email: str = ""
    phone: str = ""

    @property
    def at(self) -> datetime:
        return DAWN + timedelta(minutes=self.minute)

    @property
    def columns(self) -> dict[str, str]:
        return {name: value for name in ("email", "phone") if (value := getattr(self, name))}


@st.composite
def days(draw: st.DrawFn) -> list[CustomerEvent]:
    """Events at different times, each with different values."""
    minutes = draw(st.lists(st.integers(0, 1000), unique=True, max_size=7))
    found = []
    for minute in minutes:
        kind = draw(st.sampled_from([R, R, C, U, U, E]))
        event = CustomerEvent(minute, kind, email=f"{minute}@example.org", phone=f"+3706{minute:07}")
        if kind is U:
            event = replace(event, **draw(st.sampled_from([{"email": ""}, {"phone": ""}, {}])))
        elif kind is not E:
            event = replace(event, purpose=draw(st.sampled_from(["onboarding", "loan"])))
        found.append(event)
    return found
