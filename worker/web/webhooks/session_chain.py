"""Decides what is known of a customer's sessions after a provider's updates, and of the jobs that they serve. Pure.

    webhook --adapter's read--> SessionUpdate --known_after--> KnownSession, or no change
    what is known of a session, its job  --job_after-->  the job

Webhooks come late, twice and in any order. So an update has a rank and a time, and what ranks higher stays. Where rank
or time differ, the order of arrival does not matter. It refuses what may be a replay of an old verdict
(`may_be_replay`). docs/reference/webhooks.md describes the same for operators.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from onboarding_worker.core.model.reasons import ABOUT_ANOTHER, Reason
from onboarding_worker.core.model.refusals import asks_again
from onboarding_worker.core.model.states import LIVE_SESSIONS, OPEN_JOBS, JobState, Result, SessionState
from onboarding_worker.core.rules.reissue import REVIEW_ASKED, SETTLES, replace_at
from onboarding_worker.providers.webhooks.contract import LISTED, Rank, SessionUpdate

# For this long a copy of a webhook is recognised by the digest of its bytes (`retention`). For older copies see
# `may_be_replay`.
DIGESTS_KEPT = timedelta(days=30)


@dataclass(frozen=True)
class KnownSession:
    """What is known of a session, with the rank, time and weight of the last update: stored with the session.

    A session without an update is `KnownSession()`, and a session that our own clock calls expired is
    `KnownSession(SessionState.EXPIRED)`: any update of the provider outweighs both. A session that we replaced is
    `REPLACED`.
    """

    state: SessionState = SessionState.WAITING
    result: Result | None = None
    rank: Rank = Rank.NOTHING
    at: datetime | None = None
    weight: int = 0
    reasons: tuple[str, ...] = ()
    note: str = field(default="", compare=False)

    @property
    def is_refused(self) -> bool:
        return self.state is SessionState.FAILED and self.result is Result.DENIED

    @property
    def has_verdict(self) -> bool:
        """A refusal is a verdict too. An expired session has none: it is a reason for a reissue."""
        return self.state is SessionState.COMPLETED or self.is_refused

    @property
    def has_failed(self) -> bool:
        """Whether the session was cancelled or deleted at the provider, so that its job fails."""
        return self.state is SessionState.FAILED and not self.is_refused

    @property
    def result_word(self) -> str:
        return self.result.value if self.result else ""


# For a replaced session only a verdict still counts: the customer may have finished with the old link.
REPLACED = KnownSession(SessionState.SUPERSEDED, rank=Rank.ENDED)


def known_after(known: KnownSession, update: SessionUpdate, *, received_at: datetime) -> KnownSession | None:
    """What is known of the session after the update; None where the update changes nothing.

    `received_at` (aware UTC) replaces the time of an event that has none, or has one in the future. Of two updates with
    the same rank, time and weight the one that came later counts: a provider's second decision may have the time at
    which the customer finished, like the first. So a webhook must never be applied twice.

    A provider's list gives no reasons for a verdict: they are those of the last webhook that says the same, whichever
    of the two came first.
    """
    if update.state is None:
        return None
    at = min(update.happened_at or received_at, received_at)
    if known.state is SessionState.SUPERSEDED and update.rank <= known.rank:
        return None
    same = (known.state, known.result, known.rank) == (update.state, update.result, update.rank)
    if (update.rank, at, update.weight) < (known.rank, known.at or at, known.weight):
        explains = same and known.weight == LISTED and update.reasons not in ((), known.reasons)
        return replace(known, reasons=update.reasons) if explains else None
    reasons = known.reasons if same and update.weight == LISTED else update.reasons
    following = KnownSession(update.state, update.result, update.rank, at, update.weight, reasons, update.note)
    return None if following == known else following


def may_be_replay(known: KnownSession, update: SessionUpdate, *, opened_at: datetime, received_at: datetime) -> bool:
    """True if this verdict may be a replay of one that we applied before the known one.

    Two things must hold: the verdict does not show that it is the later one, so that only its arrival would decide; and
    the session is so old that copies of its first webhooks are no longer recognised by digest. Times are aware UTC.
    """
    if update.vouched or update.rank is not Rank.FINAL or known.rank is not Rank.FINAL:
        return False
    undecided = update.happened_at is None or (update.happened_at, update.weight) == (known.at, known.weight)
    return undecided and received_at - opened_at >= DIGESTS_KEPT


# A job that waits for one of these reasons waits for its session's end, or for the time after it.
FOR_THE_END = (Reason.SESSION_ENDS_FIRST, Reason.STALE_LINK)


@dataclass(frozen=True)
class Again:
    """When a session that ended before its link was sent is replaced: at most `most` times for a customer, and
    `spacing` apart."""

    most: int
    spacing: timedelta = timedelta(0)
    refused_for: frozenset[str] = frozenset()  # the reasons for which a refused customer is asked once more


@dataclass(frozen=True)
class Link:
    """One of a customer's sessions for a purpose, opened for the job `job_id`. Times are aware. `past`: the customer
    was asked to renew since, or another person has the id now. `company_id` is the provider's."""

    id: uuid.UUID
    job_id: int
    issued_at: datetime
    expires_at: datetime
    check_at: datetime | None
    known: KnownSession
    past: bool = False
    company_id: str = ""


