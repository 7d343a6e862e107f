"""The gates of a claim of jobs: whether a leased job's call may be made now. All claimed jobs pass them in this order,
whatever made them due: an import, a retry, an operator, or a takeover.

Each gate gets the jobs that passed the earlier ones, asks only about those that it concerns, and keeps some back. The
first gates need no personal data; they write themselves what becomes of the jobs that they keep back. The other gates
are about the message that a session is for, and say why a job stays; `passed` writes that.
"""

import logging
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel, invitation_channels
from worker.core.customers.store import in_review
from worker.core.customers.store import pending_details as pending
from worker.core.customers.store.cancellation import cancel_jobs
from worker.core.database import bulk
from worker.core.database.encrypted_values import Erased
from worker.core.database.leases import kept_back
from worker.core.database.priorities import BATCH
from worker.core.database.tables import Job
from worker.core.facts import JobsStopped, happened
from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.lifecycle.reissue import REVIEWED_AGAIN
from worker.core.limits.store import batch_pace
from worker.core.limits.store.backpressure import Backlogs, Rooms, ask_again_at, sender_state
from worker.core.limits.store.claims import Leased
from worker.core.messages.caps import Wish
from worker.core.messages.quiet_hours import issue_at
from worker.core.messages.store.address_places import Wanted, take
from worker.core.model.channels import address_of
from worker.core.model.endings import Later, Never, NotNow
from worker.core.model.reasons import Reason
from worker.core.model.sessions import max_age_of
from worker.core.model.states import JobState
from worker.core.unknown.store.unknown_outcomes import calls_to_reconcile
from worker.core.work.store import session_reuse, without_call
from worker.core.work.store.job_context import ClaimedJob, JobPolicy, decrypted
from worker.core.work.store.without_call import invite_unbought, unreachable

log = logging.getLogger(__name__)
A_MOMENT = timedelta(seconds=1)  # between two looks of the sweep


@dataclass
class JobClaim:
    """What the gates of one claim share."""

    connection: sa.Connection
    keyring: Keyring
    policy: JobPolicy
    backlogs: Backlogs
    leased: Leased
    any_suppressed: bool  # if no address is, no question is asked about addresses
    now: datetime
    planned: frozenset[int] = frozenset()  # the batches with a plan
    live_sessions: dict[int, uuid.UUID] = field(default_factory=dict)  # of customers whose next session replaces them
    reused_channels: set[str] = field(default_factory=set)  # on which the reused sessions may have invitations due

    @cached_property
    def rooms(self) -> Rooms:
        """The room for messages at the senders."""
        policy = self.policy
        senders = {
            channel: sender_state(self.leased.beside[rule.name], rule, now=self.now)
            for channel, rule in policy.senders.items()
        }
        return self.backlogs.rooms(self.connection, senders, max_age=policy.max_age, now=self.now)


def cancelled(claim: JobClaim, rows: Sequence[Any]) -> Collection[int]:
    """End the jobs that were cancelled, alone or with their batch."""
    ids = [row.id for row in rows if row.cancelled_at is not None]
    if ids:
        cancel_jobs(claim.connection, ids, now=claim.now)
    return ids


def with_details_that_wait(claim: JobClaim, rows: Sequence[Any]) -> Collection[int]:
    """Keep the jobs whose details are not their customers' yet: the sweep applies them once their rows are released."""
    if not any(row.any_pending for row in rows):
        return ()
    soon = claim.now + A_MOMENT
    waiting = pending.waiting_among(claim.connection, [row.id for row in rows])
    stay: dict[int, NotNow] = {id_: Later(max(at or soon, soon), Reason.PLANNED) for id_, at in waiting.items()}
    _keep_back(claim.connection, stay, now=claim.now)
    return stay.keys()


def with_live_session(claim: JobClaim, rows: Sequence[Any]) -> Collection[int]:
    """Let the jobs of customers who have a live session reuse it."""
    # A job that only asks about its session reuses none.
    having = [row for row in rows if row.had_session and not row.asks]
    found = session_reuse.live(claim.connection, [(row.customer_id, row.purpose) for row in having], now=claim.now)
    kept = []
    for row in having:
        session = found.get((row.customer_id, row.purpose))
        if session is None or (session.expires_at <= claim.now and row.unknown_attempt is not None):
            continue  # there is none, or the session is in review, and an unknown outcome is reconciled first
        channels = session_reuse.reuse(
            claim.connection,
            row,
            session,
            reissue_at=claim.policy.reissue_at,
            any_age=claim.policy.any_age,
            now=claim.now,
        )
        if channels is None:
            claim.live_sessions[row.id] = session.id
        else:
            kept.append(row.id)
            claim.reused_channels.update(channels)
    return kept


