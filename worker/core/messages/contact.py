"""How customers are written to, and how often: what the configuration says for every account and channel. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from worker.core.customers.customers import Channel, Customer
from worker.core.messages.caps import AddressCap, Caps
from worker.core.messages.quiet_hours import Hours, QuietHours
from worker.core.messages.text_numbers import why_not_texted
from worker.core.model.channels import CHANNELS, address_of


@dataclass(frozen=True)
class PauseRule:
    """Pause above `percent` of the `tried` messages, if at least `least` were tried: a few messages prove little."""

    percent: int = 10
    least: int = 50


def kind_of(index: int) -> str:
    """The name of a reminder by its index among the configured times, in order of time."""
    return f"reminder-{index + 1}"


@dataclass(frozen=True)
class Rung:
    """How a reminder differs from the first message: its channel, its template; empty: as the first message."""

    channel: str = ""
    template: str = ""


@dataclass(frozen=True)
class Ladder:
    """The reminders that differ, by their time after the invitation."""

    steps: Mapping[timedelta, Rung] = field(default_factory=dict)

    def step_of(self, kind: str, after: Collection[timedelta]) -> Rung:
        """The step of a reminder of this kind. `after`: the times of all reminders."""
        span = next((span for index, span in enumerate(sorted(set(after))) if kind_of(index) == kind), None)
        return self.steps.get(span, Rung()) if span is not None else Rung()

    def impossible(self, reachable: Collection[str]) -> frozenset[timedelta]:
        """The times of steps by a channel on which the customer cannot be reached."""
        return frozenset(span for span, step in self.steps.items() if step.channel and step.channel not in reachable)

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(step.channel for step in self.steps.values() if step.channel)


# A row whose brand the configuration does not have is looked at again: a process with the brand may run by then.
BRAND_LOOKED_AT_AGAIN = timedelta(minutes=15)


class CorrectedRule(StrEnum):
    """`[follow_up] corrected_address`, for accounts that open no other session before the end of the present one."""

    WAIT = "wait"
    SAME_LINK = "same-link"


@dataclass(frozen=True)
class ContactPolicy:
    """Built once from the configuration; what differs by account or channel stands in the policies that hold it."""

    caps: Caps
    spacing: timedelta = timedelta(0)  # the least time between two sessions of one customer
    # How long before its end a link is replaced, where the provider opens another session then; zero: after its end.
    ahead: timedelta = timedelta(0)
    per_day: int | None = None  # the most reissues of an account in a UTC day; None: no limit
    # The reasons for which a refused customer is asked once more (`model.refusals.asks_again`).
    refused_for: frozenset[str] = frozenset()
    corrected: CorrectedRule = CorrectedRule.WAIT  # what becomes of a link whose address was corrected
    hours: Hours = field(default_factory=Hours)
    # The channel to try where one does not reach the customer, by channel; the worker must have a sender for it.
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    address_cap: AddressCap | None = None  # None: an address may get any number of messages
    countries: frozenset[str] | None = None  # those that texts may go to; None: all
    texts_per_country: int | None = None  # in an hour; None: as many as there are
    brands: frozenset[str] | None = None  # the names of those in whose words messages can be written; None: all
    pause: PauseRule | None = None  # None: no batch is paused automatically
    reminders: tuple[timedelta, ...] = ()  # counted from the first message; steps of the ladder among them
    ladder: Ladder = field(default_factory=Ladder)

    def impossible(self, customer: Customer) -> frozenset[timedelta]:
        """The times of reminders that this customer cannot get."""
        if not self.ladder.channels:
            return frozenset()
        person = customer.person
        reachable = [
            name
            for name in CHANNELS
            if (address := address_of(person, name))
            and not (name == Channel.SMS and why_not_texted(address, self.countries))
        ]
        return self.ladder.impossible(reachable)

    def lacks_brand(self, customer: Customer) -> bool:
        """Whether nothing can be written to the customer: its brand was taken out of the configuration."""
        return bool(customer.brand) and self.brands is not None and customer.brand not in self.brands

    @property
    def elsewhere(self) -> Mapping[timedelta, QuietHours | None]:
        """The quiet hours of reminders by another channel than the first message's."""
        steps = self.ladder.steps.items()
        return {span: self.hours.quiet.get(step.channel) for span, step in steps if step.channel}
