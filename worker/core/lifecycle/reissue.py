"""Decides whether and when a session that ended unused is replaced. Pure (docs/reference/reissue.md).

    the session, its job, the caps  --decide-->  Reissue | Lapsed | Wait | Leave

Thousands of sessions may end in the same minute. This module only decides the order in which their jobs are claimed;
the account's budget decides the speed, and so spreads them.

What becomes of a session whose link has gone to an address that was corrected since. Pure.

    the link, the account, the caps, the rule  --after_corrected_address-->  NewSession | SameLink | Wait | Spent | None

The owner of the old address can open the link until its end, and no provider takes it back. So it goes to no other
address, unless the configuration or a person says so: the new address gets another session, at once where the provider
opens one early, else after the end of the present one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from worker.core.messages.caps import Caps, spent
from worker.core.messages.contact import ContactPolicy, CorrectedRule
from worker.core.messages.quiet_hours import QuietHours, issue_at
from worker.core.model.channels import ADDRESSES, Address
from worker.core.model.reasons import Reason
from worker.core.model.states import ENDED_JOBS, LIVE_SESSIONS, InvitationState, JobState, SessionState

# A message in one of these states has left, or may have: of a held one it is not known.
MAY_HAVE_LEFT = (InvitationState.WORKING, InvitationState.SENT, InvitationState.DELIVERED, InvitationState.HELD)


@dataclass(frozen=True)
class GivenLink:
    """A session's link, when an address of its customer is corrected. Times are aware.

    `went`: a message with it to the old address has left, or may have. `unopened`: that message carried our own link,
    which was never opened: it is revoked, and no one has the session's. `allowed_from`: when the account opens another
    session (`Provider.reissue_at`). `cap`: the cap that is used up, if one is.
    """

    went: bool
    expires_at: datetime
    allowed_from: datetime
    unopened: bool = False
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


def after_corrected_address(
    link: GivenLink, rule: CorrectedRule, *, same_link: bool = False, now: datetime
) -> After | None:
    """What follows; None: no one has a link that opens. `same_link`: a person has decided for it."""
    if not link.went or link.expires_at <= now:
        return None
    if link.unopened or same_link:
        return SameLink()
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


GIVEN_AWAY = written(ADDRESSES)  # all of them


# How long after a link's end its result may still come. A customer who opened the link in its last minute is still busy
# then, and must not be asked to start again: an iDenfy session may take ten minutes, and its webhook some more.
SETTLES = timedelta(minutes=15)
# How often a session that has ended is looked at while an earlier one is in review. An update on that one alone does
# not say that this one is to be looked at.
REVIEWED_AGAIN = timedelta(hours=1)
# How often the provider is asked about a customer in review: the webhook with its decision may be lost.
REVIEW_ASKED = timedelta(days=1)
# How soon a session is looked at again whose address was corrected while its message was leaving.
LEAVING = timedelta(minutes=1)


@dataclass(frozen=True)
class SessionFacts:
    """A customer's last session for a purpose, and its job. Times are aware.

    `session` EXPIRED: the provider has reported it. `allowed_from` is `Provider.reissue_at(expires_at)`. `channels` are
    the job's channels that reach the customer. `reissues` counts the sessions after the first, `messages` the
    customer's messages that count, `reissued_today` the account's reissues since 0:00 UTC. `outcome_unknown`: the
    outcome of one of the job's calls is unknown. `lists`: the provider lists its sessions; `can_ask`: and it may be
    called now; `asked_at`: when it was last asked about this one. `in_review`: the customer has submitted, and the
    provider has not decided; `in_review_before`: so it is with an earlier one. `link_until`: until when our own link,
    which the customer has, leads on; None: messages have the session's. `given_away`: the link went to an address that
    was corrected since, and it is not decided that it goes to the new one. `max_age`: how old a link of the next
    session may be when it leaves: its account's lifetime less its freshness floor. `refused`: the provider has refused
    the customer, who is to be asked once more if `may_ask_again`; `asked_again`: this is that session.
    """

    job: JobState
    session: SessionState
    issued_at: datetime
    expires_at: datetime
    allowed_from: datetime
    channels: Sequence[str]
    reissues: int
    messages: int
    max_age: timedelta
    reissued_today: int = 0
    outcome_unknown: bool = False
    in_review: bool = False
    in_review_before: bool = False
    lists: bool = False
    can_ask: bool = False
    asked_at: datetime | None = None
    erased: bool = False
    link_until: datetime | None = None
    given_away: bool = False
    refused: bool = False
    may_ask_again: bool = False
    asked_again: bool = False


def replace_at(
    *,
    allowed_from: datetime,
    issued_at: datetime,
    expires_at: datetime,
    spacing: timedelta,
    reported_over: bool,
    reissues: int,
    now: datetime,
) -> datetime:
    """When a session that ended, or a link that aged before it was sent, may be replaced. Times are aware.

    `allowed_from` is `Provider.reissue_at(expires_at)`; it does not hold for a session of which the provider itself has
    `reported_over`: that session cannot get a result any more. The first session that the provider ends before its time
    is replaced at once; `reissues` counts the sessions after the first. All others are `spacing` apart.
    """
    if reported_over:
        allowed_from = now
        if expires_at > now and not reissues:
            return now
    return max(now, allowed_from, issued_at + spacing)


def ahead_at(
    issued_at: datetime, expires_at: datetime, allowed_from: datetime, *, ahead: timedelta, spacing: timedelta
) -> datetime | None:
    """When a link is replaced before its end; None: it is not. Times are aware.

    `allowed_from` as for `replace_at`. Never in the first half of its life: a vendor whose links live shorter than
    `ahead` would be asked for one after the other.
    """
    if not ahead or allowed_from >= expires_at:
        return None
    at = max(expires_at - ahead, issued_at + (expires_at - issued_at) / 2, issued_at + spacing)
    return at if at < expires_at else None


@dataclass(frozen=True)
class Reissue:
    """The session is over: its job waits for a new session, due at `due_at`. `still_opens`: it is replaced before its
    end, since its link went to an address that was corrected. `ahead`: the customer has not started, and it ends soon:
    it stays live until the new session is recorded."""

    due_at: datetime
    still_opens: bool = False
    ahead: bool = False


@dataclass(frozen=True)
class Ask:
    """The session is over by our clock, or its review lasts: the provider is asked what became of it. A webhook may be
    lost."""


@dataclass(frozen=True)
class Lapsed:
    """The session is over, and so is the job: the customer gets no other session."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class Stands:
    """The customer was refused, and that stays: nothing follows, or what followed has ended unused."""