def with_own_link(claim: JobClaim, rows: Sequence[Any]) -> Collection[int]:
    """Let the jobs of customers who have our link already, and have bought nothing through it, take its messages.

    A job that needs its session at once, or only a link, is left out: a session is opened for it.
    """
    if claim.policy.on_click is None:
        return ()
    firsts = [row for row in rows if row.session_id is None and row.unknown_attempt is None and not row.asks]
    firsts = [row for row in firsts if _asks_by_message(row, now=claim.now)]
    found = session_reuse.unbought(claim.connection, {(row.customer_id, row.purpose) for row in firsts}, now=claim.now)
    having = [(row, found[row.customer_id, row.purpose]) for row in firsts if (row.customer_id, row.purpose) in found]
    for row, session in having:
        reissue_at = claim.policy.reissue_at
        session_reuse.reuse(claim.connection, row, session, reissue_at=reissue_at, any_age=True, now=claim.now)
        claim.reused_channels.update(invitation_channels(row.channel))
    return [row.id for row, _ in having]


def reviewed(claim: JobClaim, rows: Sequence[Any]) -> Collection[int]:
    """Release the jobs whose previous session is in review at the provider, and keep those whose customer is in review
    through another one, also one of another list, or one that was given up.

    The latter are asked for again each hour: a review that ends without a verdict does not reach them.
    """
    # An unknown outcome is reconciled first.
    rows = [row for row in rows if row.had_session and row.unknown_attempt is None and not row.asks]
    released = in_review.release_reviewed(claim.connection, rows, now=claim.now)
    rows = [row for row in rows if row.id not in released]
    reviewing = in_review.customers_in_review(claim.connection, {(row.customer_id, row.purpose) for row in rows})
    again = Later(claim.now + REVIEWED_AGAIN, Reason.IN_REVIEW)
    stay: dict[int, NotNow] = {row.id: again for row in rows if (row.customer_id, row.purpose) in reviewing}
    _keep_back(claim.connection, stay, now=claim.now)
    return released | stay.keys()


def before_the_start(claim: JobClaim, rows: Sequence[Any]) -> Collection[int]:
    """Keep the jobs of batches whose planned start has not come, until then."""
    if not claim.planned:
        return ()
    starts = batch_pace.starts_later(claim.connection, claim.planned, now=claim.now)
    stay: dict[int, NotNow] = {
        row.id: Later(starts[row.batch_id], Reason.PLANNED) for row in rows if row.batch_id in starts
    }
    _keep_back(claim.connection, stay, now=claim.now)
    return stay.keys()


