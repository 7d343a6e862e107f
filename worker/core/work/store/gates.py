"""The gates of a claim of jobs: whether a leased job's call may be made now. All claimed jobs that have not ended pass
them in this order, whatever made them due: an import, a retry, an operator, or a takeover. A gate that leaves it to its
caller whether it concerns any of them is asked only then.

Each gate gets the jobs that passed the earlier ones, asks only about those that it concerns, and says why some stay.
The first gates need no personal data, and write themselves what becomes of some jobs. The other gates are about the
message that a session is for.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets import batch_pace
from onboarding_worker.core.budgets.backpressure import Rooms, ask_again_at
from onboarding_worker.core.claim.claims import Leased
from onboarding_worker.core.claim.flush import Flush, Gates, Kept
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.messages.how_many import take
from onboarding_worker.core.model.channels import address_of, detail_of
from onboarding_worker.core.model.customers import Channel, invitation_channels
from onboarding_worker.core.model.endings import Later, Never, NotNow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import max_age_of
from onboarding_worker.core.model.states import BATCH, InvitationState, JobState, SessionState
from onboarding_worker.core.rows import in_review, sessions
from onboarding_worker.core.rows import pending_details as pending
from onboarding_worker.core.rows.cancellation import cancel_jobs
from onboarding_worker.core.rows.suppressions import reachable
from onboarding_worker.core.rules.contact import BRAND_LOOKED_AT_AGAIN, FIRST, Wish, following, writable
from onboarding_worker.core.rules.quiet_hours import issue_at
from onboarding_worker.core.rules.reissue import REVIEWED_AGAIN
from onboarding_worker.core.work.store import session_reuse
from onboarding_worker.core.work.store.job_context import ClaimedJob, JobPolicy

A_MOMENT = timedelta(seconds=1)  # between two looks of the sweep


@dataclass(frozen=True)
class JobClaim(Flush[JobPolicy]):
    """What the gates of one claim share."""

    rooms: Rooms  # for messages, at the senders
    leased: Leased
    any_suppressed: bool  # if no address is, no question is asked about addresses
    planned: frozenset[int]  # the batches with a plan
    live_sessions: dict[int, uuid.UUID] = field(default_factory=dict)  # of customers whose next session replaces them
    reused_channels: set[str] = field(default_factory=set)  # on which the reused sessions may have invitations due


def cancelled(claim: JobClaim, rows: Sequence[Any]) -> Kept:
    """End the jobs that were cancelled, alone or with their batch."""
    ids = [row.id for row in rows if row.cancelled_at is not None]
    cancel_jobs(claim.connection, ids, now=claim.now)
    return dict.fromkeys(ids)


def with_details_that_wait(claim: JobClaim, rows: Sequence[Any]) -> Kept:
    """Keep the jobs whose details are not their customers' yet: the sweep applies them once their rows are released."""
    soon = claim.now + A_MOMENT
    waiting = pending.waiting_among(claim.connection, [row.id for row in rows])
    return {id_: Later(max(at or soon, soon), Reason.PLANNED) for id_, at in waiting.items()}


def with_live_session(claim: JobClaim, rows: Sequence[Any]) -> Kept:
    """Let the jobs of customers who have a live session reuse it."""
    # A job that only asks about its session reuses none.
    having = [row for row in rows if row.had_session and not row.needs_status_check]
    found = sessions.live(claim.connection, [(row.customer_id, row.purpose) for row in having], now=claim.now)
    kept: dict[int, None] = {}
    for row in having:
        session = found.get((row.customer_id, row.purpose))
        if session is None or (session.expires_at <= claim.now and row.unknown_attempt is not None):
            continue  # there is none, or the session is in review, and an unknown outcome is reconciled first
        if row.session_id == session.id and row.reason == Reason.LINK_ENDS_SOON and _has_begun(session):
            session_reuse.go_on(claim, row)
            kept[row.id] = None
        elif (row.session_id == session.id and _ends_soon(claim, session)) or (
            channels := session_reuse.reuse(claim, row, session, any_age=claim.policy.any_age)
        ) is None:
            claim.live_sessions[row.id] = session.id
        else:
            kept[row.id] = None
            claim.reused_channels.update(channels)
    return kept


