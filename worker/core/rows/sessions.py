"""Stores new sessions and their invitations. Refused is a second live one: each customer and purpose has one at most,
and keeps the one whose link has not ended.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.bulk import Columns
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import ERASED, encrypt_session
from onboarding_worker.core.database.facts import Fact, MessagesSent, SessionsExpired, happened
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.job_ids import IS_LIVE, Key, among_keys, new_ids, rows_of
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.channels import is_mail
from onboarding_worker.core.model.customers import Channel, Customer, invitation_channels
from onboarding_worker.core.model.endings import Done
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import LIVE_SESSIONS, InvitationState, JobState, Result, SessionState
from onboarding_worker.core.rows.message_rows import waiting_message
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.core.rules.quiet_hours import Hours, allowed_at
from onboarding_worker.core.rules.reconciliation import LATEST_LOOK, LONGEST_LIFE
from onboarding_worker.core.rules.reissue import SETTLES

if TYPE_CHECKING:
    from onboarding_worker.core.claim.flush import Flush
    from onboarding_worker.core.work.store.job_context import IssueResult


@dataclass(frozen=True)
class SessionsIssued(Fact):
    """These sessions were opened for their customers: by column, the stored values."""

    issued: Columns


@dataclass(frozen=True)
class Stored:
    """The stored sessions by job; the jobs that the provider has invited by itself; the channels with due messages.

    `cancelled` are jobs that were cancelled during their call. Their sessions are stored but not sent.
    """

    sessions: dict[int, uuid.UUID]
    invited: set[int]
    channels: set[str]
    cancelled: set[int]


def add(
    flush: "Flush[Any]",
    new: "Sequence[tuple[uuid.UUID, IssueResult, Any]]",
    customers: Mapping[int, Customer],
    hours: Hours,
    *,
    plain: bool = False,
    sent: bool = False,
    bought: bool = True,
) -> Stored:
    """Store new sessions, end the sessions that they replace, and add their invitations.

    `new`: each with its id, its result, and its job as that is now, under its lock; `customers`: by job. `plain`: none
    of the jobs was cancelled during its call, and none of the customers has a live session, or stands at the stable
    link. `sent`: another tool has sent the links, so the first messages count as sent. `bought` False: nothing was
    asked of the provider, and the customers ask for their sessions.

    If the customer has another session whose link has not expired, the customer keeps that session: the new session is
    left out of `Stored.sessions`, and its job must be held.
    """
    added = Stored({}, set(), set(), set())
    if not new:
        return added
    connection, keyring, now = flush.connection, flush.keyring, flush.now
    before: Mapping[Key, sa.Row[Any]] = {}
    if not plain:
        having = [customers[item.row.id] for _, item, row in new if row.live_session is not None]
        before = not_ended(connection, [(customer.customer_id, customer.purpose) for customer in having])
        added.cancelled.update(item.row.id for _, item, row in new if row.cancelled_at is not None)
    channels_of = [invitation_channels(item.row.channel) if isinstance(item.ending, Done) else () for _, item, _ in new]
    rows, invitations, ended, texted = [], [], [], []
    message_ids = iter(new_ids(now, sum(map(len, channels_of))))
    for (session_id, item, row), channels in zip(new, channels_of, strict=True):
        job, session, customer = item.row, item.session, customers[item.row.id]
        assert session is not None  # noqa: S101 -- for mypy
        old = before.get((customer.customer_id, customer.purpose))
        # A session that has ended is not in `before`, but it is replaced as well: the sessions form a chain.
        replaces = job.session_id  # even if its link still opens
        if old is not None:
            if old.expires_at > now and old.id != job.session_id:
                continue
            end = SessionState.SUPERSEDED if old.expires_at > now else SessionState.EXPIRED
            ended.append({"session_id": old.id, "end": end})
            replaces = old.id
        early = None
        # It is looked at first before its end, if it may be replaced then. Another tool opened it (no policy) at a
        # provider that opens no second one before the end.
        if bought and flush.policy is not None and flush.policy.contact.ahead:
            early = flush.policy.early_at(item.began_at, session.expires_at)
        rows.append(
            (
                session_id,
                customer.customer_id,
                customer.purpose,
                job.id,
                row.account if flush.policy is None else flush.policy.account,
                session.reference[:100],
                dict(session.references),
                session.vendor[:64],
                encrypt_session(keyring, session_id, session) if bought else ERASED,
                session.sms_sent,
                SessionState.WAITING if bought else SessionState.DEFERRED,
                item.began_at,
                session.expires_at,
                session.expiry_source,
                replaces,
                # Later events of a company's session may name it only by one of these values.
                session.references.get("companyId", "")[:100],
                item.token_digest,
                (early or session.expires_at + SETTLES) if channels else None,
            )
        )
        added.sessions[job.id] = session_id
        if channels and not plain and row.link_requested_at is not None:
            channels = ()  # the customer stands at the stable link: no message follows
            added.invited.add(job.id)
        zones = hours.zones(customer, channels) if hours.quiet else ()
        wanted = max(row.invite_at or now, now)  # until then the customer has the link in the app
        for channel in channels:
            invitation = waiting_message(
                id_=next(message_ids),
                session_id=session_id,
                job_id=job.id,
                channel=channel,
                kind=FIRST,
                due_at=allowed_at(zones, hours.quiet.get(channel), wanted) if zones else wanted,
                wanted=wanted,
                priority=row.priority,
                now=now,
            )
            if sent or (session.sms_sent and not is_mail(channel)):
                # The provider has texted the link itself, or another tool has sent it: a second one would be too many.
                invitation |= {"state": InvitationState.SENT, "reason": Reason.SENT_BY_PROVIDER, "sent_at": now}
                added.invited.add(job.id)
                texted.append(invitation["id"])
            elif job.id in added.cancelled:
                continue
            elif invitation["due_at"] <= now:
                added.channels.add(channel)
            invitations.append(invitation)
    if ended:
        by_id = sa.update(SessionRow).where(SessionRow.id == sa.bindparam("session_id"))
        connection.execute(by_id.values(state=sa.bindparam("end"), check_at=None), ended)
        if expired := [item["session_id"] for item in ended if item["end"] is SessionState.EXPIRED]:
            happened(connection, SessionsExpired(expired), now=now)
    # Column by column: a dictionary for each row would be made into columns.
    columns = dict(zip(_STORED, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    if rows:
        bulk.add_columns(connection, SessionRow, columns)
    _add_messages(connection, invitations)
    if rows and bought:
        happened(connection, SessionsIssued(columns), now=now)
    if texted:
        happened(connection, MessagesSent(texted), now=now)
    return added


def _add_messages(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    counts = tally.counts_in_bulk(len(rows))
    for row in rows:
        row["counted"] = counts
    if counts:
        alike = Counter((row["batch_id"], row["state"], row["channel"], row["reason"]) for row in rows)
        for (batch_id, state, channel, reason), number in alike.items():
            tally.of(connection).add(tally.message(batch_id, state, channel, reason), number)
    bulk.add(connection, InvitationRow, rows)


# There is nearly always no live session, and this must be cheap to find out: through the unique index, row by row.
# Without the sub-select, a planner that knows of no sessions yet reads all sessions, also when they become many.
LIVE_SESSION = (
    sa.select(SessionRow.id)
    .where(SessionRow.customer_id == Job.customer_id, SessionRow.purpose == Job.purpose, IS_LIVE)
    .correlate(Job)
    .scalar_subquery()
)
# By purpose too: to lock another purpose's session could deadlock with the transaction that writes its result.
_NOT_ENDED = (
    sa.select(*SessionRow.__table__.columns)
    .where(*among_keys(SessionRow), IS_LIVE)
    .order_by(SessionRow.id)
    .with_for_update()
)


def not_ended(connection: sa.Connection, keys: Iterable[Key]) -> dict[Key, sa.Row[Any]]:
    """The live sessions of these keys, with expired links too. The rows are locked. No key: no query."""
    return {(row.customer_id, row.purpose): row for row in rows_of(connection, _NOT_ENDED, set(keys))}


def live(connection: sa.Connection, keys: Sequence[Key], *, now: datetime) -> dict[Key, sa.Row[Any]]:
    """The live sessions of these keys: their links have not expired, or they are in review. The rows are locked."""
    # The expiry is compared here, not in the query: with statistics from before a list, PostgreSQL expects few sessions
    # that have not expired, and reads all sessions that the list has opened by now.
    found = not_ended(connection, keys)
    return {key: row for key, row in found.items() if row.expires_at > now or in_review(row)}


def in_review(session: sa.Row[Any]) -> bool:
    return bool(session.result == Result.REVIEW) and not session.past


def check_at(channel: Channel, expires_at: datetime) -> datetime | None:
    """When to check whether a session ended unused; None if no channel could carry another link."""
    return expires_at + SETTLES if invitation_channels(channel) else None


def schedule_checks(connection: sa.Connection, job_ids: Collection[int], *, now: datetime) -> None:
    """Schedule the checks of the sessions of the invited jobs among these jobs.

    Call this when an unknown outcome is settled, or a review takes over: until then the sweep may have stopped checking
    the session.
    """
    if not job_ids:
        return
    found = fetch(connection, _UNCHECKED, {"ids": bulk.keys(job_ids)})
    again = [
        {"session_id": row.id, "at": now if row.state is SessionState.EXPIRED else at}
        for row in found
        if (at := check_at(row.channel, row.expires_at)) is not None
    ]
    if again:
        by_id = sa.update(SessionRow).where(SessionRow.id == sa.bindparam("session_id"))
        connection.execute(by_id.values(check_at=sa.bindparam("at")), again)


def outlived(connection: sa.Connection, session_ids: Collection[uuid.UUID | None], *, now: datetime) -> None:
    """Put off the ends of these sessions, which the provider's list calls open, where the end is not the provider's
    own: the list knows better. For as long as any session lives, since a list may name one too long."""
    if session_ids:
        wrong = sa.update(SessionRow).where(
            SessionRow.id.in_(session_ids),
            SessionRow.expiry_source == ExpirySource.FALLBACK,
            SessionRow.state.in_(LIVE_SESSIONS),
            SessionRow.expires_at <= now,
            SessionRow.issued_at > now - LONGEST_LIFE,
        )
        connection.execute(wrong.values(expires_at=now + LATEST_LOOK))


_UNCHECKED = (
    sa.select(SessionRow.id, SessionRow.state, SessionRow.expires_at, Job.channel)
    .join(Job, Job.session_id == SessionRow.id)
    .where(
        bulk.among(Job.id, "ids"),
        Job.state == JobState.INVITED,
        SessionRow.check_at.is_(None),
        SessionRow.state.in_([*LIVE_SESSIONS, SessionState.EXPIRED]),
    )
    .order_by(SessionRow.id)
    .with_for_update(of=SessionRow)
)


# The columns of a new session; the database fills in the others.
_STORED = (
    *("id", "customer_id", "purpose", "job_id", "account", "reference", "references", "vendor", "encrypted"),
    *("sms_sent", "state", "issued_at", "expires_at", "expiry_source", "replaces"),
    *("company_id", "token_digest", "check_at"),
)
