"""The statements of sessions that another tool opened: slots for look-ups, who is served already, and their rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.claim.flush import CallResult, Flush
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import TOKEN
from onboarding_worker.core.database.job_ids import IS_LIVE, Key, among_keys, new_ids, rows_of
from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.messages import reminders
from onboarding_worker.core.model.customers import Customer, invitation_channels
from onboarding_worker.core.model.endings import Done
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.core.model.states import OPEN_JOBS, JobState
from onboarding_worker.core.rows import sessions
from onboarding_worker.core.rules.budgets import BudgetRule, Grant, grant
from onboarding_worker.core.rules.call_outcomes import CallOutcome
from onboarding_worker.core.rules.contact import ContactPolicy

HORIZON = timedelta(seconds=1)  # slots are reserved so far ahead
_LIVE = sa.select(SessionRow.customer_id, SessionRow.purpose).where(*among_keys(SessionRow), IS_LIVE)
_OPEN = sa.select(Job.customer_id, Job.purpose).where(*among_keys(Job), Job.state.in_(OPEN_JOBS))
_KNOWN = sa.select(SessionRow.token_digest).where(
    SessionRow.token_digest.is_not(None), bulk.among(SessionRow.token_digest, "digests")
)
_ADDED = (
    sa.select(
        Job.id,
        Job.channel,
        Job.priority,
        Job.account,
        Job.session_id,
        # Nothing has come for a new job, and its customer may have a live session.
        *(sa.null().label(name) for name in ("invite_at", "cancelled_at", "link_requested_at")),
        sa.true().label("live_session"),
    )
    .where(bulk.among(Job.id, "ids"), Job.state == bulk.fixed(JobState.WAITING), Job.leader_id.is_(None))
    .order_by(Job.id)
    .with_for_update()
)
Adopted = tuple[Customer, Session]  # a session that another tool opened, and its customer
_MOVE = bulk.Change(Job.id, bulk.new("state", "session_id", "reason", "detail", "due_at"), by="job_id")


class AdoptedSessions:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def slots(self, rule: BudgetRule, most: int, *, now: datetime) -> Grant:
        """Reserve calls of the account's budget. Look-ups cost no credit, so a cap of credits refuses none."""
        rule = replace(rule, credits=None)
        with self._database.write() as connection:
            state = budgets.read(connection, rule.name, lock=True)
            granted = grant(state, rule, most=most, now=now, horizon=HORIZON)
            budgets.reserve(connection, rule, state, granted, granted.slots.count, now=now, probe_for=HORIZON)
        return granted

    def apply(self, rule: BudgetRule, outcomes: Sequence[CallOutcome], *, now: datetime) -> None:
        with self._database.write() as connection:
            budgets.apply_outcomes(connection, rule, outcomes, now=now, refund=False)

    def served(self, keys: Collection[Key]) -> set[Key]:
        """Those of these customers, by purpose, who have a live session or an open row already."""
        with self._database.read() as connection:
            found = [row for query in (_LIVE, _OPEN) for row in rows_of(connection, query, keys)]
        return {(row.customer_id, row.purpose) for row in found}

    def known(self, tokens: Collection[str]) -> set[str]:
        """Those of these tokens that a session has already."""
        digests = {digest: token for token in tokens for digest in self._keyring.digests(TOKEN, token)}
        return {digests[row.token_digest] for row in self._database.rows(_KNOWN, {"digests": bulk.keys(digests)})}


def store(
    connection: sa.Connection,
    keyring: Keyring,
    adopted: Mapping[int, Adopted],
    contact: ContactPolicy,
    *,
    invites: bool,
    now: datetime,
) -> None:
    """Give the jobs that were added in this transaction their sessions, by job id. `invites`: a first message with the
    link leaves; else another tool has sent it, and reminders follow."""
    jobs = fetch(connection, _ADDED, {"ids": bulk.keys(adopted)}) if adopted else []
    new = []
    for job, id_ in zip(jobs, new_ids(now, len(jobs)), strict=True):
        session = replace(adopted[job.id][1], expiry_source=ExpirySource.FALLBACK)
        digest = keyring.digests(TOKEN, session.token)[0]
        new.append((id_, CallResult(job, now, Done(), session=session, token_digest=digest), job))
    customers = {job.id: adopted[job.id][0] for job in jobs}
    added = sessions.add(Flush(connection, keyring, None, now), new, customers, contact.hours, sent=not invites)
    _MOVE.run(connection, [_move(job.id, added) for job in jobs])
    left = [
        reminders.Sent(added.sessions[job.id], job.id, channel, customers[job.id], adopted[job.id][1].expires_at)
        for job in jobs
        if job.id in added.invited
        for channel in invitation_channels(job.channel)
    ]
    reminders.add(connection, contact, left, now=now)


def _move(job_id: int, added: sessions.Stored) -> dict[str, Any]:
    move = {"job_id": job_id, "new_reason": "", "new_detail": "", "new_due_at": None}
    session_id = added.sessions.get(job_id)
    if session_id is None:  # the customer got another one meanwhile: nothing may be bought for this row
        held = {"new_reason": Reason.SECOND_SESSION, "new_detail": "the customer has another live session"}
        return move | held | {"new_state": JobState.HELD, "new_session_id": None}
    state = JobState.INVITED if job_id in added.invited else JobState.ISSUED
    return move | {"new_state": state, "new_session_id": session_id}
