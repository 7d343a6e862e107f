"""A verification session as all of the worker uses it, and how much life its link must have when it is sent."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from onboarding_worker.core.model.customers import Customer

APPLICANT_ID = "applicantId"  # FrankieOne's name of its vendor's id, among a session's references
EXTERNAL_REF = "externalRef"  # iDenfy KYB's name of a list's external_ref, among a session's references


class ExpirySource(StrEnum):
    ANSWER = "answer"  # the provider gave the time
    # It gave none, or none that can be read: the call's time and the requested lifetime. Or another tool gave it.
    FALLBACK = "fallback"


@dataclass(repr=False)  # not frozen: see `customers`
class SessionRequest:
    """What an adapter needs to ask for one customer's session: a claimed job (`job_context.ClaimedJob`) is one.

    `parameters` are the line's cells for this adapter's provider. `external_ref` is the line's, or the job's id.
    `serial` tells the customer's calls apart, where an answer has no id of its own: "" for the first call, "-2" for the
    second session, ".2" for the second call. `entity_id` is FrankieOne's: the line's, or that of an earlier answer.
    `applicant_id` is its vendor's, of the session that this one replaces: the person goes on where they were.
    """

    customer: Customer
    external_ref: str
    _: KW_ONLY
    entity_id: str = ""
    serial: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    applicant_id: str = ""


@dataclass(repr=False)  # not frozen: see `customers`
class Session:
    """An opened session. `token` and `link` are secrets of equal weight: no repr, log or message holds them.

    `expires_at` is aware UTC. `reference` is the provider's id of the session (scanRef, entityId);
    `references` are its other ids by the provider's names. `sms_sent`: the provider has texted the customer itself.
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

    @property
    def lasting_reference(self) -> str:
        """The reference, for texts and columns that no erasure reaches: not a list's external_ref, by which iDenfy KYB
        names a session, but the ids that iDenfy shows next to it."""
        if self.reference != self.references.get(EXTERNAL_REF):
            return self.reference
        return self.references.get("companyId") or self.references.get("clientId", "")

    def __repr__(self) -> str:
        return f"Session(reference={self.lasting_reference!r}, expires_at={self.expires_at.isoformat()}, …)"


@dataclass(frozen=True, repr=False)
class Opening:
    """What the customer needs for a session: its link, iDenfy's digit string, and what starts the vendor's own app. All
    of it is as secret as the link."""

    link: str
    digits: str = ""
    vendor: str = ""
    vendor_parameters: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=64)
def default_floor(lifetime: timedelta | None) -> timedelta:
    """The freshness floor where a route sets none: half the lifetime, at most 12 hours.

    `lifetime` is None where the vendor decides it and it cannot be requested: then 10 minutes.
    """
    if lifetime is None:
        return timedelta(minutes=10)
    return min(lifetime / 2, timedelta(hours=12))


def never_fresh(freshness: timedelta | None, *, lifetime: timedelta | None) -> bool:
    """Whether no link can ever be sent: the route's own floor is not below the lifetime. A default floor always is,
    except for a lifetime of zero."""
    return lifetime is not None and floor_of(freshness, lifetime=lifetime) >= lifetime


def floor_of(freshness: timedelta | None, *, lifetime: timedelta | None) -> timedelta:
    """The least life that a link may have when it is sent; `freshness` is the route's, None where it sets none."""
    return freshness if freshness is not None else default_floor(lifetime)


def max_age_of(lifetime: timedelta | None, *, floor: timedelta) -> timedelta:
    """How old a link may be when it is sent, as far as is known before there is a link.

    Zero where the vendor decides how long links live.
    """
    return timedelta(0) if lifetime is None else max(lifetime - floor, timedelta(0))
