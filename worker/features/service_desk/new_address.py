"""What a corrected address gets: the present link, another session, or nothing before the end of the present one. Pure.

As `core.lifecycle.given_links` decides for lists and events; a person learns here what stands against it.
"""

from dataclasses import dataclass
from datetime import datetime

from worker.core.lifecycle.given_links import GivenLink, NewSession, Spent, Wait, after_corrected_address
from worker.core.messages.caps import spent
from worker.core.model.reasons import meaning_of
from worker.features.service_desk.case import Case, DeskRules, Refused, in_utc, not_serviceable
from worker.features.service_desk.new_link import NewLink, decide_new_link

SAME_LINK = "`onboard customer resend ID --same-link` sends the present link to the new address now"


@dataclass(frozen=True)
class PresentLink:
    """The present link goes to the new address, if it can be sent (`resend`)."""


def opens_until(case: Case, now: datetime) -> datetime | None:
    """Until when the present link opens at an address that was corrected; None: it does not."""
    link = case.link
    return link.expires_at if link is not None and link.given_away and link.works(now) else None


def decide_new_address(rules: DeskRules, case: Case, *, now: datetime) -> PresentLink | NewLink | Refused:
    """`case`: as it is with the new address."""
    link = case.link
    if link is None or opens_until(case, now) is None:
        return PresentLink()
    if (refused := not_serviceable(case)) is not None:
        return refused
    allowed_from = rules.allowed_from.get(link.account)
    given = GivenLink(
        went=True,
        expires_at=link.expires_at,
        allowed_from=link.expires_at if allowed_from is None else allowed_from(link.expires_at),
        cap=spent(rules.caps, reissues=case.sessions - 1, messages=case.messages),
    )
    has = f"the present link has gone to the old address, and opens there until {in_utc(link.expires_at)}"
    match after_corrected_address(given, rules.corrected, now=now):
        case NewSession():
            return decide_new_link(rules, case, now=now)
        case Wait():
            return Refused(f"{has}; another one follows its end, if the customer has not finished", SAME_LINK)
        case Spent(cap):
            return Refused(f"{has}, and {meaning_of(cap)}", SAME_LINK)
        case _:
            return PresentLink()
