"""When a session is asked for: late, so that its link is fresh when the customer may be written to. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.domain.contact.quiet_hours import QuietHours, allowed_at
from worker.domain.contact.time_zones import candidate_zones, is_known

# Each round moves on to a later day at most; two channels that do not meet within them never do.
_ROUNDS = 4


@dataclass(frozen=True)
class Hours:
    """What a configuration says of when customers may be written to: `quiet` by channel.

    `zone` is whose clock counts for a customer of whom neither zone, phone nor country is known.
    """

    quiet: Mapping[str, QuietHours] = field(default_factory=dict)
    zone: str = "UTC"

    def concern(self, channels: Sequence[str]) -> bool:
        """Whether there are quiet hours on any of the channels; where there are none, nobody need be asked where."""
        return bool(self.quiet) and any(channel in self.quiet for channel in channels)

    def needs_phone(self, timezone: str) -> bool:
        """Whether the customer's phone has to be read to know the zones: a known time zone decides alone."""
        return not is_known(timezone)

    def zones_of(self, *, timezone: str, phone: str, country: str) -> tuple[str, ...]:
        """The zones that a customer may be in."""
        return candidate_zones(timezone=timezone, phone=phone, country=country, default=self.zone)


def issue_at(
    channels: Sequence[str],
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    *,
    invite_at: datetime | None,
    max_age: timedelta,
    now: datetime,
) -> datetime:
    """When to ask the provider for a session of a customer who is invited on these channels; aware, never before `now`.

    `zones` are the customer's candidates, `quiet` the hours by channel. `max_age` is how old a link may be when it
    leaves: its lifetime less its freshness floor. The session is asked for at the earliest time at which a message may
    leave; with several channels, one from which on each of them may send within `max_age`. Where they have no such
    time, as their quiet hours lie, it is the earliest at which any may: the first message takes the link along, and the
    other one is not sent.

    No channel: now, for the link is fetched, not sent. `invite_at` ahead of now: now, for the customer is in the app,
    and is to have the link there.
    """
    if not channels or (invite_at is not None and invite_at > now):
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
    """When a message may leave on a channel; aware, never before `now`. `invite_at`: the customer is in the app."""
    return allowed_at(zones, quiet.get(channel), now if invite_at is None else max(invite_at, now))