def _has_begun(session: Any) -> bool:
    """Whether its customer has started, maybe since its replacement was decided: the job goes on with it."""
    return session.state is not SessionState.WAITING or bool(session.result)


def _ends_soon(claim: JobClaim, session: Any) -> bool:
    """Whether the session is to be replaced before its end."""
    at = None if _has_begun(session) else claim.policy.early_at(session.issued_at, session.expires_at)
    return at is not None and at <= claim.now


def with_own_link(claim: JobClaim, rows: Sequence[Any]) -> Kept:
    """Let the jobs of customers who have our link already, and have bought nothing through it, take its messages.

    A job that needs its session at once, or only a link, is left out: a session is opened for it.
    """
    firsts = [row for row in rows if row.session_id is None and row.unknown_attempt is None]
    firsts = [row for row in firsts if not row.needs_status_check and is_for_a_message(claim, row)]
    found = session_reuse.deferred(claim.connection, {(row.customer_id, row.purpose) for row in firsts}, now=claim.now)
    having = [(row, found[row.customer_id, row.purpose]) for row in firsts if (row.customer_id, row.purpose) in found]
    for row, session in having:
        session_reuse.reuse(claim, row, session, any_age=True)
        claim.reused_channels.update(invitation_channels(row.channel))
    return {row.id: None for row, _ in having}


def reviewed(claim: JobClaim, rows: Sequence[Any]) -> Kept:
    """Release the jobs whose previous session is in review at the provider, and keep those whose customer is in review
    through another one, also one of another list, or one that was given up.

    The latter are asked for again each hour: a review that ends without a verdict does not reach them.
    """
    # An unknown outcome is reconciled first.
    rows = [row for row in rows if row.had_session and row.unknown_attempt is None and not row.needs_status_check]
    released = in_review.release_reviewed(claim.connection, rows, now=claim.now)
    rows = [row for row in rows if row.id not in released]
    reviewing = in_review.customers_in_review(claim.connection, {(row.customer_id, row.purpose) for row in rows})
    again = Later(claim.now + REVIEWED_AGAIN, Reason.IN_REVIEW)
    stay = {row.id: again for row in rows if (row.customer_id, row.purpose) in reviewing}
    return {**dict.fromkeys(released), **stay}


def before_the_start(claim: JobClaim, rows: Sequence[Any]) -> Kept:
    """Keep the jobs of batches whose planned start has not come, until then."""
    starts = batch_pace.starts_later(claim.connection, claim.planned, now=claim.now)
    return {row.id: Later(starts[row.batch_id], Reason.PLANNED) for row in rows if row.batch_id in starts}


