"""Addresses that were corrected while somebody at the old one has a link that opens.

Whatever corrects an address calls `give_away` in its transaction, under the customer's lock: a list, an event, a report
that comes back, the desk. It marks the sessions whose links have gone to the old address, or may have: from then on no
message carries them to another (`messages.stale_links`), and no row reuses them. The next check of sessions
decides what follows (`rules.reissue`). Our own link gets a new secret at once, so the old one opens nothing.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow, StableLink
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.channels import Address
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.model.states import LIVE_SESSIONS, OPEN_JOBS, UNISSUED_JOBS, InvitationState, JobState
from onboarding_worker.core.rows import own_links
from onboarding_worker.core.rules.given_links import MAY_HAVE_LEFT, kinds_of, written
from onboarding_worker.core.upkeep.sent_again import Kinds, kind_of_address, send_again

Corrected = Mapping[str, Collection[Address]]  # by customer, the kinds of addresses that differ now
# Longer than a claim takes: one that began before this transaction ends has read the old address.
MOMENT = timedelta(seconds=2)


class Given(NamedTuple):
    """What old addresses have of links that open. `sessions` were given away, now (`marks`) or before. `renewed` are
    our own links, which get new secrets. `pressed` are rows that wait for a session asked for at such a link, `led` the
    sessions behind them that stay. `waiting` are messages to these addresses. `channels`: by session, on which its
    row's messages go."""

    sessions: Mapping[uuid.UUID, Any]
    marks: Sequence[dict[str, Any]]
    renewed: Sequence[Any]
    pressed: Sequence[int]
    led: Kinds
    waiting: Sequence[Any]
    channels: Mapping[uuid.UUID, tuple[str, ...]]
    customers: Mapping[uuid.UUID, str]


def find(connection: sa.Connection, corrected: Corrected, *, lock: bool, now: datetime) -> Given:
    """What the old addresses of these customers have. `lock`: the customers are locked, and what is theirs, too."""
    of_customers = {"customers": bulk.keys(corrected)}

    def rows(query: sa.Executable, locked: sa.Executable, **more: Any) -> list[Any]:
        return fetch(connection, locked if lock else query, of_customers | more)

    # In the order in which a dispatcher locks them.
    waiting = rows(_WAITING, _WAITING_LOCKED)
    jobs = {(row.customer_id, row.purpose): row for row in rows(_LEADING, _LEADING_LOCKED)}
    live = rows(_LIVE, _LIVE_LOCKED, now=now)
    own = {(row.customer_id, row.purpose): row for row in fetch(connection, _OWN_LINKS, of_customers)}
    gone = [row for row in fetch(connection, _GONE, of_customers) if kind_of_address(row) in corrected[row.customer_id]]
    by_key = _kinds(gone, lambda row: (row.customer_id, row.purpose))
    # Our own link led to the session that lives, whichever session its message was of.
    by_session = _kinds((row for row in gone if (row.customer_id, row.purpose) not in own), lambda row: row.session_id)
    sessions = {row.id: row for row in live if row.given_away and not row.same_link}
    marks = []
    for row in live:
        key = (row.customer_id, row.purpose)
        link = own.get(key)
        opened = link is not None and (link.opened_at is not None or link.visited_session == row.id)
        kinds = by_key.get(key, ()) if opened else by_session.get(row.id, ())
        if kinds:
            sessions[row.id] = row
            job = jobs.get(key)
            # Of a row that has ended nothing follows, and a held one waits for a person.
            follows = job is not None and job.session_id == row.id and _follows(job)
            old = written({*kinds_of(row.given_away), *corrected[row.customer_id]})
            marks.append({"id_": row.id, "kinds": old, "at": now if follows else row.check_at})
    revoked = {key: row for key, row in own.items() if key in by_key and row.revoked_at is None}
    behind = [(jobs[key], by_key[key]) for key in revoked if key in jobs]
    return Given(
        sessions=sessions,
        marks=marks,
        renewed=[*revoked.values()],
        pressed=[job.id for job, _ in behind if job.state in UNISSUED_JOBS],
        led={
            job.session_id: kinds
            for job, kinds in behind
            if job.state is JobState.INVITED and job.session_id is not None and job.session_id not in sessions
        },
        waiting=[row for row in waiting if kind_of_address(row) in corrected[row.customer_id]],
        channels={job.session_id: invitation_channels(job.channel) for job in jobs.values() if _follows(job)},
        customers={job.session_id: job.customer_id for job in jobs.values() if _follows(job)},
    )


