"""Applies providers' updates to rows: the session, its customer's job, and their messages.

Jobs are locked before their sessions, and both are read under the locks. So of two updates at the same time the second
is compared with what the first has stored.
"""

import logging
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import known, made_of
from onboarding_worker.core.database.facts import JobsStopped, SessionsCompleted, SessionsExpired, happened
from onboarding_worker.core.database.job_ids import Key, among_keys, rows_of
from onboarding_worker.core.database.tables import Batch, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH, member_of
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.incoming import ACCOUNT
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.refusals import of_stored, stored
from onboarding_worker.core.model.states import InvitationState, JobState, Result, SessionState, WebhookState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rows import unknown_outcomes
from onboarding_worker.core.rows.verdicts import Verdict, signature, verdict_of
from onboarding_worker.events.store.unmatched_webhooks import OF_ERASED, customer_of, erased_of
from onboarding_worker.providers.webhooks.contract import Rank, SessionUpdate
from onboarding_worker.web.webhooks.session_chain import Again, Chain, JobNow, KnownSession, Link, may_be_replay
from onboarding_worker.web.webhooks.store.session_lookup import find
from onboarding_worker.web.webhooks.store.webhooks import UNMATCHED, KeptWebhook, WebhookResult, session_update

log = logging.getLogger(__name__)
CONTRADICTED = (
    "it says {new}, but {known} is stored, and nothing shows that it is the newer verdict: after 30 days it may be a"
    " copy of an old webhook; if the provider shows {new}, run `onboard events webhooks retry ID` to apply it"
)
OUT = (InvitationState.SENT, InvitationState.DELIVERED)


def apply_provider_updates(
    keyring: Keyring,
    peers: Mapping[str, frozenset[str]],
    again: Again,
    connection: sa.Connection,
    webhooks: Sequence[KeptWebhook],
    _due: set[WakeUp],
    now: datetime,
) -> dict[uuid.UUID, WebhookResult]:
    """Apply providers' session updates. `peers`: for each account, all whose webhooks come to the same address, itself
    included."""
    # In the order of arrival, which decides where rank, time and weight are equal.
    webhooks = sorted(webhooks, key=lambda one: (one.received_at, one.id))
    updates = {}
    for one in webhooks:
        name = one.source.removeprefix(ACCOUNT)
        updates[one.id] = session_update(one.update), peers.get(name, frozenset({name}))
    found = find(connection, keyring, updates, all_accounts=frozenset(peers))
    strangers = {one: customer_of(update.match) for one, (update, _) in updates.items() if one not in found}
    erased = erased_of(connection, keyring, {*filter(None, strangers.values())})
    chains = _chains(connection, keyring, {(row.customer_id, row.purpose) for row in found.values()})
    before = {key: chain.copy() for key, chain in chains.items()}
    results = {}
    for one in webhooks:
        update, _ = updates[one.id]
        row = found.get(one.id)
        chain = chains.get((row.customer_id, row.purpose)) if row is not None else None
        if row is None or chain is None or row.id not in chain.links:
            results[one.id] = _unknown(update, is_erased=strangers.get(one.id) in erased)
            continue
        link = chain.links[row.id]
        if may_be_replay(link.known, update, opened_at=link.issued_at, received_at=one.received_at):
            results[one.id] = _contradicted(update, link.known, row.id)
            continue
        changed = chain.apply(row.id, update, again=again, received_at=one.received_at, now=now)
        state = WebhookState.ALERT if update.alert else WebhookState.APPLIED if changed else WebhookState.IGNORED
        results[one.id] = WebhookResult(state, update.note, row.id, changed=_in_words(update) if changed else "")
    _write(connection, keyring, [(key, before[key], chain) for key, chain in chains.items()], now=now)
    return results


def _unknown(update: SessionUpdate, *, is_erased: bool) -> WebhookResult:
    """The result where no session matches; an update that changes no session needs no match. `is_erased`: its customer
    is, so nothing of it stays."""
    if is_erased:
        return WebhookResult(WebhookState.IGNORED, OF_ERASED)
    if update.state is None and not update.company_id:
        # It may name no session: then none is looked for.
        detail = "; ".join(filter(None, [update.note, UNMATCHED if update.match else ""]))
        return WebhookResult(WebhookState.ALERT if update.alert else WebhookState.IGNORED, detail)
    return WebhookResult(WebhookState.UNKNOWN, UNMATCHED)


