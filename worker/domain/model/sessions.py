"""A verification session as the worker knows one, and when its link is too old to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worker.domain.model.customers import Customer


class ExpirySource(StrEnum):
    ANSWER = "answer"  # the provider said so
    FALLBACK = "fallback"  # it did not, or not readably: counted from the call by what was asked for


@dataclass(frozen=True)
class SessionRequest:
    """What an adapter needs to ask for one customer's session.

    `parameters` are the line's cells for this adapter's provider. `external_ref` is the line's own, or the
    job's id. `entity_id` is FrankieOne's: the line's, or the one that an earlier answer gave.
    """

    customer: Customer
    external_ref: str
    entity_id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, repr=False)
class Session:
    """An opened session. `token` and `link` are secrets of equal weight: no repr, log or message holds them.

    `expires_at` is aware UTC. `reference` is what the provider calls it (scanRef, entityId); `references`
    keeps its other ids by the provider's own names. `sms_sent`: the provider has texted the customer itself.
    """

    token: str
    link: str
    reference: str
    expires_at: datetime
    expiry_source: ExpirySource
    references: Mapping[str, str] = field(default_factory=dict)
    vendor: str = ""
    vendor_parameters: Mapping[str, str] = field(default_factory=dict)
    digit_string: str = ""
    sms_sent: bool = False

    def __repr__(self) -> str:
        return f"Session(reference={self.reference!r}, expires_at={self.expires_at.isoformat()}, …)"


def is_stale(expires_at: datetime, *, floor: timedelta, now: datetime) -> bool:
    """Whether a link has less life left than its route's freshness floor."""
    return expires_at - now < floor


def default_floor(lifetime: timedelta | None) -> timedelta:
    """The freshness floor where a route names none: half the lifetime, at most 12 hours.

    `lifetime` is None where the vendor decides it and it cannot be asked for: 10 minutes then.
    """
    if lifetime is None:
        return timedelta(minutes=10)
    return min(lifetime / 2, timedelta(hours=12))


def floor_of(freshness: timedelta | None, *, lifetime: timedelta | None) -> timedelta:
    """The least life a link may leave with, on a route that asks for `freshness`, or for none."""
    return freshness if freshness is not None else default_floor(lifetime)


def max_age_of(lifetime: timedelta | None, *, floor: timedelta) -> timedelta:
    """How old a link may be when it leaves, as far as is known before there is one.

    Nothing, where the vendor decides how long links live.
    """
    return timedelta(0) if lifetime is None else max(lifetime - floor, timedelta(0))
