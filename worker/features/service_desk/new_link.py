"""Whether the customer may have another link now: another session, which costs a credit; and what a corrected address
gets: the present link, another session, or nothing before the end of the present one. Pure.

It replaces the present session as a reissue does (`core.lifecycle.reissue`), under the same caps; a person learns here
what stands against it. Only the time between two sessions of a customer (`[follow_up] spacing`) does not hold: a person
has decided that it is needed now.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.core.customers.customers import invitation_channels
from worker.core.lifecycle.given_links import AnotherSession, GivenLink, Spent, WaitForEnd, after_corrected_address
from worker.core.lifecycle.reissue import SETTLES
from worker.core.messages.contact import spent
from worker.core.model.reasons import Reason, meaning_of
from worker.core.model.states import LIVE_SESSIONS, JobState, SessionState
from worker.features.service_desk.case import (
    Case,
    DeskRules,
    Link,
    Refused,
    Row,
    in_a_pause,
    in_utc,
    not_serviceable,
    under_way,
)

# A row that waits for one of these reasons waits for the time of a session that is allowed already.
_MAY_HURRY = (Reason.SESSION_EXPIRED, Reason.NEW_LINK)

SAME_LINK = "`onboard customer resend ID --same-link` sends the present link to the new address now"


class Before(StrEnum):
    """What becomes of the present session."""

    NOTHING = "nothing"  # it has ended already, or there was none
    SUPERSEDED = "superseded"  # its link still opens, and counts no more
    EXPIRED = "expired"  # it is over by our clock
    ASKED = "asked"  # it is over by our clock: the provider is asked first whether the customer has finished


_BEFORE_IN_WORDS = {
    Before.SUPERSEDED: "The present link counts no more.",
    Before.ASKED: "First the provider is asked whether the customer has finished.",
}


@dataclass(frozen=True)
class NewLink:
    """The session to ask for. `number`: which of the customer's sessions it is, of at most `most`."""

    account: str
    before: Before
    number: int
    most: int
    channels: tuple[str, ...]

    @property
    def before_in_words(self) -> str:
        """What becomes of the present session, where that is worth a sentence."""
        return _BEFORE_IN_WORDS.get(self.before, "")


def decide_new_link(rules: DeskRules, case: Case, *, now: datetime) -> NewLink | Refused:
    refused = not_serviceable(case) or in_a_pause(case.row) or _not_now(case, now)
    if refused is not None:
        return refused
    row, link = case.row, case.link
    assert row is not None  # noqa: S101 -- for mypy: refused above
    channels = invitation_channels(row.channel)
    if (refused := under_way(case, channels)) is not None:
        return refused
    cap = spent(rules.contact.caps, reissues=case.sessions - 1, messages=case.messages)
    if cap is not None:
        most = rules.contact.caps.reissues if cap is Reason.REISSUES_SPENT else rules.contact.caps.messages
        return Refused(f"{meaning_of(cap)} ({most})", "reach the customer otherwise")
    if rules.contact.per_day is not None and case.reissued_today >= rules.contact.per_day:
        return Refused(meaning_of(Reason.DAY_CAP), "ask again tomorrow, after 00:00 UTC")
    if channels and not any(case.ways.get(channel) == "" for channel in channels):
        why = next((case.ways[channel] for channel in channels if channel in case.ways), "there is no address")
        return Refused(f"a new link could not be sent: {why}", "correct the address first: `onboard customer address`")
    before = _before(rules, row, link, now=now)
    if isinstance(before, Refused):
        return before
    return NewLink(row.account, before, case.sessions + 1, rules.contact.caps.reissues + 1, channels)


def _not_now(case: Case, now: datetime) -> Refused | None:
    row, link = case.row, case.link
    if row is None:
        return None
    if row.state is JobState.FAILED:
        why = f"{row.place} has failed: {meaning_of(row.reason)}"
        return Refused(why, f"`onboard retry {row.batch_id} --row {row.number}` tries it again")
    if row.state is JobState.WORKING or (row.state is JobState.WAITING and row.reason not in _MAY_HURRY):
        when = f", due {in_utc(row.due_at)}" if row.due_at is not None else ""
        return Refused(f"a session is being asked for already{when}", row.what_follows)
    if row.state is JobState.WAITING and row.due_at is not None and row.due_at <= now:
        return Refused("a new session is being asked for already", row.what_follows)
    if row.state is JobState.ISSUED and link is not None and link.works(now) and row.channel.value != "none":
        return Refused("the present link has not been sent yet", "its message follows by itself")
    return None


def _before(rules: DeskRules, row: Row, link: Link | None, *, now: datetime) -> Before | Refused:
    if link is None or link.state is SessionState.EXPIRED or row.state is JobState.WAITING:
        return Before.NOTHING
    if link.state is SessionState.UNBOUGHT:
        why = "the customer's link leads to a session already, which is bought when the customer comes"
        return Refused(why, "`onboard customer resend` sends the link again")
    if link.state not in LIVE_SESSIONS:
        return Before.NOTHING if row.state is JobState.LAPSED else Refused(meaning_of(Reason.SESSION_DECIDED))
    if link.expires_at > now:
        allowed_from = rules.allowed_from.get(link.account)
        if allowed_from is None:
            return Refused(f"the account {link.account} is not in the configuration", "correct the configuration")
        if allowed_from(link.expires_at) > now:
            ends = in_utc(link.expires_at)
            why = f"the account {link.account} gives no other link before the present one has ended, {ends}"
            return Refused(why, "`onboard customer resend` sends the present link again")
        return Before.SUPERSEDED
    over = link.expires_at + SETTLES
    if over > now:
        return Refused(
            "the link has just ended, and the customer's result may still come", f"ask again after {in_utc(over)}"
        )
    return Before.ASKED if not link.asked and link.account in rules.lists else Before.EXPIRED


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
    if (refused := not_serviceable(case) or in_a_pause(case.row)) is not None:
        return refused
    allowed_from = rules.allowed_from.get(link.account)
    given = GivenLink(
        went=True,
        expires_at=link.expires_at,
        allowed_from=link.expires_at if allowed_from is None else allowed_from(link.expires_at),
        cap=spent(rules.contact.caps, reissues=case.sessions - 1, messages=case.messages),
    )
    has = f"the present link has gone to the old address, and opens there until {in_utc(link.expires_at)}"
    match after_corrected_address(given, rules.contact.corrected, now=now):
        case AnotherSession():
            return decide_new_link(rules, case, now=now)
        case WaitForEnd():
            return Refused(f"{has}; another one follows its end, if the customer has not finished", SAME_LINK)
        case Spent(cap):
            return Refused(f"{has}, and {meaning_of(cap)}", SAME_LINK)
        case _:
            return PresentLink()
