"""Decides whether and when a session that ended unused is replaced. Pure (docs/reference/reissue.md).

    the session, its job, the caps  --decide-->  Reissue | Lapsed | Wait | Leave

Thousands of sessions may end in the same minute. This module only decides the order in which their jobs are claimed;
the account's budget decides the speed, and so spreads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import ENDED_JOBS, LIVE_SESSIONS, JobState, SessionState
from onboarding_worker.core.rules.contact import ContactPolicy, spent
from onboarding_worker.core.rules.given_links import AnotherSession, GivenLink, SameLink, after_corrected_address
from onboarding_worker.core.rules.quiet_hours import issue_at, leaves_by

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
    the job's channels that reach the customer, `zones` the time zones that it may be in. `reissues` counts the sessions
    after the first, `messages` the customer's messages that count, `reissued_today` the account's reissues since 0:00
    UTC. `outcome_unknown`: the outcome of one of the job's calls is unknown. `lists`: the provider lists its sessions;
    `can_ask`: and it may be called now; `asked_at`: when it was last asked about this one. `end_is_theirs`: its end is
    the provider's word. `in_review`: the customer has submitted, and the provider has not decided; `in_review_before`:
    so it is with an earlier one. `link_until`: until when our own link, which the customer has, leads on; None:
    messages have the session's. `given_away`: the link went to an address that was corrected since, and it is not
    decided that it goes to the new one. `max_age`: how old a link of the next session may be when it leaves: its
    account's lifetime less its freshness floor. `refused`: the provider has refused the customer, who is to be asked
    once more if `may_ask_again`; `asked_again`: this is that session.
    """

    job: JobState
    session: SessionState
    issued_at: datetime
    expires_at: datetime
    allowed_from: datetime
    channels: Sequence[str]
    zones: tuple[str, ...]
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
    end_is_theirs: bool = True
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
    contact: ContactPolicy,
    issued_at: datetime,
    expires_at: datetime,
    allowed_from: datetime,
    last_message: datetime | None = None,
) -> datetime | None:
    """When a link is replaced before its end; None: it is not. Times are aware.

    `allowed_from` as for `replace_at`. `last_message`: until when a message may leave before the end (`leaves_by`); if
    that is not known, the result is the earliest time that it could make. Never in the first half of the link's life:
    a vendor whose links live shorter than `ahead` would be asked for one after the other.
    """
    if not contact.ahead or allowed_from >= expires_at:
        return None
    earliest = max(issued_at + (expires_at - issued_at) / 2, issued_at + contact.spacing)
    if last_message is None:
        last_message = earliest if contact.hours.quiet else expires_at
    at = max(last_message - contact.ahead, earliest)
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


@dataclass(frozen=True)
class _Case:
    """What a decision is made from."""

    contact: ContactPolicy
    facts: SessionFacts
    now: datetime

    def due_at(self, earliest: datetime) -> datetime:
        """When a new session may be asked for: not before its message could leave."""
        facts, quiet = self.facts, self.contact.hours.quiet
        return issue_at(facts.channels, facts.zones, quiet, max_age=facts.max_age, now=earliest)

    @property
    def lapse(self) -> Reason | None:
        """Why the customer gets no other session; None: one is allowed."""
        facts = self.facts
        return spent(self.contact.caps, reissues=facts.reissues, messages=facts.messages) or (
            None if facts.channels else Reason.SUPPRESSED
        )

    @property
    def tomorrow(self) -> Wait | None:
        """The wait for the next day, if the account has opened its sessions of this one."""
        if self.contact.per_day is None or self.facts.reissued_today < self.contact.per_day:
            return None
        tomorrow = self.now.astimezone(UTC).date() + timedelta(days=1)
        return Wait(datetime.combine(tomorrow, time(), UTC), Reason.DAY_CAP)


