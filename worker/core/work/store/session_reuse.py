"""Jobs that get a session without a call. A customer's next job reuses a live session, without a second message.

So it is with our own link, which the customer has already, before a session is bought. Where sessions are bought on
click, messages go out with our own link, and nothing is asked of a provider.
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult, Flush
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.facts import JobsStopped, happened
from onboarding_worker.core.database.job_ids import Key, among_keys, new_ids, rows_of
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.work import LEAD
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.model.endings import Done
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.core.model.states import (
    UNDELIVERED_INVITATIONS,
    InvitationState,
    JobState,
    SessionState,
    job_state_from_invitations,
    of_reminders,
)
from onboarding_worker.core.rows.in_review import follow_reviews
from onboarding_worker.core.rows.message_rows import move_messages, set_job_states, waiting_message
from onboarding_worker.core.rows.own_links import LEADS_ON, StableLinks, ends_of
from onboarding_worker.core.rows.sessions import add, check_at, in_review
from onboarding_worker.core.rules.contact import FIRST, PREFIX, is_stale
from onboarding_worker.core.rules.quiet_hours import Hours
from onboarding_worker.core.work.store.job_context import ClaimedJob, JobPolicy

FOLLOWS = "the customer is in review; no new session was opened"
JOINED = "the customer had a live session; no new session was opened"
JOINED_DEFERRED = "the customer's link of an earlier row leads on; no second one was sent"


def deferred(connection: sa.Connection, keys: Collection[Key], *, now: datetime) -> dict[Key, sa.Row[Any]]:
    """The deferred sessions of these keys whose links lead on, the newest of each. The rows are locked.

    One that nothing looks at any more was bought, its customer was erased, or a visitor said that its link is for
    another person.
    """
    found = {(row.customer_id, row.purpose): row for row in rows_of(connection, _DEFERRED, set(keys))}
    ends = ends_of(connection, found)
    # A link is made as its first message leaves.
    return {key: row for key, row in found.items() if row.expires_at > now and ends.get(key, row.expires_at) > now}


_DEFERRED = (
    sa.select(*SessionRow.__table__.columns)
    .where(*among_keys(SessionRow), *LEADS_ON)
    .order_by(SessionRow.id)
    .with_for_update()
)


def reuse(flush: Flush[JobPolicy], job: sa.Row[Any], session: sa.Row[Any], *, any_age: bool) -> Collection[str] | None:
    """Let a leased job reuse its customer's live session: no call, and no second message.

    Returns the channels on which it may have messages due. If the link is too old to send, was erased with the
    customer's earlier data, or went to an address that was corrected, the job waits until a new session may be opened;
    if one may be opened now, this returns None and the caller works the job. `any_age`: no link is too old, because
    messages have our own. A customer in review needs no link: the job follows the review.
    """
    connection, now = flush.connection, flush.now
    served_by = job.session_id if session.past else session.id  # a past one decides nothing: its end is waited for
    moved: dict[str, Any] = {"session_id": served_by, "lease_until": None, "changed_at": now}
    if not session.past:  # a customer who was refused is asked once more with this session, for whichever job
        refused = sa.select(LEAD.refused_session).where(LEAD.id == session.job_id).scalar_subquery()
        moved["refused_session"] = sa.func.coalesce(Job.refused_session, refused)
    held, bought = False, session.state is not SessionState.DEFERRED
    erased = bought and session.encrypted == ERASED
    too_old = not any_age and is_stale(session.expires_at, floor=timedelta(seconds=job.floor_seconds), now=now)
    given_away = bool(session.given_away) and not session.same_link
    # An unknown outcome is reconciled first.
    if in_review(session) and job.unknown_attempt is None and (erased or too_old or session.expires_at <= now):
        own = job.session_id == session.id
        reason, detail = ("", "") if own else (Reason.JOINED_SESSION, FOLLOWS)
        follow_reviews(connection, [(job, session.id)], reason=reason, detail=detail, now=now)
        happened(connection, JobsStopped([job.id]), now=now)
        return ()
    if erased or too_old or given_away:
        due_at = flush.policy.reissue_at(session.expires_at)
        if due_at <= now:
            return None
        why = "its link was erased" if erased else "its link is too old to send"
        why = "its link went to an address that was corrected" if given_away else why
        moved |= {
            "state": JobState.WAITING,
            "due_at": due_at,
            "reason": Reason.SESSION_ENDS_FIRST,
            "detail": f"the customer has a live session, but {why}; a new session is opened after its end",
        }
    else:
        states = _take_over(connection, job, session.id, now=now)
        if session.check_at is None and (at := check_at(job.channel, session.expires_at)) is not None:
            # The session's first list wanted no message or had ended. This job wants one, so the session is checked.
            connection.execute(sa.update(SessionRow).where(SessionRow.id == session.id).values(check_at=at))
        held = job_state_from_invitations(states) is JobState.HELD
        moved |= {
            "state": JobState.ISSUED if held else job_state_from_invitations(states) or JobState.ISSUED,
            "due_at": None,
            "unknown_attempt": None,  # whatever the call's outcome was, the customer is served
            "reason": Reason.JOINED_SESSION,
            "detail": JOINED if bought else JOINED_DEFERRED,
        }
    connection.execute(sa.update(Job).where(Job.id == job.id).values(moved))
    if held:  # the message says why
        set_job_states(connection, [job.id], now=now)
    else:
        happened(connection, JobsStopped([job.id]), now=now)
    return invitation_channels(job.channel)


def go_on(flush: Flush[JobPolicy], job: sa.Row[Any]) -> None:
    """Let a leased job that was to replace its session keep it: its customer has started."""
    invited = {"state": JobState.INVITED, "due_at": None, "lease_until": None, "reason": "", "changed_at": flush.now}
    flush.connection.execute(sa.update(Job).where(Job.id == job.id).values(invited))
    happened(flush.connection, JobsStopped([job.id]), now=flush.now)


def _take_over(
    connection: sa.Connection, job: sa.Row[Any], session_id: uuid.UUID, *, now: datetime
) -> list[InvitationState]:
    """Let this job own the session's unsent first invitations. Returns the states of all first invitations."""
    firsts = (InvitationRow.session_id == session_id, InvitationRow.kind == FIRST)
    # Locked: the result of an invitation that is being sent is either seen here, or is written for this job later.
    locked = sa.select(InvitationRow.__table__).where(*firsts).order_by(InvitationRow.id).with_for_update()
    existing = {row.channel: row for row in connection.execute(locked)}
    states, wanted = [], max(job.invite_at or now, now)  # until then the customer has the link in the app
    for channel in invitation_channels(job.channel):
        row = existing.get(channel)
        if row is None:
            new = waiting_message(session_id, job.id, channel, FIRST, due_at=wanted, priority=job.priority, now=now)
            connection.execute(sa.insert(InvitationRow), new)
            states.append(InvitationState.WAITING)
        elif row.state is InvitationState.WORKING or (row.state is InvitationState.WAITING and row.unknown_attempt):
            # It is being sent for a job that has ended meanwhile, or waits to be reconciled and keeps its due time. The
            # result belongs to this job.
            _pass_on(connection, row.id, job)
            states.append(InvitationState.WAITING)
        elif (
            row.state is InvitationState.HELD
            or row.reason == Reason.ABANDONED
            or (row.unknown_attempt and row.state in UNDELIVERED_INVITATIONS)  # cancelled before it was reconciled
        ):
            # It may have been delivered, even if it was abandoned: an operator decides again for this job's list.
            why = row.reason if row.state is InvitationState.HELD else Reason.UNKNOWN
            _pass_on(connection, row.id, job, state=InvitationState.HELD, reason=why)
            states.append(InvitationState.HELD)
        elif row.state in UNDELIVERED_INVITATIONS or row.state is InvitationState.WAITING:
            again = {"state": InvitationState.WAITING, "due_at": wanted, "attempts": 0, "reason": "", "detail": ""}
            _pass_on(connection, row.id, job, **again)
            states.append(InvitationState.WAITING)
        else:
            states.append(row.state)
            _take_reminders_over(connection, job, session_id, channel)
    return states