def give_away(connection: sa.Connection, keyring: Keyring, corrected: Corrected, *, now: datetime) -> None:
    """What becomes of the links of these customers, who are locked and have other addresses now."""
    if corrected:
        given = find(connection, corrected, lock=True, now=now)
        mark(connection, keyring, given, now=now)
        send_again(connection, given.led, due_at=now + MOMENT, now=now)


def mark(connection: sa.Connection, keyring: Keyring, given: Given, *, now: datetime) -> None:
    """Let nothing that was given away lead a new address anywhere, and give our own links new secrets."""
    _MARK.run(connection, given.marks)
    own_links.renew(connection, keyring, given.renewed, now=now)
    # Who stands at the old link is not led on: the session that was asked for there goes by message.
    _LET_FOLLOW.run(connection, [{"job_id": job_id} for job_id in given.pressed])
    # A claim that has read the old address finds them not due.
    soon = [row.id for row in given.waiting if row.due_at is not None and row.due_at < now + MOMENT]
    _PUT_OFF.run(connection, [{"id_": one} for one in soon], at=now + MOMENT)


def _kinds(messages: Iterable[Any], of: Any) -> dict[Any, set[Address]]:
    found: dict[Any, set[Address]] = {}
    for row in messages:
        if (kind := kind_of_address(row)) is not None:
            found.setdefault(of(row), set()).add(kind)
    return found


def _follows(job: Any) -> bool:
    return job.session_id is not None and job.state in (JobState.ISSUED, JobState.INVITED)


_MARK = bulk.Change(
    SessionRow.id, {"given_away": sa.bindparam("kinds"), "same_link": False, "check_at": sa.bindparam("at")}, by="id_"
)
_LET_FOLLOW = bulk.Change(Job.id, {"link_requested_at": None}, by="job_id")
_IS_WAITING = InvitationRow.state == bulk.fixed(InvitationState.WAITING)
_PUT_OFF = bulk.Change(InvitationRow.id, {"due_at": sa.bindparam("at")}, _IS_WAITING, by="id_")
_SESSIONS = sa.select(SessionRow.id).where(bulk.among(SessionRow.customer_id, "customers"))
_WAITING = (
    sa.select(
        InvitationRow.id,
        InvitationRow.channel,
        InvitationRow.due_at,
        sa.select(SessionRow.customer_id)
        .where(SessionRow.id == InvitationRow.session_id)
        .scalar_subquery()
        .label("customer_id"),
    )
    .where(bulk.within(InvitationRow.session_id, _SESSIONS), _IS_WAITING)
    .order_by(InvitationRow.id)
)
_WAITING_LOCKED = _WAITING.with_for_update(of=InvitationRow)
_LEADING = (
    sa.select(Job.id, Job.customer_id, Job.purpose, Job.state, Job.session_id, Job.channel)
    .where(
        bulk.among(Job.customer_id, "customers"),
        Job.leader_id.is_(None),
        Job.state.in_([bulk.fixed(state) for state in OPEN_JOBS]),
    )
    .order_by(Job.id)
)
_LEADING_LOCKED = _LEADING.with_for_update(key_share=True)
_LIVE = (
    sa.select(
        SessionRow.id,
        SessionRow.customer_id,
        SessionRow.purpose,
        SessionRow.given_away,
        SessionRow.same_link,
        SessionRow.check_at,
        SessionRow.account,
        SessionRow.expires_at,
    )
    .where(
        bulk.among(SessionRow.customer_id, "customers"),
        SessionRow.state.in_([bulk.fixed(state) for state in sorted(LIVE_SESSIONS)]),
        SessionRow.expires_at > sa.bindparam("now"),
    )
    .order_by(SessionRow.id)
)
_LIVE_LOCKED = _LIVE.with_for_update(key_share=True)
_OWN_LINKS = sa.select(StableLink.__table__).where(bulk.among(StableLink.customer_id, "customers"))
# A message that was given up while its outcome was unknown, or repeated because of it, may have left, too.
_GONE = (
    sa.select(SessionRow.customer_id, SessionRow.purpose, InvitationRow.session_id, InvitationRow.channel)
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .where(
        bulk.among(SessionRow.customer_id, "customers"),
        sa.or_(
            InvitationRow.state.in_([bulk.fixed(state) for state in MAY_HAVE_LEFT]),
            InvitationRow.unknown_attempt.is_not(None),
            InvitationRow.unknown_handovers > 0,
        ),
    )
)