def decide(contact: ContactPolicy, facts: SessionFacts, now: datetime) -> Decision:
    """The decision about a session that has ended unused, or is about to."""
    case = _Case(contact, facts, now)
    if facts.erased:
        return Stands() if facts.refused or facts.asked_again else Leave(Reason.ERASED)
    if facts.job is JobState.HELD or facts.outcome_unknown:
        return Wait(None, Reason.UNKNOWN)
    if facts.job is JobState.ISSUED and facts.link_until is not None and facts.link_until > now:
        return Wait(facts.link_until, Reason.NOT_INVITED)  # its message has our own link, which leads on
    if facts.job is JobState.ISSUED and facts.given_away and facts.expires_at > now:
        return Wait(now + LEAVING, Reason.NOT_INVITED)
    early = _ahead_at(case)
    if facts.job is JobState.ISSUED and early is not None and facts.expires_at > now:
        return Wait(max(early, now + LEAVING), Reason.NOT_INVITED)
    if facts.job is not JobState.INVITED:
        if facts.in_review and facts.lists and facts.job not in ENDED_JOBS:
            return Wait(now + REVIEW_ASKED, Reason.IN_REVIEW)  # what is under way ends first
        return Leave(Reason.JOB_ENDED if facts.job in ENDED_JOBS else Reason.NOT_INVITED)
    if facts.refused:
        return _after_refusal(case)
    waits_for_press = facts.session is SessionState.DEFERRED and facts.link_until is not None
    if facts.session not in LIVE_SESSIONS | {SessionState.EXPIRED} and not waits_for_press:
        return Leave(Reason.SESSION_DECIDED)
    if facts.in_review:
        return _about_review(facts, now)
    if facts.given_away and facts.session in LIVE_SESSIONS and facts.expires_at > now and not facts.in_review_before:
        return _given_away(case)
    over = _over_at(facts)
    if early is not None and case.lapse is None:
        if facts.expires_at > now:
            return _before_its_end(case, early)
        over = facts.expires_at  # its replacement is late
    if over > now:
        return Wait(over, Reason.ALIVE)
    if facts.in_review_before:
        return Wait(now + REVIEWED_AGAIN, Reason.IN_REVIEW)
    # An end that the provider has reported itself needs no question.
    unasked = facts.session in LIVE_SESSIONS and not asked_since_end(facts.asked_at, facts.expires_at)
    may_ask = facts.can_ask and unasked
    if unasked and facts.lists and not facts.can_ask and not facts.end_is_theirs:
        return Wait(now + REVIEWED_AGAIN, Reason.ALIVE)  # it may live, and another account would open a second one
    if facts.asked_again:
        return Ask() if may_ask else Stands()
    if facts.link_until is not None:
        if may_ask:
            return Ask()
        if facts.link_until > now:
            return Rest(facts.link_until)
        return Lapsed(Reason.LINK_ENDED, Reason.LINK_ENDED.meaning)
    if case.lapse is not None:
        return Ask() if may_ask else Lapsed(case.lapse, case.lapse.meaning)
    if case.tomorrow is not None:
        return case.tomorrow
    if may_ask:
        return Ask()
    return _reissue(case)


def _reissue(case: _Case) -> Reissue:
    facts = case.facts
    earliest = replace_at(
        allowed_from=facts.allowed_from,
        issued_at=facts.issued_at,
        expires_at=facts.expires_at,
        spacing=case.contact.spacing,
        reported_over=facts.session is SessionState.EXPIRED or facts.refused,
        reissues=facts.reissues,
        now=case.now,
    )
    return Reissue(case.due_at(earliest))


def _after_refusal(case: _Case) -> Decision:
    """A refused customer is asked once more under the caps of any reissue; where one is used up, the refusal stands."""
    if case.facts.in_review_before:
        return Wait(case.now + REVIEWED_AGAIN, Reason.IN_REVIEW)
    if not case.facts.may_ask_again or case.lapse is not None:
        return Stands()
    return case.tomorrow or _reissue(case)


def _ahead_at(case: _Case) -> datetime | None:
    """When the link is replaced before its end; None: it is not, as of a customer who has started.

    If it ends in quiet hours, that is before they begin: no message could leave in them.
    """
    facts, end = case.facts, case.facts.expires_at
    if facts.session is not SessionState.WAITING or facts.in_review or facts.in_review_before:
        return None
    if facts.link_until is not None or facts.given_away:
        return None
    last_message = leaves_by(facts.channels, facts.zones, case.contact.hours.quiet, end)
    return ahead_at(case.contact, facts.issued_at, end, facts.allowed_from, last_message)


def _before_its_end(case: _Case, early: datetime) -> Reissue | Wait:
    """About a link that still opens. Where it cannot be replaced before its end, it is decided about then."""
    end = case.facts.expires_at
    if (due_at := case.due_at(max(early, case.now))) > case.now:
        return Wait(min(due_at, end), Reason.ALIVE)
    if (tomorrow := case.tomorrow) is not None:
        return tomorrow if tomorrow.until is not None and tomorrow.until < end else Wait(end, Reason.ALIVE)
    return Reissue(due_at, ahead=True)


def _given_away(case: _Case) -> Decision:
    """About a link that still opens at an address that was corrected. `spacing` does not hold: the customer has had
    nothing at the new address."""
    facts = case.facts
    link = GivenLink(went=True, expires_at=facts.expires_at, allowed_from=facts.allowed_from, cap=case.lapse)
    match after_corrected_address(link, case.contact.corrected, now=case.now):
        case AnotherSession():
            return case.tomorrow or Reissue(case.due_at(case.now), still_opens=True)
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