def _in_words(update: SessionUpdate) -> str:
    """What an update says, for the audit log: words of ours alone."""
    said = [one.value for one in (update.state, update.result) if one is not None]
    return " ".join([*said, *(["vouched for by a person"] if update.vouched else [])]) or "company known"


def _contradicted(update: SessionUpdate, known: KnownSession, session_id: uuid.UUID) -> WebhookResult:
    """The result of a verdict that may be a copy of an old one. If it only repeats what is known, it is ignored."""
    if (update.state, update.result) == (known.state, known.result):
        return WebhookResult(WebhookState.IGNORED, session_id=session_id)
    new, stored = (one.value if one else "no result" for one in (update.result, known.result))
    return WebhookResult(WebhookState.ALERT, CONTRADICTED.format(new=new, known=stored), session_id, keeps=True)


# What updates change of a job, and of a session.
_MOVED = ("state", "session_id", "result", "reason", "due_at", "refused_session", "unknown_attempt")
_LEARNT = (
    *("state", "check_at", "result", "reasons", "note", "company_id", "update_rank", "update_at", "update_weight"),
    "verdict_digest",
)
_JOBS = (
    sa.select(
        *(Job.id, Job.customer_id, Job.purpose, Job.channel, Job.detail),
        *(getattr(Job, name) for name in _MOVED),
        sa.select(Batch.cancelled_at).where(Batch.id == Job.batch_id).scalar_subquery().label("cancelled_at"),
    )
    .where(*among_keys(Job), Job.leader_id.is_(None))
    .order_by(Job.id)
    .with_for_update(key_share=True)
)
_SESSIONS = (
    sa.select(
        *(SessionRow.id, SessionRow.customer_id, SessionRow.purpose, SessionRow.job_id, SessionRow.past),
        *(SessionRow.issued_at, SessionRow.expires_at),
        *(getattr(SessionRow, name) for name in _LEARNT),
    )
    .where(*among_keys(SessionRow))
    .order_by(SessionRow.id)
    .with_for_update(key_share=True)
)
_OF_ERASED = (
    sa.select(SessionRow.id)
    .join(CustomerRow, CustomerRow.customer_id == SessionRow.customer_id)
    .where(bulk.among(SessionRow.id, "sessions"), CustomerRow.encrypted.is_(None))
)
_MESSAGED = sa.select(InvitationRow.session_id).where(
    bulk.among(InvitationRow.session_id, "sessions"), InvitationRow.state.in_(OUT)
)


def _chains(connection: sa.Connection, keyring: Keyring, keys: set[Key]) -> dict[Key, Chain]:
    """The sessions and jobs of these customers and purposes, locked. Raises NotKnown."""
    chains = {key: Chain() for key in keys}
    jobs = [known(row) for row in rows_of(connection, _JOBS, keys)]
    sessions = [known(row) for row in rows_of(connection, _SESSIONS, keys)]
    # Whether a message has left makes a difference for these alone.
    asked = [
        row.session_id
        for row in jobs
        if row.session_id is not None
        and (row.state in (JobState.WAITING, JobState.ISSUED) or row.reason == Reason.SESSION_FAILED)
    ]
    given = {"sessions": bulk.keys(asked)}
    reached = set(connection.execute(_MESSAGED, given).scalars()) if asked else set()
    had = Counter((row.customer_id, row.purpose) for row in sessions if not row.past)
    for row in jobs:
        job = made_of(
            JobNow,
            row,
            reissues=had[row.customer_id, row.purpose] - 1,
            message_out=row.session_id in reached,
            silent=row.channel is Channel.NONE,
            cancelled=row.cancelled_at is not None,
        )
        chains[row.customer_id, row.purpose].jobs[row.id] = job
    for row in sessions:
        result, rank = member_of(Result, row.result) if row.result else None, member_of(Rank, row.update_rank)
        reasons = of_stored(row.reasons)
        stands = KnownSession(row.state, result, rank, row.update_at, row.update_weight, reasons, row.note)
        if verdict_of(keyring, row) is Verdict.CHANGED:
            log.error("session %s: %s; the provider's next word counts", row.id, Verdict.CHANGED.doubt)
            stands = KnownSession(SessionState.EXPIRED)
        chains[row.customer_id, row.purpose].links[row.id] = made_of(Link, row, known=stands)
    return chains