@dataclass(frozen=True)
class JobNow:
    """A job of the same customer and purpose that joined no other job.

    `unknown_attempt`: a call for a session of the job, with an unknown outcome. `message_out`: a message of the job has
    left; `silent`: the job asks for no message. `refused_session`: the customer was refused in it and is asked once
    more. `cancelled`: its batch was.
    """

    id: int
    state: JobState
    session_id: uuid.UUID | None
    reason: str = ""
    detail: str = ""
    result: str = ""
    unknown_attempt: uuid.UUID | None = None
    reissues: int = 0
    message_out: bool = False
    silent: bool = False
    due_at: datetime | None = None
    refused_session: uuid.UUID | None = None
    cancelled: bool = False

    @property
    def waits_for_an_end(self) -> bool:
        return self.state is JobState.WAITING and self.reason in FOR_THE_END

    @property
    def asks_again(self) -> bool:
        """Whether the customer was refused and is being asked once more."""
        return self.refused_session is not None and self.state in OPEN_JOBS


@dataclass
class Chain:
    """A customer's sessions and jobs for one purpose, changed by one update after the other."""

    links: dict[uuid.UUID, Link] = field(default_factory=dict)
    jobs: dict[int, JobNow] = field(default_factory=dict)

    def copy(self) -> "Chain":
        return Chain(dict(self.links), dict(self.jobs))

    def apply(
        self, session_id: uuid.UUID, update: SessionUpdate, *, again: Again, received_at: datetime, now: datetime
    ) -> bool:
        """Apply the update to this session; True if it changed anything. Times are aware UTC."""
        was = self.links[session_id]
        before = was.known
        # For a session that another has replaced only a verdict counts, even if our own clock had called the session
        # expired before.
        replaced = before.state is SessionState.SUPERSEDED or self._is_replaced(was)
        decided = before.state in (SessionState.COMPLETED, SessionState.FAILED)
        known = known_after(REPLACED if replaced and not decided else before, update, received_at=received_at)
        if known is None and replaced:
            known = reviewed(before, update, received_at=received_at)
        link = replace(was, company_id=update.company_id or was.company_id)
        if known is not None:
            link = replace(link, known=known, check_at=check_at_after(was, known, now=now))
        self.links[session_id] = link
        if known is None:
            return link != was
        leading = next((job.id for job in self.jobs.values() if job.state in OPEN_JOBS), None)
        # A renewal is decided by its own sessions, whatever is said of those before it.
        peers = [one for one in self.links.values() if one.past is link.past]
        concerned = {link.job_id, None if link.past else leading}
        # A second such update must not end a job that was retried since.
        repeated = before.has_failed and known.has_failed
        for job in [] if repeated else list(self.jobs.values()):
            if (job.id in concerned or session_id == job.session_id) and not (link.past and self._is_of_now(job)):
                led = link.past or leading not in (None, job.id)
                self.jobs[job.id] = job_after(job, link, peers, again=again, led=led, now=now)
            elif link.past and known.state not in LIVE_SESSIONS and job.waits_for_an_end:
                self.jobs[job.id] = replace(job, due_at=now)  # it has no part in the session
        again_in = {job.session_id for job in self.jobs.values() if job.asks_again}
        if known.has_verdict and not link.past:
            # The customer has finished: the other open sessions are no longer of use.
            for other in list(self.links.values()):
                if other.known.state in LIVE_SESSIONS and other.id not in again_in:
                    over = replace(other.known, state=SessionState.SUPERSEDED)
                    self.links[other.id] = replace(other, check_at=None, known=over)
        for job in self.jobs.values():
            if (refused := job.refused_session) and job.state is JobState.INVITED and job.session_id == refused:
                # The check of sessions that ended decides whether another one may follow.
                self.links[refused] = replace(self.links[refused], check_at=self.links[refused].check_at or now)
        return True

    def _is_of_now(self, job: JobNow) -> bool:
        """Whether no past session serves it."""
        link = self.links.get(job.session_id) if job.session_id is not None else None
        return link is None or not link.past

    def _is_replaced(self, link: Link) -> bool:
        newest = max(self.links.values(), key=lambda one: (one.issued_at, one.id.hex))
        others = [one for one in self.links.values() if one.id != link.id]
        return newest.id != link.id or any(one.known.state in LIVE_SESSIONS for one in others)


