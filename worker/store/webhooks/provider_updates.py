"""What providers tell of sessions, as it changes rows: the session, its customer's job, and their messages.

Jobs are locked before their sessions, and both are read again then: what is heard is compared with what is known under
the locks, so that of two that come at once one finds what the other did.
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.events.published import Happened
from worker.domain.model.customers import Channel
from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState, JobState, SessionState
from worker.domain.model.wakeups import WakeUp
from worker.domain.verification.session_chain import Chain, JobNow, Link
from worker.domain.verification.session_updates import KnownSession, Rank, Result, SessionUpdate, session_update
from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.customer_keys import Key, among_keys, rows_of
from worker.store.outbox.outbox import add_job_events, add_session_events
from worker.store.tables import InvitationRow, Job, SessionRow
from worker.store.webhooks.session_lookup import Asked, find
from worker.store.webhooks.webhooks import ACCOUNT, Became, KeptWebhook, WebhookState

CONTRADICTED = (
    "it says {said} where {known} is known, and not that it is the later one: after 30 days it may be a copy of an old"
    " one; if the provider shows {said}, `onboard webhook retry ID` applies it"
)
OUT = (InvitationState.SENT, InvitationState.DELIVERED)


class ProviderUpdates:
    """Applies what providers say of sessions."""

    def __init__(self, keyring: Keyring, peers: Mapping[str, frozenset[str]], *, most_reissues: int) -> None:
        """`peers`: by account, all whose webhooks come to its address, itself among them."""
        self._keyring = keyring
        self._peers = peers
        self._most_reissues = most_reissues

    def __call__(
        self, connection: sa.Connection, webhooks: Sequence[KeptWebhook], _due: set[WakeUp], now: datetime
    ) -> dict[uuid.UUID, Became]:
        # In the order of their coming, which counts where nothing else tells them apart.
        webhooks = sorted(webhooks, key=lambda one: (one.received_at, one.id))
        update = {one.id: session_update(one.said) for one in webhooks}
        asked = [Asked(one.id, update[one.id], self._accounts(one.source)) for one in webhooks]
        found = find(connection, self._keyring, asked, everyone=frozenset(self._peers))
        chains = _chains(connection, {(row.customer_id, row.purpose) for row in found.values()})
        before = {key: chain.copy() for key, chain in chains.items()}
        became = {}
        for one in webhooks:
            row = found.get(one.id)
            chain = chains.get((row.customer_id, row.purpose)) if row is not None else None
            if row is None or chain is None or row.id not in chain.links:
                became[one.id] = _unknown(update[one.id])
                continue
            if chain.contradicts(row.id, update[one.id], received_at=one.received_at):
                became[one.id] = _contradicted(update[one.id], chain.links[row.id].known, row.id)
                continue
            changed = chain.apply(
                row.id, update[one.id], most_reissues=self._most_reissues, received_at=one.received_at, now=now
            )
            became[one.id] = _became(update[one.id], row.id, changed=changed)
        _write(connection, [(before[key], chain) for key, chain in chains.items()], now=now)
        return became

    def _accounts(self, source: str) -> frozenset[str]:
        name = source.removeprefix(ACCOUNT)
        return self._peers.get(name, frozenset({name}))


def _unknown(update: SessionUpdate) -> Became:
    """No session of ours; what changes no session need not find one."""
    if update.state is None and not update.company_id:
        return Became(WebhookState.ALERT if update.alert else WebhookState.IGNORED, update.note)
    return Became(WebhookState.UNKNOWN, "it names no session that is known here")


def _became(update: SessionUpdate, session_id: uuid.UUID, *, changed: bool) -> Became:
    if update.alert:
        return Became(WebhookState.ALERT, update.note, session_id)
    return Became(WebhookState.APPLIED if changed else WebhookState.IGNORED, update.note, session_id)


def _contradicted(update: SessionUpdate, known: KnownSession, session_id: uuid.UUID) -> Became:
    """It may be a copy of an old verdict. Where it only says the same again, nobody need look."""
    if (update.state, update.result) == (known.state, known.result):
        return Became(WebhookState.IGNORED, session_id=session_id)
    said, was = (one.value if one else "no result" for one in (update.result, known.result))
    return Became(WebhookState.ALERT, CONTRADICTED.format(said=said, known=was), session_id, keeps=True)


_JOBS = (
    sa.select(
        Job.id,
        Job.customer_id,
        Job.purpose,
        Job.state,
        Job.session_id,
        Job.reason,
        Job.detail,
        Job.result,
        Job.unknown_attempt,
        Job.channel,
        Job.due_at,
    )
    .where(*among_keys(Job), Job.joins.is_(None))
    .order_by(Job.id)
    .with_for_update(key_share=True)
)
_SESSIONS = (
    sa.select(
        SessionRow.id,
        SessionRow.customer_id,
        SessionRow.purpose,
        SessionRow.job_id,
        SessionRow.state,
        SessionRow.issued_at,
        SessionRow.expires_at,
        SessionRow.check_at,
        SessionRow.result,
        SessionRow.update_rank,
        SessionRow.update_at,
        SessionRow.update_weight,
        SessionRow.note,
        SessionRow.company_id,
    )
    .where(*among_keys(SessionRow))
    .order_by(SessionRow.id)
    .with_for_update(key_share=True)
)
_TOLD = sa.select(InvitationRow.session_id).where(
    bulk.among(InvitationRow.session_id, "sessions"), InvitationRow.state.in_(OUT)
)


def _chains(connection: sa.Connection, keys: set[Key]) -> dict[Key, Chain]:
    """What there is of these customers and purposes; locked."""
    chains = {key: Chain() for key in keys}
    jobs = rows_of(connection, _JOBS, keys)
    sessions = rows_of(connection, _SESSIONS, keys)
    reached = _told(connection, jobs)
    had = Counter((row.customer_id, row.purpose) for row in sessions)
    for row in jobs:
        job = JobNow(
            row.id,
            row.state,
            row.session_id,
            row.reason,
            row.detail,
            row.result,
            unknown_attempt=row.unknown_attempt,
            reissues=had[row.customer_id, row.purpose] - 1,
            message_out=row.session_id in reached,
            silent=row.channel is Channel.NONE,
            due_at=row.due_at,
        )
        chains[row.customer_id, row.purpose].jobs[row.id] = job
    for key, chain in chains.items():
        rows = [row for row in sessions if (row.customer_id, row.purpose) == key]
        chain.links |= {row.id: _link(row) for row in rows}
        chain.owners |= {row.id: row.job_id for row in rows}
        chain.companies |= {row.id: row.company_id for row in rows}
    return chains


def _told(connection: sa.Connection, jobs: Sequence[sa.Row[Any]]) -> set[uuid.UUID]:
    """The sessions of which a message is out, of jobs where that decides something."""
    asked = [
        row.session_id
        for row in jobs
        if row.session_id is not None
        and (row.state in (JobState.WAITING, JobState.ISSUED) or row.reason == Reason.SESSION_FAILED)
    ]
    if not asked:
        return set()
    return set(connection.execute(_TOLD, {"sessions": bulk.keys(asked)}).scalars())


def _link(row: sa.Row[Any]) -> Link:
    known = KnownSession(
        row.state,
        Result(row.result) if row.result else None,
        Rank(row.update_rank),
        row.update_at,
        row.update_weight,
        row.note,
    )
    return Link(row.id, row.issued_at, row.expires_at, row.check_at, known)


def _write(connection: sa.Connection, chains: Sequence[tuple[Chain, Chain]], *, now: datetime) -> None:
    """Write what has changed, from what each chain was to what it is; and have others told of it."""
    links: list[tuple[Link, Link]] = []
    jobs: list[tuple[JobNow, JobNow]] = []
    known = []
    over: list[uuid.UUID] = []
    for before, after in chains:
        for id_, link in after.links.items():
            if link != before.links[id_] or after.companies[id_] != before.companies[id_]:
                known.append(_known(link, after.companies[id_]))
                links.append((before.links[id_], link))
        moved = [(before.jobs[id_], job) for id_, job in after.jobs.items() if job != before.jobs[id_]]
        jobs += moved
        if any(
            job.state is not was.state and job.state not in (JobState.ISSUED, JobState.INVITED) for was, job in moved
        ):
            over += after.links
    _HEARD.run(connection, known)
    _MOVED.run(connection, [_move(job, now=now) for _, job in jobs])
    if over:
        connection.execute(_SUPERSEDE, {"sessions": bulk.keys(over)})
    _tell(connection, links, now=now)
    failed = [job.id for was, job in jobs if job.state is JobState.FAILED and was.state is not JobState.FAILED]
    add_job_events(connection, failed, now=now)


def _tell(connection: sa.Connection, links: Sequence[tuple[Link, Link]], *, now: datetime) -> None:
    by_result: dict[str, list[uuid.UUID]] = {}
    for was, link in links:
        decided = (link.known.state, link.known.result) != (was.known.state, was.known.result)
        if link.has_verdict and decided:
            by_result.setdefault(link.known.result.value if link.known.result else "", []).append(link.id)
    for result, ids in by_result.items():
        add_session_events(connection, ids, Happened.SESSION_COMPLETED, result=result, now=now)
    expired = SessionState.EXPIRED
    ended = [link.id for was, link in links if link.known.state is expired and was.known.state is not expired]
    add_session_events(connection, ended, Happened.SESSION_EXPIRED, now=now)


def _known(link: Link, company_id: str) -> dict[str, Any]:
    known = link.known
    return {
        "id_": link.id,
        "new_state": known.state,
        "new_look_at": link.check_at,
        "new_result": known.result.value if known.result else "",
        "new_rank": int(known.rank),
        "new_at": known.at,
        "new_weight": known.weight,
        "new_note": known.note[:400],
        "new_company": company_id,
    }


def _move(job: JobNow, *, now: datetime) -> dict[str, Any]:
    return {
        "id_": job.id,
        "new_state": job.state,
        "new_session_id": job.session_id,
        "new_result": job.result,
        "new_reason": job.reason,
        "new_detail": job.detail[:400],
        "new_due_at": job.due_at,
        # A new session is asked for with all attempts ahead of it.
        "kept_attempts": 0 if job.state is JobState.WAITING else 1,
        "new_unknown_attempt": job.unknown_attempt,
        "at": now,
    }


_HEARD = bulk.Change(
    SessionRow.id,
    {
        "state": sa.bindparam("new_state"),
        "check_at": sa.bindparam("new_look_at"),
        "result": sa.bindparam("new_result"),
        "update_rank": sa.bindparam("new_rank"),
        "update_at": sa.bindparam("new_at"),
        "update_weight": sa.bindparam("new_weight"),
        "note": sa.bindparam("new_note"),
        "company_id": sa.bindparam("new_company"),
    },
    by="id_",
)
_MOVED = bulk.Change(
    Job.id,
    {
        "state": sa.bindparam("new_state"),
        "session_id": sa.bindparam("new_session_id"),
        "result": sa.bindparam("new_result"),
        "reason": sa.bindparam("new_reason"),
        "detail": sa.bindparam("new_detail"),
        "due_at": sa.bindparam("new_due_at"),
        "lease_until": None,
        "attempts": Job.attempts * sa.bindparam("kept_attempts"),
        "unknown_attempt": sa.bindparam("new_unknown_attempt"),
        "changed_at": sa.bindparam("at"),
    },
    by="id_",
)
# Not in the words of the partial index: by statistics from before a list few messages wait, and all that do would be
# read to find these.
_WAITS = sa.func.lower(InvitationRow.state) == sa.literal_column(f"'{InvitationState.WAITING.value}'")
_SUPERSEDE = (
    sa.update(InvitationRow)
    .where(bulk.among(InvitationRow.session_id, "sessions"), _WAITS)
    .values(state=InvitationState.SUPERSEDED, due_at=None, reason=Reason.SESSION_ENDED)
)