def _write(
    connection: sa.Connection, keyring: Keyring, chains: Sequence[tuple[Key, Chain, Chain]], *, now: datetime
) -> None:
    """Write the changes of each chain, and tell them. Each has its customer and purpose, and is before and after."""
    links: list[tuple[Link, Link]] = []
    digests: dict[uuid.UUID, str] = {}
    jobs: list[tuple[JobNow, JobNow]] = []
    over: list[uuid.UUID] = []
    for key, before, after in chains:
        links += [(before.links[id_], link) for id_, link in after.links.items() if link != before.links[id_]]
        for link in after.links.values():
            known = link.known
            digests[link.id] = signature(keyring, key, link.id, known.state, known.result_word, known.at)
        moved = [(before.jobs[id_], job) for id_, job in after.jobs.items() if job != before.jobs[id_]]
        jobs += moved
        if any(
            (job.state is not was.state and job.state not in (JobState.ISSUED, JobState.INVITED))
            or (job.refused_session != was.refused_session and job.session_id == job.refused_session)
            for was, job in moved
        ):
            over += after.links
    explained = [link.id for _, link in links if link.known.reasons]
    of_erased = set(connection.execute(_OF_ERASED, {"sessions": bulk.keys(explained)}).scalars() if explained else ())
    learnt = [_known(link, digests[link.id], explains=link.id not in of_erased) for _, link in links]
    _UPDATE_SESSIONS.run(connection, learnt)
    _MOVE_JOBS.run(connection, [_move(job, now=now) for _, job in jobs])
    unknown_outcomes.hand_over(connection, [job.id for was, job in jobs if job.unknown_attempt is not None], now=now)
    if over:
        connection.execute(_SUPERSEDE, {"sessions": bulk.keys(over)})
    decided: dict[str, list[uuid.UUID]] = {}
    for was, link in links:
        if link.known.has_verdict and (link.known.state, link.known.result) != (was.known.state, was.known.result):
            decided.setdefault(link.known.result_word, []).append(link.id)
    for result, ids in decided.items():
        happened(connection, SessionsCompleted(ids, result), now=now)
    expired = SessionState.EXPIRED
    ended = [link.id for was, link in links if link.known.state is expired and was.known.state is not expired]
    happened(connection, SessionsExpired(ended), now=now)
    failed = [job.id for was, job in jobs if job.state is JobState.FAILED and was.state is not JobState.FAILED]
    happened(connection, JobsStopped(failed), now=now)


def _known(link: Link, digest: str, *, explains: bool) -> dict[str, Any]:
    """`explains`: the reasons are kept; not of an erased customer."""
    known = link.known
    return {
        "id_": link.id,
        "new_state": known.state,
        "new_check_at": link.check_at,
        "new_result": known.result_word,
        "new_update_rank": int(known.rank),
        "new_update_at": known.at,
        "new_update_weight": known.weight,
        "new_verdict_digest": digest,
        "new_reasons": stored(known.reasons) if explains else "",
        "new_note": known.note[:400],
        "new_company_id": link.company_id,
    }


def _move(job: JobNow, *, now: datetime) -> dict[str, Any]:
    return {
        "id_": job.id,
        **{f"new_{name}": getattr(job, name) for name in _MOVED},
        "new_detail": job.detail[:DETAIL_LENGTH],
        # A new session starts with no attempt used.
        "kept_attempts": 0 if job.state is JobState.WAITING else 1,
        "at": now,
    }


_UPDATE_SESSIONS = bulk.Change(SessionRow.id, bulk.new(*_LEARNT), by="id_")
_MOVE_JOBS = bulk.Change(
    Job.id,
    bulk.new("detail", *_MOVED)
    | {
        # The lease stays: a call may be in flight, also of a job that has ended. If its worker dies, the sweep finds
        # its attempt by the lease.
        "needs_status_check": False,
        "attempts": Job.attempts * sa.bindparam("kept_attempts"),
        "changed_at": sa.bindparam("at"),
    },
    by="id_",
)
# Spelled so that the partial index is not used: statistics from before a list say that few messages wait, and the
# database would read all waiting messages to find these.
_WAITS = sa.func.lower(InvitationRow.state) == sa.literal_column(f"'{InvitationState.WAITING.value}'")
_SUPERSEDE = (
    sa.update(InvitationRow)
    .where(bulk.among(InvitationRow.session_id, "sessions"), _WAITS)
    .values(state=InvitationState.SUPERSEDED, due_at=None, reason=Reason.SESSION_ENDED)
)