def of_missing_brands(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Kept:
    """Keep the jobs of a brand that the configuration does not have: a session would be paid for, and no message could
    carry its link."""
    contact, again = claim.policy.contact, Later(claim.now + BRAND_LOOKED_AT_AGAIN, Reason.BRAND_MISSING)
    lacking = [job for job in jobs if contact.lacks_brand(job.customer)]
    return {job.id: again for job in lacking if not _sender_may_wait_for(job)}


def without_right(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Kept:
    """Keep the jobs whose rows set what they may not, by the configuration as it is now, until it gives the right."""
    at, why = claim.now + BRAND_LOOKED_AT_AGAIN, claim.policy.forbids
    return {job.id: Later(at, Reason.RIGHT_MISSING, words) for job in jobs if (words := why(job))}


def unreachable_customers(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Kept:
    """End the jobs whose links could not be sent to any address, before a session is paid for.

    A job whose customer got a link that ended unused has lapsed, as when the sweep finds this. Any other job has
    failed, and an operator may retry it. The first session of an event is opened all the same: its sender may wait for
    the link. A customer without a known address is left out. An address that is suppressed later costs a session but
    no message: each is checked again before it is sent.
    """
    jobs = [job for job in jobs if not _sender_may_wait_for(job)]
    if not jobs:
        return {}
    fallbacks = claim.policy.contact.fallbacks
    people = {job.customer.customer_id: job.customer.person for job in jobs}
    asked = {channel for job in jobs for channel in invitation_channels(job.channel)}
    tried = asked.union(*(following(channel, fallbacks) for channel in asked))
    ways = reachable(claim.connection, claim.keyring, people, tried)
    found: dict[int, NotNow] = {}
    for job in jobs:
        channels, suppressed = invitation_channels(job.channel), ways.get(job.customer.customer_id, {})
        reasons = [reason for channel in channels if (reason := suppressed.get(channel)) is not None]
        if reasons and not writable(channels, fallbacks, suppressed):
            detail = "; ".join(dict.fromkeys(detail_of(reason) for reason in reasons))
            found[job.id] = Never(JobState.FAILED, Reason.SUPPRESSED, detail)
    before = {job.id: job.session_id for job in jobs if job.id in found and job.session_id is not None}
    if before:
        sent = set(claim.connection.execute(_LINK_SENT, {"sessions": bulk.keys(before.values())}).scalars())
        lapsed = Never(JobState.LAPSED, Reason.SUPPRESSED, Reason.SUPPRESSED.meaning)
        found |= {job_id: lapsed for job_id, session_id in before.items() if session_id in sent}
    return found


# The expired sessions among these whose links were sent to their customers.
_LINK_SENT = (
    sa.select(InvitationRow.session_id)
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .where(
        bulk.among(InvitationRow.session_id, "sessions"),
        InvitationRow.kind == FIRST,
        InvitationRow.state.in_([InvitationState.SENT, InvitationState.DELIVERED]),
        SessionRow.state == SessionState.EXPIRED,
    )
)


def quiet_hours(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Kept:
    """Keep the jobs whose messages could not be sent now, or when the sender's queue reaches them."""
    hours = claim.policy.contact.hours
    found: dict[int, NotNow] = {}
    for job in jobs:
        channels = invitation_channels(job.channel)
        zones = hours.zones(job.customer, channels)
        if not zones:
            continue
        sent_at = claim.now + claim.rooms.delay(job)
        max_age = max_age_of(claim.policy.lifetime, floor=job.floor)
        at = issue_at(channels, zones, hours.quiet, max_age=max_age, now=sent_at)
        if at > sent_at:
            found[job.id] = Later(at, Reason.QUIET_HOURS)
    return found


def full_senders(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Kept:
    """Keep the jobs for whose messages the senders have no room now, and put off more of their kind unclaimed."""
    found: dict[int, NotNow] = {}
    full: dict[Channel, Later] = {}
    for job in jobs:
        sender = claim.rooms.full_sender(job)
        if sender is not None:
            at = ask_again_at(max_age=claim.rooms.max_age, sender=sender, now=claim.now)
            found[job.id] = later = Later(at, Reason.WAITS_FOR_SENDER)
            if job.priority == BATCH:
                full[job.channel] = later
    # A chunk of due jobs is put off without claiming them.
    for channel, why in full.items() if claim.leased.more else ():
        given = {"account_": claim.policy.account, "channel_": channel, "now": claim.now, "most": CHUNK}
        claim.connection.execute(_DEFER_UNCLAIMED, given | {"new_due_at": why.due_at, "new_reason": why.reason})
    return found


CHUNK = 2000  # jobs put off in one statement
# Rows that another transaction has locked are skipped, without waiting.
_DUE = (
    sa.select(Job.id)
    .where(
        Job.account == sa.bindparam("account_"),
        Job.priority == BATCH,
        Job.state == bulk.fixed(JobState.WAITING),
        Job.leader_id.is_(None),
        Job.due_at <= sa.bindparam("now"),
        Job.channel == sa.bindparam("channel_"),
        Job.unknown_attempt.is_(None),
        Job.needs_status_check.is_(False),
        sa.or_(Job.invite_at.is_(None), Job.invite_at <= sa.bindparam("now")),
    )
    .order_by(Job.due_at, Job.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
)
_DEFER_UNCLAIMED = (
    sa.update(Job)
    .where(bulk.within(Job.id, _DUE))
    .values(
        due_at=sa.bindparam("new_due_at"), reason=sa.bindparam("new_reason"), detail="", changed_at=sa.bindparam("now")
    )
)


def paced_batches(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Kept:
    """Keep the jobs whose batch has had as many first sessions as its pace allows; the others take their places."""
    paced = places_of(claim, jobs)
    return batch_pace.take(claim.connection, paced, batch_pace.SESSIONS, now=claim.now) if paced else {}


def places_of(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> list[batch_pace.PacedRow]:
    """The places that these jobs need of their batches' pace."""
    firsts = [job for job in jobs if job.batch_id in claim.planned and job.session_id is None and not job.attempts]
    return [batch_pace.PacedRow(job.id, job.batch_id, len(invitation_channels(job.channel))) for job in firsts]


def spent_addresses(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Kept:
    """Keep the jobs none of whose addresses may get another message now. The other jobs take their places.

    A session that is opened for such a job would cost money, and its link could not be sent. The first session of an
    event is opened all the same: its sender may wait for the link, and another sender may have used up the address.
    Its message takes its place as it leaves.
    """
    cap = claim.policy.contact.address_cap
    if cap is None:
        return {}
    jobs = [job for job in jobs if not _sender_may_wait_for(job)]
    wanted = [
        (job.id, Wish(job.id, channel=channel, address=address))
        for job in jobs
        for channel in invitation_channels(job.channel)
        if (address := address_of(job.customer.person, channel))
    ]
    places = take(claim.connection, claim.keyring, cap, [one for _, one in wanted], now=claim.now)
    answers: dict[int, list[datetime | None]] = {}
    for (job_id, _), at in zip(wanted, places, strict=True):
        answers.setdefault(job_id, []).append(at)
    return {
        job_id: Later(min(at for at in times if at is not None), Reason.ADDRESS_SPENT)
        for job_id, times in answers.items()
        if None not in times
    }


def _sender_may_wait_for(job: ClaimedJob) -> bool:
    """Whether the sender of an event may wait for this session, for a customer who is in the app right now."""
    return job.is_event and job.session_id is None


# The gates that need no personal data, of claimed rows.
ROW_GATES: Gates = (
    (cancelled, lambda _claim, rows: any(row.cancelled_at is not None for row in rows)),
    (with_details_that_wait, lambda _claim, rows: any(row.any_pending for row in rows)),
    (with_live_session, lambda _claim, rows: any(row.had_session for row in rows)),
    (with_own_link, lambda claim, _rows: claim.policy.on_click is not None),
    (reviewed, lambda _claim, rows: any(row.had_session for row in rows)),
    (before_the_start, lambda claim, _rows: bool(claim.planned)),
)
# Of each call.
CALL_GATES: Gates = ((without_right, lambda _claim, jobs: any(job.parameters or job.names_account for job in jobs)),)
# The gates about messages. Last the places, of batches and addresses: only a job whose call is made takes one.
GATES: Gates = (
    (of_missing_brands, lambda _claim, jobs: any(job.customer.brand for job in jobs)),
    (unreachable_customers, lambda claim, _jobs: claim.any_suppressed),
    (quiet_hours, lambda claim, _jobs: bool(claim.policy.contact.hours.quiet)),
    (full_senders, None),
    (paced_batches, lambda claim, _jobs: bool(claim.planned)),
)
AFTER_THE_PACE: Gates = ((spent_addresses, None),)


def is_for_a_message(claim: JobClaim, job: Any) -> bool:
    """Whether this job, or claimed row, reaches its customer by a message, and not before.

    A customer who is in the app until `invite_at` needs the link there, and one who stands at the stable link needs it
    now.
    """
    in_app = job.invite_at is not None and job.invite_at > claim.now
    return job.channel is not Channel.NONE and not in_app and job.link_requested_at is None