def _pass_on(connection: sa.Connection, message_id: uuid.UUID, job: sa.Row[Any], **values: Any) -> None:
    """Let this job own a message, with these values.

    With its priority too, also while the message is being sent: if it does not leave, the pause of the list that had it
    must not keep it.
    """
    which = InvitationRow.id == message_id
    move_messages(connection, which, job.id, batch_id=job.batch_id, priority=job.priority, **values)


def _take_reminders_over(connection: sa.Connection, job: sa.Row[Any], session_id: uuid.UUID, channel: str) -> None:
    """Continue the reminders of a sent message for this job: those that ended with the previous job, or wait for it."""
    ended = sa.and_(
        InvitationRow.session_id == session_id,
        InvitationRow.channel == channel,
        InvitationRow.kind != FIRST,
        InvitationRow.kind.not_like(f"{PREFIX}%"),  # what a person asked for went with the job that they asked for
        # Waiting: the message left after the job had ended.
        (InvitationRow.state == InvitationState.WAITING)
        | ((InvitationRow.state == InvitationState.SUPERSEDED) & (InvitationRow.reason == Reason.CANCELLED)),
        InvitationRow.due_at.is_not(None),  # NULL: the reminder was already over when the list was cancelled
    )
    again = {"priority": of_reminders(job.priority), "state": InvitationState.WAITING, "reason": ""}
    move_messages(connection, ended, job.id, batch_id=job.batch_id, **again)


_ISSUED = bulk.Change(
    Job.id,
    {
        "state": JobState.ISSUED,
        "due_at": None,
        "lease_until": None,
        "reason": "",
        "detail": "",
        "session_id": sa.bindparam("new_session_id"),
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)


def invite_deferred(flush: Flush[JobPolicy], links: StableLinks, jobs: Sequence[ClaimedJob]) -> set[str]:
    """Add the messages of these leased jobs, and release the jobs. Returns the channels with messages due now.

    The row of a deferred session stands where the session will be. It holds the messages together, and its end is the
    link's. No cap and no cost counts it.
    """
    now = flush.now
    nothing = Session("", "", "", now + links.valid, ExpirySource.FALLBACK)
    ids = new_ids(now, len(jobs))
    new = [(id_, CallResult(job, now, Done(), session=nothing), job) for id_, job in zip(ids, jobs, strict=True)]
    customers = {job.id: job.customer for job in jobs}
    # The messages know of quiet hours as they leave.
    added = add(flush, new, customers, Hours(), plain=True, bought=False)
    moves = [{"job_id": job.id, "new_session_id": added.sessions[job.id]} for job in jobs]
    _ISSUED.run(flush.connection, moves, at=now)
    return added.channels
