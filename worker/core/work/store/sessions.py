"""New sessions and their invitations. Each customer and purpose has at most one live session."""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel, invitation_channels
from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.encrypted_values import ERASED, encrypt_session
from worker.core.database.fast import tally
from worker.core.database.job_ids import IS_LIVE, Key, among_keys, rows_of
from worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow
from worker.core.facts import Fact, MessagesSent, SessionsExpired, happened
from worker.core.foundation.ids import new_ids
from worker.core.lifecycle.reissue import SETTLES
from worker.core.messages.contact import FIRST
from worker.core.messages.quiet_hours import QuietHours, message_at
from worker.core.messages.store.message_rows import waiting_message
from worker.core.model.channels import is_mail
from worker.core.model.reasons import Reason
from worker.core.model.sessions import ExpirySource, Session
from worker.core.model.states import LIVE_SESSIONS, InvitationState, JobState, SessionState
from worker.core.unknown.reconciliation import LATEST_LOOK, LONGEST_LIFE

if TYPE_CHECKING:
    from worker.core.limits.store.flush import Flush
    from worker.core.work.store.job_context import JobPolicy

NO_QUIET_HOURS: Mapping[str, QuietHours] = MappingProxyType({})


@dataclass(repr=False, slots=True)  # frozen, it costs five times as much to make
class NewSession:
    """A session to store, and the job that it was opened for: claimed, or as its row.

    `invite_at`, `cancelled` and `live` are read with the job's lock: `cancelled`: the job was cancelled during its
    call; `live`: its customer has a live session.
    """

    id: uuid.UUID
    job: Any
    customer_id: str
    channels: tuple[str, ...]  # of its invitations
    priority: int
    account: str
    issued_at: datetime
    session: Session
    invite_at: datetime | None
    cancelled: bool
    live: bool
    silent: bool = False  # the customer stands at the stable link: no message follows
    sent: bool = False  # another tool has sent its link: the first messages count as sent
    unbought: bool = False  # nothing was asked of the provider: the customer asks for the session
    token_digest: str | None = None  # the hash by which the token is known again; None: a session has it already
    zones: tuple[str, ...] = ()  # the customer's possible time zones; empty if its channels have no quiet hours


@dataclass(frozen=True)
class SessionsIssued(Fact):
    """These sessions were opened for their customers."""

    issued: Sequence[NewSession]


@dataclass(frozen=True)
class Stored:
    """The stored sessions by job; the jobs that the provider has invited by itself; the channels with due messages.

    `cancelled` are jobs that were cancelled during their call. Their sessions are stored but not sent.
    """

    sessions: dict[int, uuid.UUID]
    invited: set[int]
    channels: set[str]
    cancelled: set[int]


