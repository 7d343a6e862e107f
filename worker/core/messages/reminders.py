"""Decides which reminder of a session is next, and when; by which channel, with which words.

A reminder repeats the link that the customer has; it never costs a session (docs/reference/reissue.md). A step of the
ladder is a reminder that goes by another channel or with another template than the first message. It refuses one where
the link ends first, and where the next one would follow at once.

Reminders are stored when their invitation is sent, each with its due time, and checked again when they are due.
So no process searches for customers to remind: a reminder is a message row like any other, and costs nothing until it
is due. The customer, the link and the configuration are checked when the reminder is about to leave.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.messages.message_context import ClaimedInvitation, MessageClaim
from onboarding_worker.core.model.customers import Customer
from onboarding_worker.core.model.endings import Later, Never, NotNow
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import (
    LIVE_SESSIONS,
    InvitationState,
    JobState,
    Result,
    SessionState,
    of_reminders,
)
from onboarding_worker.core.rows.in_review import others_in_review, sessions_in_review
from onboarding_worker.core.rows.message_rows import waiting_message
from onboarding_worker.core.rows.usage import sessions_of
from onboarding_worker.core.rules.contact import FIRST, ContactPolicy, is_resend, is_stale, kind_of
from onboarding_worker.core.rules.quiet_hours import QuietHours, allowed_at


@dataclass(frozen=True)
class Invited:
    """A session, on the channel of its invitation. Times are aware.

    `invitation` is the state of the first message, `invited_at` the time of its hand-over. `made` are the kinds of the
    reminders that exist on this channel, in any state. `in_review`: the customer has submitted. `floor` is the least
    life that a link may leave with.
    """

    job: JobState
    session: SessionState
    invitation: InvitationState
    invited_at: datetime
    expires_at: datetime
    floor: timedelta
    made: Collection[str] = ()
    in_review: bool = False


@dataclass(frozen=True)
class Reminder:
    """A reminder to send. `kind` is its permanent name: a session has one of each kind on each channel."""

    kind: str
    due_at: datetime


def next_reminder(
    after: Collection[timedelta],
    invited: Invited,
    zones: tuple[str, ...],
    quiet: QuietHours | None,
    now: datetime,
    *,
    skip: Collection[timedelta] = (),
    elsewhere: Mapping[timedelta, QuietHours | None] | None = None,
) -> Reminder | Reason:
    """The next reminder, due at `now` or later and outside quiet hours; or why there is none.

    `after` are the configured times, counted from the invitation. A reminder is skipped if the one after it is due by
    the time that it could leave: so a customer never gets two at once after an outage or quiet hours. `skip` are times
    of `after` without a reminder for this customer; `elsewhere` has the quiet hours of those by another channel.

    Caps and suppressed addresses are not decided here: they hold for each message (`messages.claim_invitations`).
    """
    if invited.job is not JobState.INVITED or invited.session not in LIVE_SESSIONS or invited.in_review:
        return Reason.NOT_OPEN
    if invited.invitation not in (InvitationState.SENT, InvitationState.DELIVERED):
        return Reason.NOT_REACHED
    spans = sorted(set(after))
    times = [invited.invited_at + span for span in spans]
    last_made = max((index for index in range(len(times)) if kind_of(index) in invited.made), default=-1)
    for index in range(last_made + 1, len(times)):
        if spans[index] in skip:
            continue
        due_at = allowed_at(zones, (elsewhere or {}).get(spans[index], quiet), max(times[index], now))
        later = next((invited.invited_at + span for span in spans[index + 1 :] if span not in skip), None)
        if later is not None and later <= due_at:
            continue
        if is_stale(invited.expires_at, floor=invited.floor, now=due_at):
            return Reason.LINK_ENDS_FIRST
        return Reminder(kind_of(index), due_at)
    return Reason.NONE_LEFT


@dataclass(frozen=True, repr=False)
class Sent:
    """A first message that has left, and its customer."""

    session_id: uuid.UUID
    job_id: int  # its job by now: another list's job may have got the message while it was sent
    channel: str
    customer: Customer
    expires_at: datetime


def add(connection: sa.Connection, contact: ContactPolicy, sent: Sequence[Sent], *, now: datetime) -> None:
    """Store the reminders of messages that left `now`. Reminders that exist already stay as they are."""
    after = contact.reminders
    if not after or not sent:
        return
    jobs = {row.id: row for row in fetch(connection, _JOBS, {"ids": bulk.keys({item.job_id for item in sent})})}
    rows = [
        waiting_message(
            session_id=item.session_id,
            job_id=item.job_id,
            channel=contact.ladder.step_of(reminder.kind, after).channel or item.channel,
            kind=reminder.kind,
            due_at=reminder.due_at,
            # The job's present priority counts: the batch may have been paused while the message left.
            priority=of_reminders(jobs[item.job_id].priority),
            now=now,
        )
        for item in sent
        for reminder in _all_of(item, jobs[item.job_id], contact, now=now)
    ]
    bulk.add_new(connection, InvitationRow, rows)


def _all_of(item: Sent, job: sa.Row[Any], contact: ContactPolicy, *, now: datetime) -> list[Reminder]:
    made: list[Reminder] = []
    zones = contact.hours.zones(item.customer, [item.channel, *contact.ladder.channels])
    quiet = contact.hours.quiet.get(item.channel)
    skip, elsewhere = contact.impossible(item.customer), contact.elsewhere
    while True:
        invited = Invited(
            job=JobState.INVITED,
            session=SessionState.WAITING,
            invitation=InvitationState.SENT,
            invited_at=now,
            expires_at=item.expires_at,
            floor=timedelta(seconds=job.floor_seconds),
            made=[reminder.kind for reminder in made],
        )
        found = next_reminder(contact.reminders, invited, zones, quiet, now, skip=skip, elsewhere=elsewhere)
        if not isinstance(found, Reminder):
            return made
        made.append(found)


def not_now(claim: MessageClaim, messages: Sequence[ClaimedInvitation]) -> Mapping[uuid.UUID, NotNow]:
    """The reminders among these messages that must not leave, or must wait."""
    reminders = [one for one in messages if one.kind != FIRST and not is_resend(one.kind)]
    if not reminders:
        return {}
    connection = claim.connection
    firsts: dict[uuid.UUID, dict[str, sa.Row[Any]]] = {}
    for row in fetch(connection, _FIRSTS, {"sessions": bulk.keys({one.leased.session_id for one in reminders})}):
        firsts.setdefault(row.session_id, {})[row.channel] = row
    # Our own link outlives its session: the customer may have submitted the one that followed.
    now_serving = {one.leased.job_session_id for one in reminders if one.own_link is not None} - {None}
    reviewed = sessions_in_review(connection, now_serving)
    following = {
        one.leased.session_id for one in reminders if one.leased.reached_before or one.leased.replaces is not None
    }
    in_review_before = others_in_review(connection, following)
    spent = _leading_nowhere(claim, reminders)
    found = {
        one.id: _judged(
            claim,
            one,
            firsts.get(one.leased.session_id, {}),
            in_review=one.leased.result == Result.REVIEW
            or one.leased.job_session_id in reviewed
            or one.leased.session_id in in_review_before,
        )
        for one in reminders
        if one.id not in spent
    }
    return spent | {id_: why for id_, why in found.items() if why is not None}


def _leading_nowhere(claim: MessageClaim, reminders: Sequence[ClaimedInvitation]) -> dict[uuid.UUID, NotNow]:
    """Those with our own link whose customer's session is over, where the customer may have no other one."""
    own = [one for one in reminders if one.own_link is not None and one.leased.job_session_id is not None]
    if not own:
        return {}
    given = {"sessions": bulk.keys({one.leased.job_session_id for one in own}), "now": claim.now}
    over = set(claim.connection.execute(_OVER, given).scalars())
    ended = [one for one in own if one.leased.job_session_id in over]
    had = sessions_of(claim.connection, [one.customer.customer_id for one in ended])
    return {
        one.id: Never(InvitationState.SUPERSEDED, Reason.REISSUES_SPENT)
        for one in ended
        if had[one.customer.customer_id, one.customer.purpose] > claim.policy.contact.caps.reissues
    }