def reviewed(known: KnownSession, update: SessionUpdate, *, received_at: datetime) -> KnownSession | None:
    """What is known of a replaced session after its review begins, or ends without a verdict; None for any other
    update.

    The session's state stays as it is. But during the review the customer gets neither the new link
    (`messages.claim_invitations`) nor another session.
    """
    if known.state not in (SessionState.EXPIRED, SessionState.SUPERSEDED):
        return None
    following = known_after(replace(known, state=SessionState.STARTED), update, received_at=received_at)
    if following is None or Result.REVIEW not in (known.result, following.result):
        return None
    result = Result.REVIEW if following.result is Result.REVIEW else None
    return replace(known, result=result, rank=following.rank, at=following.at, weight=following.weight)


def check_at_after(before: Link, known: KnownSession, *, now: datetime) -> datetime | None:
    """When to check whether the session ended unused, or whether its review has ended, after this update."""
    if known.state in LIVE_SESSIONS:
        if known.result is Result.REVIEW:
            return now + REVIEW_ASKED
        was_still = before.known.state in LIVE_SESSIONS and before.known.result is not Result.REVIEW
        # A review that ended without a verdict, or a link that our clock had called expired: checked as usual.
        return before.check_at if was_still else max(now, before.expires_at + SETTLES)
    if known.state is SessionState.EXPIRED:
        return now if before.known.state is not SessionState.EXPIRED else before.check_at
    return None


def job_after(job: JobNow, link: Link, links: Sequence[Link], *, again: Again, led: bool, now: datetime) -> JobNow:
    """The job after `link`, one of `links`, has changed. `led`: another job serves the customer now, so that this ended
    job cannot become open again. A call with an unknown outcome stays: it is looked up even if the job has ended."""
    if job.state is JobState.CANCELLED:
        return job
    if link.known.has_verdict:
        # The provider's last verdict is the largest, in whatever order the updates came.
        last = max(
            (one for one in links if one.known.has_verdict),
            key=lambda one: (one.known.rank, one.known.at or one.issued_at, one.known.weight, one.id.hex),
        )
        if (asked := _asked_again(job, last, links, again, led=led)) is not None:
            return asked
        ended = _moved(job, JobState.COMPLETED, last, last.known.result_word)
        same = job.state is JobState.COMPLETED and (job.session_id, job.result) == (ended.session_id, ended.result)
        return job if same else ended
    if job.session_id != link.id:
        return job
    if link.known.has_failed:
        if not _can_fail(job, link):
            return job
        stands = next((one for one in links if one.id == job.refused_session and one.known.is_refused), None)
        if stands is not None:
            return _moved(job, JobState.COMPLETED, stands, stands.known.result_word)
        return _moved(job, JobState.FAILED, link, reason=Reason.SESSION_FAILED, detail=link.known.note)
    if job.state is JobState.FAILED and job.reason == Reason.SESSION_FAILED and not led:
        # The failure of the session is no longer the provider's last word.
        again_open = replace(job, state=JobState.INVITED if job.message_out else JobState.ISSUED)
        opened = _open(again_open, link, links, again, now)
        return opened or _moved(job, again_open.state, link, link.known.result_word)
    return _open(job, link, links, again, now) or job


# From these a refused customer is asked once more: in the others a call may be under way, or a person decides.
_MAY_ASK = (JobState.WAITING, JobState.ISSUED, JobState.INVITED)


