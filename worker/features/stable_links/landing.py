"""What a visitor of a stable link gets: the session, a page, or a session that is asked for now. Pure.

the link, the customer's job and session, the caps  --at_landing-->  Lead | Buy | Press | Wait | Finished | Over | Gone
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import LIVE_SESSIONS, JobState, SessionState
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.core.rules.reissue import SETTLES

# A job that waits for one of these reasons waits for a time, not for an answer: a customer who came may hurry it.
MAY_HURRY = {
    *("", Reason.SESSION_EXPIRED, Reason.STALE_LINK, Reason.NEW_LINK, Reason.QUIET_HOURS, Reason.WAITS_FOR_SENDER),
    *(Reason.ADDRESS_SPENT, Reason.TAKEN_OVER),
}
# What is settled within so long is not worth a word: the page looks again all the time.
MOMENTS = timedelta(minutes=1)


@dataclass(frozen=True)
class LandingRules:
    """`most`: sessions after the first for one customer and purpose. `per_day`: reissues of an account in a UTC day;
    None: no limit. The time between two sessions ([follow_up] spacing) does not hold: the customer is here now.
    `allowed_from`: when each account opens another session, from the expiry of the one before. `orphans`: for how long
    each account's lost sessions are waited for."""

    most: int
    per_day: int | None
    allowed_from: Mapping[str, Callable[[datetime], datetime]] = field(default_factory=dict)
    orphans: Mapping[str, OrphanRule] = field(default_factory=dict)


@dataclass(frozen=True)
class SessionAtLanding:
    """The job's session. `visited`: a visitor was led to it through this link, so its result may still come.
    `allowed_from`: when its provider opens another one. `in_review`: the customer has submitted, in it or in an
    earlier one, and is being reviewed."""

    state: SessionState
    expires_at: datetime
    allowed_from: datetime
    in_review: bool = False
    visited: bool = False


@dataclass(frozen=True)
class Facts:
    """What is stored of a link, of the job that serves its customer, and of the job's session. Times are aware.

    `sessions`: how many the customer has had for the purpose; `reissued_today`: of the account, since 0:00 UTC.
    `asked_again`: the customer was refused before, so that no session follows the present one.
    `settled_by`: when a waiting job's call is made, or known to have been made, at the latest; None: in moments.
    `session` None: none was opened yet. `paused`: a person, or the batch itself, has paused the job.
    """

    ends_at: datetime
    job: JobState
    reason: str = ""
    link_requested_at: datetime | None = None
    outcome_unknown: bool = False
    settled_by: datetime | None = None
    paused: bool = False
    session: SessionAtLanding | None = None
    sessions: int = 0
    reissued_today: int = 0
    asked_again: bool = False


class Asks(StrEnum):
    """What asks for a session: a visit that counts, where no press is needed, or a press that counts."""

    VISIT = "link.visited"
    PRESS = "link.pressed"


@dataclass(frozen=True)
class Lead:
    """To the live session."""


@dataclass(frozen=True)
class Buy:
    """A session is asked for now. `replaces`: in place of one that has ended; else it is the first."""

    replaces: bool


@dataclass(frozen=True)
class Press:
    """The page with the button: pressing it asks for a session. `replaces`: see `Buy`."""

    replaces: bool = False


@dataclass(frozen=True)
class Wait:
    """A session is being asked for, or cannot be yet. `until`: when there may be news; None: in moments. `since`: when
    the customer has asked for it; None: the customer has not."""

    until: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Finished:
    """The customer has finished, or has submitted and is in review."""


@dataclass(frozen=True)
class Over:
    """There is no way on for this customer now, because of `why`. The visitor is not told it."""

    why: Reason


@dataclass(frozen=True)
class Gone:
    """Unknown, revoked, cancelled, erased or past its end: one page for all, so that none can be told apart."""


Decision = Lead | Buy | Press | Wait | Finished | Over | Gone


def at_landing(rules: LandingRules, facts: Facts, *, asks: Asks | None, now: datetime) -> Decision:
    """The decision. `asks`: what in the request may buy a session; None: nothing. A visit buys the first session alone:
    scanners come again after weeks, and one visit looks like another. Whatever would cost something else is the page
    with the button."""
    if facts.job is JobState.CANCELLED:
        return Gone()
    session = facts.session
    if facts.job is JobState.COMPLETED or (session is not None and session.in_review):
        return Finished()
    if facts.ends_at <= now:
        return Gone()
    if facts.job in (JobState.FAILED, JobState.LAPSED, JobState.HELD):
        return Over(Reason.JOB_ENDED if facts.job is not JobState.HELD else Reason.UNKNOWN)
    waits = facts.job is JobState.WAITING and (facts.link_requested_at is not None or facts.reason not in MAY_HURRY)
    if facts.job is JobState.WORKING or facts.outcome_unknown or waits:
        long = facts.settled_by is not None and facts.settled_by - now > MOMENTS
        return Wait(facts.settled_by if long else None, since=facts.link_requested_at)
    if session is not None and session.state in LIVE_SESSIONS and session.expires_at > now:
        return Lead()
    if facts.paused:
        return Over(Reason.BATCH_PAUSED)
    replaces = facts.sessions > 0
    if session is not None and session.state is not SessionState.DEFERRED:
        found = _after(rules, facts, session, now=now)
        if found is not None:
            return found
        replaces = True
    may_buy = asks is Asks.PRESS or (asks is Asks.VISIT and not replaces)
    return Buy(replaces) if may_buy else Press(replaces)


def _after(rules: LandingRules, facts: Facts, session: SessionAtLanding, *, now: datetime) -> Decision | None:
    """Why no session follows one that has ended now; None: one may."""
    undecided = session.state in LIVE_SESSIONS | {SessionState.EXPIRED, SessionState.SUPERSEDED}
    if facts.asked_again or not undecided:
        return Over(Reason.SESSION_DECIDED)
    if session.state in LIVE_SESSIONS:  # over by our clock alone
        earliest = max(session.allowed_from, session.expires_at + SETTLES if session.visited else now)
        if earliest > now:
            return Wait(earliest)
    if facts.sessions > rules.most:
        return Over(Reason.REISSUES_SPENT)
    if rules.per_day is not None and facts.reissued_today >= rules.per_day:
        return Over(Reason.DAY_CAP)
    return None