def unreachable_customers(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Mapping[int, NotNow]:
    """End the jobs whose links could not be sent to any address, before a session is paid for.

    The first session of an event is opened all the same: its sender may wait for the link.
    """
    if not claim.any_suppressed:
        return {}
    concerned = [job for job in jobs if not _sender_may_wait_for(job)]
    if not concerned:
        return {}
    return unreachable(claim.connection, claim.keyring, concerned, fallbacks=claim.policy.contact.fallbacks)


def quiet_hours(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Mapping[int, NotNow]:
    """Keep the jobs whose messages could not be sent now, or when the sender's queue reaches them."""
    hours = claim.policy.contact.hours
    found: dict[int, NotNow] = {}
    for job in jobs:
        channels = invitation_channels(job.channel)
        zones = hours.zones(job.request.customer, channels)
        if not zones:
            continue
        sent_at = claim.now + claim.rooms.delay(job)
        max_age = max_age_of(claim.policy.lifetime, floor=job.floor)
        at = issue_at(channels, zones, hours.quiet, max_age=max_age, now=sent_at)
        if at > sent_at:
            found[job.id] = Later(at, Reason.QUIET_HOURS)
    return found


def full_senders(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Mapping[int, NotNow]:
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
    if claim.leased.more and full:
        without_call.defer_unclaimed(claim.connection, claim.policy.account, full, now=claim.now)
    return found


def paced_batches(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Mapping[int, NotNow]:
    """Keep the jobs whose batch has had as many first sessions as its pace allows; the others take their places."""
    asks = _paced(claim, jobs)
    return batch_pace.take(claim.connection, asks, batch_pace.SESSIONS, now=claim.now) if asks else {}


def _paced(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> list[batch_pace.Asks]:
    """The places that these jobs need of their batches' pace."""
    firsts = [job for job in jobs if job.batch_id in claim.planned and job.session_id is None and not job.attempts]
    return [batch_pace.Asks(job.id, job.batch_id, len(invitation_channels(job.channel))) for job in firsts]


def spent_addresses(claim: JobClaim, jobs: Sequence[ClaimedJob]) -> Mapping[int, NotNow]:
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
        (job.id, Wanted(channel, address, Wish(job.id)))
        for job in jobs
        for channel in invitation_channels(job.channel)
        if (address := address_of(job.request.customer.person, channel))
    ]
    places = take(claim.connection, claim.keyring, cap, [one for _, one in wanted], now=claim.now)
    answers: dict[int, list[datetime | None]] = {}
    for (job_id, _), at in zip(wanted, places, strict=True):
        answers.setdefault(job_id, []).append(at)
    found: dict[int, NotNow] = {
        job_id: Later(min(at for at in times if at is not None), Reason.ADDRESS_SPENT)
        for job_id, times in answers.items()
        if None not in times
    }
    paced = _paced(claim, [job for job in jobs if job.id in found])
    if paced:
        batch_pace.give_back(claim.connection, paced, batch_pace.SESSIONS)
    return found


def _sender_may_wait_for(job: ClaimedJob) -> bool:
    """Whether the sender of an event may wait for this session, for a customer who is in the app right now."""
    return job.is_event and job.session_id is None


RowGate = Callable[[JobClaim, Sequence[Any]], Collection[int]]
Gate = Callable[[JobClaim, Sequence[ClaimedJob]], Mapping[int, NotNow]]
ROW_GATES: tuple[RowGate, ...] = (
    cancelled,
    with_details_that_wait,
    with_live_session,
    with_own_link,
    reviewed,
    before_the_start,
)
# Last the places, of batches and addresses: only a job whose call is made takes one.
GATES: tuple[Gate, ...] = (unreachable_customers, quiet_hours, full_senders, paced_batches, spent_addresses)


def passed(
    connection: sa.Connection,
    keyring: Keyring,
    policy: JobPolicy,
    backlogs: Backlogs,
    rows: Sequence[Any],
    leased: Leased,
    *,
    now: datetime,
) -> tuple[list[ClaimedJob], frozenset[str]]:
    """The jobs whose calls may be made now, and the channels on which reused sessions may have invitations due.

    The other rows are released here, each with what becomes of it.
    """
    any_suppressed = any(row.any_suppressed for row in rows)
    planned = frozenset(row.batch_id for row in rows if row.planned)
    claim = JobClaim(connection, keyring, policy, backlogs, leased, any_suppressed, now, planned)
    for row_gate in ROW_GATES:
        kept = row_gate(claim, rows) if rows else ()
        _explain(policy, row_gate.__name__, kept, rows)
        rows = [row for row in rows if row.id not in kept] if kept else rows
    jobs, stay = _decrypted(claim, rows)
    _explain(policy, "not decrypted", stay, rows)
    asked = [job for job in jobs if _is_for_a_message(job, now=now)]
    for gate in GATES:
        found = gate(claim, asked) if asked else {}
        _explain(policy, gate.__name__, found, asked)
        if found:
            stay |= found
            asked = [job for job in asked if job.id not in found]
    _keep_back(connection, stay, now=now)
    if policy.on_click is not None and asked:
        claim.reused_channels |= invite_unbought(connection, keyring, policy, policy.on_click, asked, now=now)
        invited = {job.id for job in asked}
        jobs = [job for job in jobs if job.id not in invited]
    if stay:
        jobs = [job for job in jobs if job.id not in stay]
    return jobs, frozenset(claim.reused_channels)


def _explain(policy: JobPolicy, gate: str, kept: Collection[int], asked: Sequence[Any]) -> None:
    if kept:
        log.debug("%s: %d of %d leased rows are not called: %s", policy.account, len(kept), len(asked), gate)


def _decrypted(claim: JobClaim, rows: Sequence[Any]) -> tuple[list[ClaimedJob], dict[int, NotNow]]:
    """The jobs, and those that cannot be decrypted: these may block no other jobs."""
    unknown_calls = calls_to_reconcile(claim.connection, rows, now=claim.now)
    jobs: list[ClaimedJob] = []
    stay: dict[int, NotNow] = {}
    for row in rows:
        try:
            job = decrypted(
                claim.keyring,
                row,
                unknown_calls.get(row.id),
                provider=claim.policy.provider,
                session_id=claim.live_sessions.get(row.id, row.session_id),
            )
        except CannotDecrypt as error:
            stay[row.id] = Never(JobState.HELD, Reason.CANNOT_DECRYPT, str(error))
        except Erased as error:
            stay[row.id] = Never(JobState.FAILED, Reason.ERASED, str(error))
        else:
            jobs.append(job)
    return jobs, stay


def _is_for_a_message(job: ClaimedJob, *, now: datetime) -> bool:
    """True if the job needs its session only for a message. A look-up is made at any hour."""
    return _asks_by_message(job, now=now) and not job.looks_up


def _asks_by_message(job: Any, *, now: datetime) -> bool:
    """Whether this job, or claimed row, reaches its customer by a message, and not before.

    A customer who is in the app until `invite_at` needs the link there, and one who stands at the stable link needs it
    now.
    """
    in_app = job.invite_at is not None and job.invite_at > now
    return job.channel is not Channel.NONE and not in_app and job.pressed_at is None


_KEEP_BACK = bulk.Change(
    Job.id,
    bulk.new("state", "due_at", "reason", "detail") | {"lease_until": None, "changed_at": sa.bindparam("at")},
    by="job_id",
)


def _keep_back(connection: sa.Connection, stay: Mapping[int, NotNow], *, now: datetime) -> None:
    """Release the leased jobs that are not called: nothing is counted."""
    moves = [{"job_id": job_id, "at": now} | kept_back(stay[job_id], JobState.WAITING) for job_id in sorted(stay)]
    _KEEP_BACK.run(connection, moves)
    stopped = [job_id for job_id, why in stay.items() if isinstance(why, Never)]
    happened(connection, JobsStopped(stopped), now=now)
