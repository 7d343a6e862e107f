"""What becomes of a session whose link has gone to an address that was corrected since. Pure.

    the link, the account, the caps, the rule  --after_corrected_address-->  NewSession | SameLink | Wait | Spent | None

The owner of the old address can open the link until its end, and no provider takes it back. So it goes to no other
address, unless the configuration or a person says so: the new address gets another session, at once where the provider
opens one early, else after the end of the present one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from onboarding_worker.core.model.channels import ADDRESSES, CHANNELS, Address
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.core.rules.contact import CorrectedRule

# A message in one of these states has left, or may have: of a held one it is not known.
MAY_HAVE_LEFT = (InvitationState.WORKING, InvitationState.SENT, InvitationState.DELIVERED, InvitationState.HELD)


@dataclass(frozen=True)
class GivenLink:
    """A session's link, when an address of its customer is corrected. Times are aware.

    `went`: a message with it to the old address has left, or may have. `allowed_from`: when the account opens another
    session (`Provider.reissue_at`). `cap`: the cap that is used up, if one is.
    """

    went: bool
    expires_at: datetime
    allowed_from: datetime
    cap: Reason | None = None


@dataclass(frozen=True)
class AnotherSession:
    """Another session is asked for now, and its link goes to the new address."""


@dataclass(frozen=True)
class SameLink:
    """The session stays, and a message to the new address leads to it."""


@dataclass(frozen=True)
class WaitForEnd:
    """Nothing leaves before the session's end; if it ended unused, another session follows."""

    until: datetime


@dataclass(frozen=True)
class Spent:
    """No other session is allowed: a person decides. The link opens `until` then."""

    cap: Reason
    until: datetime


After = AnotherSession | SameLink | WaitForEnd | Spent


def after_corrected_address(link: GivenLink, rule: CorrectedRule, *, now: datetime) -> After | None:
    """What follows; None: no one has a link that opens."""
    if not link.went or link.expires_at <= now:
        return None
    early = link.allowed_from <= now
    if not early and rule is CorrectedRule.SAME_LINK:
        return SameLink()
    if link.cap is not None:
        return Spent(link.cap, link.expires_at)
    return AnotherSession() if early else WaitForEnd(link.expires_at)


def kinds_of(given_away: str) -> tuple[Address, ...]:
    """The kinds of addresses that a session's `given_away` names."""
    return tuple(kind for kind in ADDRESSES if kind in given_away.split())


def written(kinds: Collection[str]) -> str:
    """`given_away` for these kinds of addresses."""
    return " ".join(kind for kind in ADDRESSES if kind in kinds)


def is_kept_back(given_away: str, *, same_link: bool, channel: str) -> bool:
    """Whether a message on this channel must not carry the session's link."""
    return not same_link and CHANNELS[channel].address in given_away.split()


GIVEN_AWAY = written(ADDRESSES)  # all of them
