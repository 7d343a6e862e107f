"""Decides when to request a session: late, so that its link is fresh when a message may be sent. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.core.messages.quiet_hours import QuietHours, allowed_at
from worker.core.messages.time_zones import candidate_zones, shared_clock

# Each round moves at most one day ahead; two channels that do not meet within these rounds never meet.
_ROUNDS = 4


@dataclass(frozen=True)
class Hours:
    """The configured times for messages: `quiet` holds the quiet hours by channel.

    `zone` is the time zone of customers without a known zone, phone or country.
    """

    quiet: Mapping[str, QuietHours] = field(default_factory=dict)
    zone: str = "UTC"

    def concern(self, channels: Sequence[str]) -> bool:
        """True if any of the channels has quiet hours; otherwise the customer's zone does not matter."""
        return bool(self.quiet) and any(channel in self.quiet for channel in channels)

    def zones_of(self, *, timezone: str, phone: str, country: str) -> tuple[str, ...]:
        """The zones that a customer may be in."""
        return candidate_zones(timezone=timezone, phone=phone, country=country, default=self.zone)

    def clock_of(self, *, timezone: str, phone: str, country: str) -> str:
        """The zone in which a customer reads times: the customer's own, if all zones that it may be in have one clock;
        else `zone`. A wrong clock in a message is worse than a foreign one, which the message names."""
        return shared_clock(self.zones_of(timezone=timezone, phone=phone, country=country)) or self.zone


def issue_at(
    channels: Sequence[str],
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    *,
    max_age: timedelta,
    now: datetime,
) -> datetime:
    """When to request a session for a customer who is invited on these channels; aware, never before `now`.

    `zones` are the zones that the customer may be in, `quiet` the hours by channel. `max_age` is how old a link may be
    when it leaves: its lifetime less its freshness floor. The result is the earliest time at which a message may leave;
    with several channels, the earliest time from which every channel may send within `max_age`. If the quiet hours
    leave no such time, the result is the earliest time at which any channel may send: the first message takes the link,
    and the other message is not sent.

    Without a channel the result is `now`: the caller fetches the link.
    """
    if not channels:
        return now
    moment = now
    earliest = now
    for round_ in range(_ROUNDS):
        times = [allowed_at(zones, quiet.get(channel), moment) for channel in channels]
        if round_ == 0:
            earliest = min(times)
        if max(times) - min(times) <= max_age:
            return min(times)
        moment = max(times) - max_age
    return earliest


def message_at(
    channel: str,
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    *,
    invite_at: datetime | None,
    now: datetime,
) -> datetime:
    """When a message may leave on a channel; aware, not before `now`. Until `invite_at` the customer is in the app."""
    return allowed_at(zones, quiet.get(channel), now if invite_at is None else max(invite_at, now))