@dataclass(frozen=True)
class Wait:
    """Check the session again at `until`; None: when something else changes the job."""

    until: datetime | None
    why: Reason


@dataclass(frozen=True)
class Rest:
    """The session is over, and its customer has our own link: another one is opened when the customer comes. The job
    stays as it is until `until`."""

    until: datetime


@dataclass(frozen=True)
class Leave:
    """This session is never replaced."""

    why: Reason


Decision = Reissue | SameLink | Lapsed | Stands | Ask | Wait | Rest | Leave


def decide(
    contact: ContactPolicy,
    facts: SessionFacts,
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    now: datetime,
) -> Decision:
    """The decision about a session that has ended unused, or is about to.

    `zones` and `quiet` are as for `issue_at`: a new session is not requested before its message could leave.
    """
    if facts.erased:
        return Stands() if facts.refused or facts.asked_again else Leave(Reason.ERASED)
    if facts.job is JobState.HELD or facts.outcome_unknown:
        return Wait(None, Reason.UNKNOWN)
    if facts.job is JobState.ISSUED and facts.link_until is not None and facts.link_until > now:
        return Wait(facts.link_until, Reason.NOT_INVITED)  # its message has our own link, which leads on
    if facts.job is JobState.ISSUED and facts.given_away and facts.expires_at > now:
        return Wait(now + LEAVING, Reason.NOT_INVITED)
    early = _ahead_at(contact, facts)
    if facts.job is JobState.ISSUED and early is not None and facts.expires_at > now:
        return Wait(max(early, now + LEAVING), Reason.NOT_INVITED)
    if facts.job is not JobState.INVITED:
        if facts.in_review and facts.lists and facts.job not in ENDED_JOBS:
            return Wait(now + REVIEW_ASKED, Reason.IN_REVIEW)  # what is under way ends first
        return Leave(Reason.JOB_ENDED if facts.job in ENDED_JOBS else Reason.NOT_INVITED)
    if facts.refused:
        return _after_refusal(contact, facts, zones, quiet, now)
    waits_for_press = facts.session is SessionState.UNBOUGHT and facts.link_until is not None
    if facts.session not in LIVE_SESSIONS | {SessionState.EXPIRED} and not waits_for_press:
        return Leave(Reason.SESSION_DECIDED)
    if facts.in_review:
        return _about_review(facts, now)
    if facts.given_away and facts.session in LIVE_SESSIONS and facts.expires_at > now and not facts.in_review_before:
        return _given_away(contact, facts, zones, quiet, now)
    over = _over_at(facts)
    if early is not None and facts.expires_at > now:
        return _before_its_end(contact, facts, zones, quiet, now, early=early)
    if over > now:
        return Wait(over, Reason.ALIVE)
    if facts.in_review_before:
        return Wait(now + REVIEWED_AGAIN, Reason.IN_REVIEW)
    # An end that the provider has reported itself needs no question.
    asks = facts.can_ask and facts.session in LIVE_SESSIONS and not asked_since_end(facts.asked_at, facts.expires_at)
    if facts.asked_again:
        return Ask() if asks else Stands()
    if facts.link_until is not None:
        if asks:
            return Ask()
        if facts.link_until > now:
            return Rest(facts.link_until)
        return Lapsed(Reason.LINK_ENDED, Reason.LINK_ENDED.meaning)
    lapse = _lapse(contact.caps, facts)
    if lapse is not None:
        return Ask() if asks else Lapsed(lapse, lapse.meaning)
    if (tomorrow := _tomorrow(contact, facts, now)) is not None:
        return tomorrow
    if asks:
        return Ask()
    return _reissue(contact, facts, zones, quiet, now)