def _judged(
    claim: MessageClaim, one: ClaimedInvitation, firsts: Mapping[str, sa.Row[Any]], *, in_review: bool
) -> NotNow | None:
    contact, channel, now = claim.policy.contact, claim.policy.channel, claim.now
    kinds = [kind_of(index) for index in range(len(set(contact.reminders)))]
    step = contact.ladder.step_of(one.kind, contact.reminders)
    if one.kind not in kinds or step.channel not in ("", channel):
        return Never(InvitationState.SUPERSEDED, Reason.NONE_LEFT)
    # The first message on the channel, or the earliest one on any.
    sent = [row for row in firsts.values() if row.sent_at is not None and (step.channel or row.channel == channel)]
    first = min(sent, key=lambda row: row.sent_at, default=None)
    if first is None:
        return Never(InvitationState.SUPERSEDED, Reason.NOT_REACHED)
    zones, quiet = contact.hours.zones(one.customer, [channel]), contact.hours.quiet.get(channel)
    invited = Invited(
        job=one.leased.job_state,
        session=SessionState.WAITING if one.own_link is not None else one.leased.session_state,
        # Another channel is tried also where the first one has not reached the customer.
        invitation=first.state if first.channel == channel else InvitationState.SENT,
        invited_at=first.sent_at,
        expires_at=one.expires_at,
        floor=one.floor,
        made=kinds[: kinds.index(one.kind)],
        in_review=in_review,
    )
    skip = contact.impossible(one.customer)
    match next_reminder(contact.reminders, invited, zones, quiet, now, skip=skip):
        case Reminder(kind=one.kind, due_at=due_at):
            return Later(due_at, Reason.REMINDER) if due_at > now else None
        case Reminder():
            return Never(InvitationState.SUPERSEDED, Reason.PASSED_OVER)
        case Reason() as why:
            return Never(InvitationState.SUPERSEDED, why)


_JOBS = sa.select(Job.id, Job.priority, Job.floor_seconds).where(bulk.among(Job.id, "ids"))
_FIRSTS = sa.select(InvitationRow.session_id, InvitationRow.channel, InvitationRow.state, InvitationRow.sent_at).where(
    bulk.among(InvitationRow.session_id, "sessions"), InvitationRow.kind == FIRST
)
_OVER = sa.select(SessionRow.id).where(
    bulk.among(SessionRow.id, "sessions"),
    SessionRow.state != bulk.fixed(SessionState.DEFERRED),
    sa.or_(
        SessionRow.state.not_in([bulk.fixed(state) for state in sorted(LIVE_SESSIONS)]),
        SessionRow.expires_at <= sa.bindparam("now"),
    ),
)