def _asked_again(job: JobNow, last: Link, links: Sequence[Link], again: Again, *, led: bool) -> JobNow | None:
    """The job of a customer who was refused and is asked once more; None: the verdict of `last` stands. A customer is
    asked once more until the provider has approved: another refusal is the last."""
    if not last.known.is_refused:
        return None
    named = asks_again(last.known.reasons, again.refused_for)
    if job.asks_again:
        if job.refused_session != last.id:
            return None
        # Until the next session has a verdict the first changes nothing, unless it is one that nothing follows.
        in_time = job.session_id == last.id and job.state in (JobState.WAITING, JobState.INVITED)
        return job if named or not in_time else None
    followed = led or any(one.issued_at > last.issued_at for one in links)
    over = job.state is JobState.COMPLETED or (job.state is JobState.FAILED and job.reason == Reason.SESSION_FAILED)
    reopens = over and job.session_id == last.id and not followed
    may = (job.state in _MAY_ASK or reopens) and not (job.silent or job.cancelled or job.unknown_attempt)
    if not (named and may) or _was_refused_before(last, links):
        return None
    present = next((one for one in links if one.id == job.session_id and one.id != last.id), None)
    if present is not None and present.known.state in LIVE_SESSIONS:  # it is the one more
        return replace(job, refused_session=last.id)
    return replace(_moved(job, JobState.INVITED, last, last.known.result_word), refused_session=last.id)


def _was_refused_before(last: Link, links: Iterable[Link]) -> bool:
    """Whether the customer was refused in another session since the last approval."""
    links = [one for one in links if one.id != last.id]
    approved = [one.issued_at for one in links if one.known.result is Result.APPROVED and one.known.has_verdict]
    since = max(approved, default=None)
    return any(one.known.is_refused and (since is None or one.issued_at > since) for one in links)


def _moved(
    job: JobNow,
    state: JobState,
    link: Link,
    result: str = "",
    reason: str = "",
    detail: str = "",
    due_at: datetime | None = None,
) -> JobNow:
    """The job in a new state. `due_at` is set if it waits; `link` is the session that decided."""
    return replace(job, state=state, session_id=link.id, result=result, reason=reason, detail=detail, due_at=due_at)


def _can_fail(job: JobNow, link: Link) -> bool:
    if job.state is JobState.WAITING:
        # The job waits for another session already: the deletion of the old session does not concern the customer.
        return job.unknown_attempt is None and link.known.rank is not Rank.GONE
    if job.state is JobState.HELD:
        return job.unknown_attempt is None and job.reason not in ABOUT_ANOTHER
    return job.state in (JobState.ISSUED, JobState.INVITED, JobState.COMPLETED)


def _open(job: JobNow, link: Link, links: Iterable[Link], again: Again, now: datetime) -> JobNow | None:
    """The job if its session is still open, or has expired; None: it stays as it is."""
    replaced_at = replace_at(
        allowed_from=now,
        issued_at=link.issued_at,
        expires_at=link.expires_at,
        spacing=again.spacing,
        reported_over=True,
        reissues=job.reissues,
        now=now,
    )
    unsent = job.state is JobState.ISSUED and not job.message_out and not job.silent
    in_review = any(one.known.result is Result.REVIEW and not one.known.has_verdict for one in links)
    # Not for a customer who has submitted through an earlier link.
    if unsent and link.known.state is SessionState.EXPIRED and not in_review:
        detail = "the link expired before it could be sent"
        if job.reissues >= again.most:
            detail += ", and no more sessions are allowed for the customer"
            return _moved(job, JobState.LAPSED, link, reason=Reason.REISSUES_SPENT, detail=detail)
        return _moved(job, JobState.WAITING, link, reason=Reason.SESSION_EXPIRED, detail=detail, due_at=replaced_at)
    ended = job.waits_for_an_end and link.known.state is SessionState.EXPIRED
    if ended and job.due_at is not None and replaced_at < job.due_at:  # the end has come early
        return replace(job, due_at=replaced_at)
    result = link.known.result_word
    if job.state is JobState.WAITING and link.known.state in LIVE_SESSIONS and result and job.unknown_attempt is None:
        # The customer has submitted, so the link has come, if only by the app. No new session is requested until the
        # provider decides.
        return _moved(job, JobState.ISSUED if job.silent else JobState.INVITED, link, result)
    if job.state in (JobState.ISSUED, JobState.INVITED) and job.result != result:
        return replace(job, result=result, due_at=None)
    return None
