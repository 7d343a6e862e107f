"""Whether and when a session that ended unused is replaced. Pure (docs/reissue.md).

    the session, its job, the caps  --decide-->  Reissue | Lapsed | Wait | Leave

Thousands of sessions end in the same minute. What is decided here is only the order in which their jobs are taken; how
fast, and so how they are spread, is the account's budget's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from worker.domain.contact.caps import Caps, spent
from worker.domain.contact.contact_times import issue_at
from worker.domain.contact.quiet_hours import QuietHours
from worker.domain.model.reasons import Reason
from worker.domain.model.states import LIVE_SESSIONS, JobState, SessionState

# How long after a link's end its result may still come. Whoever opened the link in its last minute is still at it then,
# and would be asked to begin anew: an iDenfy session may go on for ten minutes, and its webhook takes some more.
SETTLES = timedelta(minutes=15)


@dataclass(frozen=True)
class ReissueRule:
    """What the configuration and the account's adapter say.

    `spacing` is the least time between two sessions of one customer. `per_day` is the most sessions that an account
    opens as reissues in a UTC day, None: any number. `ahead` is how long before a link's end it may be replaced where
    the provider gives another one at any time; zero, since whoever finishes on the last day costs no second session.
    `max_age` is how old a link may be when it leaves: its lifetime less its freshness floor.
    """

    caps: Caps
    spacing: timedelta
    per_day: int | None
    max_age: timedelta
    ahead: timedelta = timedelta(0)
    settles: timedelta = SETTLES


@dataclass(frozen=True)
class SessionFacts:
    """A customer's last session for a purpose, and its job. Times are aware.

    `session` EXPIRED: the provider has said so. `allowed_from` is `Provider.reissue_at(expires_at)`. `channels` are the
    job's that may be written to. `reissues` are its sessions after the first, `messages` the customer's that count,
    `reissued_today` the account's reissues since 0:00 UTC. `outcome_unknown`: a call of the job whose outcome nobody
    knows. `in_review`: the customer has done its part, and the provider has not decided.
    """

    job: JobState
    session: SessionState
    issued_at: datetime
    expires_at: datetime
    allowed_from: datetime
    channels: Sequence[str]
    reissues: int
    messages: int
    reissued_today: int = 0
    outcome_unknown: bool = False
    in_review: bool = False
    erased: bool = False


@dataclass(frozen=True)
class Reissue:
    """The session is over: its job waits for a new one, due then."""

    due_at: datetime


@dataclass(frozen=True)
class Lapsed:
    """The session is over, and so is the job: the customer gets no other one."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class Wait:
    """To be looked at again: at `until`, or, where that is None, when something else changes the job."""

    until: datetime | None
    why: Reason


@dataclass(frozen=True)
class Leave:
    """Nothing of this session is to be replaced any more."""

    why: Reason


Decision = Reissue | Lapsed | Wait | Leave


def decide(
    rule: ReissueRule,
    facts: SessionFacts,
    zones: tuple[str, ...],
    quiet: Mapping[str, QuietHours],
    now: datetime,
) -> Decision:
    """What becomes of a session that has ended unused, or is about to.

    `zones` and `quiet` are as for `issue_at`: a new session is asked for no earlier than its message could leave.
    """
    if facts.erased:
        return Leave(Reason.ERASED)
    if facts.job is JobState.HELD or facts.outcome_unknown:
        return Wait(None, Reason.UNKNOWN)
    if facts.job is not JobState.INVITED:
        ended = facts.job in (JobState.COMPLETED, JobState.LAPSED, JobState.FAILED, JobState.CANCELLED)
        return Leave(Reason.JOB_ENDED if ended else Reason.NOT_INVITED)
    if facts.session not in LIVE_SESSIONS | {SessionState.EXPIRED}:
        return Leave(Reason.SESSION_DECIDED)
    if facts.in_review:
        return Wait(None, Reason.IN_REVIEW)
    over = _over_at(rule, facts)
    if over > now:
        return Wait(over, Reason.ALIVE)
    lapse = _lapse(rule.caps, facts)
    if lapse is not None:
        # Not before the link's own end, even where another one could be had: the customer may still use this one.
        end = _end(rule, facts)
        return Wait(end, Reason.ALIVE) if end > now else Lapsed(lapse, lapse.meaning)
    if rule.per_day is not None and facts.reissued_today >= rule.per_day:
        tomorrow = now.astimezone(UTC).date() + timedelta(days=1)
        return Wait(datetime.combine(tomorrow, time(), UTC), Reason.DAY_CAP)
    earliest = max(now, facts.issued_at + rule.spacing)
    return Reissue(issue_at(facts.channels, zones, quiet, invite_at=None, max_age=rule.max_age, now=earliest))


def _end(rule: ReissueRule, facts: SessionFacts) -> datetime:
    """When nothing can come of the session any more; the provider's word for it counts at once."""
    return facts.issued_at if facts.session is SessionState.EXPIRED else facts.expires_at + rule.settles


def _over_at(rule: ReissueRule, facts: SessionFacts) -> datetime:
    """When the session may be replaced: at its end; before it only where the provider gives another one, and we ask."""
    end = _end(rule, facts)
    if rule.ahead:
        end = min(end, facts.expires_at - rule.ahead)
    return max(end, facts.allowed_from)


def _lapse(caps: Caps, facts: SessionFacts) -> Reason | None:
    return spent(caps, reissues=facts.reissues, messages=facts.messages) or (
        None if facts.channels else Reason.SUPPRESSED
    )