def _reissue(
    contact: ContactPolicy, facts: SessionFacts, zones: tuple[str, ...], quiet: Mapping[str, QuietHours], now: datetime
) -> Reissue:
    earliest = replace_at(
        allowed_from=facts.allowed_from,
        issued_at=facts.issued_at,
        expires_at=facts.expires_at,
        spacing=contact.spacing,
        reported_over=facts.session is SessionState.EXPIRED or facts.refused,
        reissues=facts.reissues,
        now=now,
    )
    return Reissue(issue_at(facts.channels, zones, quiet, max_age=facts.max_age, now=earliest))


def _after_refusal(
    contact: ContactPolicy, facts: SessionFacts, zones: tuple[str, ...], quiet: Mapping[str, QuietHours], now: datetime
) -> Decision:
    """A refused customer is asked once more under the caps of any reissue; where one is used up, the refusal stands."""
    if facts.in_review_before:
        return Wait(now + REVIEWED_AGAIN, Reason.IN_REVIEW)
    if not facts.may_ask_again or _lapse(contact.caps, facts) is not None:
        return Stands()
    return _tomorrow(contact, facts, now) or _reissue(contact, facts, zones, quiet, now)


def _ahead_at(contact: ContactPolicy, facts: SessionFacts) -> datetime | None:
    """When the link is replaced before its end; None: it is not, as of a customer who has started."""
    if facts.session is not SessionState.WAITING or facts.in_review or facts.in_review_before:
        return None
    if facts.link_until is not None or facts.given_away:
        return None
    times = (facts.issued_at, facts.expires_at, facts.allowed_from)
    return ahead_at(*times, ahead=contact.ahead, spacing=contact.spacing)


def _before_its_end(
    contact: ContactPolicy,
    facts: SessionFacts,
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    now: datetime,
    *,
    early: datetime,
) -> Reissue | Wait:
    """About a link that still opens. Where it cannot be replaced before its end, it is decided about after it."""
    if early > now:
        return Wait(early, Reason.ALIVE)
    after = Wait(_over_at(facts), Reason.ALIVE)
    if _lapse(contact.caps, facts) is not None:
        return after
    if (tomorrow := _tomorrow(contact, facts, now)) is not None:
        return tomorrow if tomorrow.until is not None and tomorrow.until < facts.expires_at else after
    due_at = issue_at(facts.channels, zones, quiet, max_age=facts.max_age, now=now)
    return Reissue(due_at, ahead=True) if due_at < facts.expires_at else after


def _tomorrow(contact: ContactPolicy, facts: SessionFacts, now: datetime) -> Wait | None:
    """The wait for the next day, if the account has opened its sessions of this one."""
    if contact.per_day is None or facts.reissued_today < contact.per_day:
        return None
    tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
    return Wait(datetime.combine(tomorrow, time(), UTC), Reason.DAY_CAP)


def _given_away(
    contact: ContactPolicy,
    facts: SessionFacts,
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    now: datetime,
) -> Decision:
    """About a link that still opens at an address that was corrected. `spacing` does not hold: the customer has had
    nothing at the new address."""
    cap = _lapse(contact.caps, facts)
    link = GivenLink(went=True, expires_at=facts.expires_at, allowed_from=facts.allowed_from, cap=cap)
    match after_corrected_address(link, contact.corrected, now=now):
        case AnotherSession():
            due_at = issue_at(facts.channels, zones, quiet, max_age=facts.max_age, now=now)
            return _tomorrow(contact, facts, now) or Reissue(due_at, still_opens=True)
        case SameLink() as same:
            return same
        case _:  # at its end it is decided as for any session
            return Wait(max(facts.expires_at + SETTLES, facts.allowed_from), Reason.ALIVE)


def asked_since_end(asked_at: datetime | None, expires_at: datetime) -> bool:
    """True if the provider was asked what became of the session after its link's end: one answer is enough."""
    return asked_at is not None and asked_at >= expires_at


def _about_review(facts: SessionFacts, now: datetime) -> Ask | Wait:
    """A review may take any time. Where the provider lists its sessions, it is asked about it each day."""
    if not facts.lists:
        return Wait(None, Reason.IN_REVIEW)
    again = now if facts.asked_at is None else facts.asked_at + REVIEW_ASKED
    if facts.can_ask and again <= now:
        return Ask()
    return Wait(max(again, now + REVIEWED_AGAIN), Reason.IN_REVIEW)


def _over_at(facts: SessionFacts) -> datetime:
    """When the session can get no result any more and the provider opens another; at once if it has reported the end.

    Never earlier: a customer who finishes on the last day then costs no second session.
    """
    if facts.session is SessionState.EXPIRED:
        return facts.issued_at
    return max(facts.expires_at + SETTLES, facts.allowed_from)


def _lapse(caps: Caps, facts: SessionFacts) -> Reason | None:
    return spent(caps, reissues=facts.reissues, messages=facts.messages) or (
        None if facts.channels else Reason.SUPPRESSED
    )