def add(flush: "Flush[Any]", new: Sequence[NewSession], *, quiet: Mapping[str, QuietHours]) -> Stored:
    """Store new sessions, end the sessions that they replace, and add their invitations.

    If the customer has another session whose link has not expired, the customer keeps that session: the new session is
    left out of `Stored.sessions`, and its job must be held.
    """
    added = Stored({}, set(), set(), set())
    if not new:
        return added
    connection, keyring, now = flush.connection, flush.keyring, flush.now
    live = [(item.customer_id, item.job.purpose) for item in new if item.live]
    before = not_ended(connection, live) if live else {}
    added.cancelled.update(item.job.id for item in new if item.cancelled)
    gone = [item.customer_id for item in new if item.cancelled]
    erased = _erased(connection, gone) if gone else set()
    rows, invitations, ended, issued, texted = [], [], [], [], []
    message_ids = iter(new_ids(now, sum(len(item.channels) for item in new)))
    for item in new:
        session_id = item.id
        old = before.get((item.customer_id, item.job.purpose))
        # A session that has ended is not in `before`, but it is replaced as well: the sessions form a chain.
        replaces = item.job.session_id  # even if its link still opens
        if old is not None:
            if old.expires_at > now and old.id != item.job.session_id:
                continue
            end = SessionState.SUPERSEDED if old.expires_at > now else SessionState.EXPIRED
            ended.append({"session_id": old.id, "end": end})
            replaces = old.id
        # The result of a call must not restore the personal data of a customer who was erased meanwhile.
        empty = item.unbought or item.customer_id in erased
        kept = ERASED if empty else encrypt_session(keyring, session_id, item.session)
        rows.append(_session(flush.policy, item, kept, replaces=replaces))
        added.sessions[item.job.id] = session_id
        if item.silent:
            added.invited.add(item.job.id)
        if not item.unbought:
            issued.append(item)
        for channel in item.channels:
            invitation = first_invitation(
                item.job, session_id, channel, item.invite_at, priority=item.priority, id_=next(message_ids), now=now
            )
            if item.zones:
                due_at = message_at(channel, item.zones, quiet, invite_at=item.invite_at, now=now)
                if due_at > invitation["due_at"]:
                    invitation |= {"due_at": due_at, "reason": Reason.QUIET_HOURS}
            if item.sent or (item.session.sms_sent and not is_mail(channel)):
                # The provider has texted the link itself, or another tool has sent it: a second one would be too many.
                invitation |= {"state": InvitationState.SENT, "reason": Reason.SENT_BY_PROVIDER, "sent_at": now}
                added.invited.add(item.job.id)
                texted.append(invitation["id"])
            elif item.job.id in added.cancelled:
                continue
            elif invitation["due_at"] <= now:
                added.channels.add(channel)
            invitations.append(invitation)
    if ended:
        by_id = sa.update(SessionRow).where(SessionRow.id == sa.bindparam("session_id"))
        connection.execute(by_id.values(state=sa.bindparam("end"), check_at=None), ended)
        if expired := [item["session_id"] for item in ended if item["end"] is SessionState.EXPIRED]:
            happened(connection, SessionsExpired(expired), now=now)
    if rows:
        columns = zip(_STORED, map(list, zip(*rows, strict=True)), strict=True)
        bulk.add_columns(connection, SessionRow, dict(columns))
    _add_messages(connection, invitations)
    if issued:
        happened(connection, SessionsIssued(issued), now=now)
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


def _erased(connection: sa.Connection, customer_ids: Sequence[str]) -> set[str]:
    gone = sa.select(CustomerRow.customer_id).where(
        CustomerRow.customer_id.in_(customer_ids), CustomerRow.encrypted.is_(None)
    )
    return set(connection.execute(gone).scalars())


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


def invited_from(invite_at: datetime | None, *, now: datetime) -> datetime:
    """When a first invitation is due. Until `invite_at` the customer has the link in the app."""
    return now if invite_at is None else max(now, invite_at)


# The columns of a new session; the database fills in the others.
_STORED = (
    *("id", "customer_id", "purpose", "job_id", "account", "reference", "references", "vendor", "encrypted"),
    *("sms_sent", "state", "issued_at", "expires_at", "expiry_source", "replaces"),
    *("company_id", "token_digest", "check_at"),
)


def _session(
    policy: "JobPolicy | None", item: NewSession, encrypted: bytes, *, replaces: uuid.UUID | None
) -> tuple[Any, ...]:
    """The values of a new session, in the order of `_STORED`. A dictionary for each would be made into columns.

    It is looked at first before its end, if it may be replaced then. `policy` None: another tool opened it, at a
    provider that opens no second one before the end.
    """
    session = item.session
    references = session.references
    early = None if policy is None or item.unbought else policy.early_at(item.issued_at, session.expires_at)
    return (
        item.id,
        item.customer_id,
        item.job.purpose,
        item.job.id,
        item.account,
        session.reference[:100],
        dict(references),
        session.vendor[:64],
        encrypted,
        session.sms_sent,
        SessionState.UNBOUGHT if item.unbought else SessionState.WAITING,
        item.issued_at,
        session.expires_at,
        session.expiry_source,
        replaces,
        # Later events of a company's session may name it only by one of these values.
        references.get("companyId", "")[:100],
        item.token_digest,
        (early or session.expires_at + SETTLES) if item.channels or item.silent else None,
    )


def first_invitation(
    job: Any,
    session_id: uuid.UUID,
    channel: str,
    invite_at: datetime | None,
    *,
    priority: int,
    id_: uuid.UUID | None = None,
    now: datetime,
) -> dict[str, Any]:
    """A new invitation, for a claimed job or a job's row. `id_`: one of `new_ids`, where many are made."""
    return waiting_message(
        id_=id_,
        session_id=session_id,
        job_id=job.id,
        batch_id=job.batch_id,
        channel=channel,
        kind=FIRST,
        due_at=invited_from(invite_at, now=now),
        priority=priority,
        now=now,
    )
