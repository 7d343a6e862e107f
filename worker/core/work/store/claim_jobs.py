"""Jobs, the kind of row that a session is opened for: what of a flush is special to them."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets import batch_pace, budgets
from onboarding_worker.core.budgets.backpressure import Queue, Rooms, sender_state
from onboarding_worker.core.claim.attempt_log import open_rows
from onboarding_worker.core.claim.claims import Leased
from onboarding_worker.core.claim.flush import Flush, Rows
from onboarding_worker.core.claim.leases import Leases
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.encrypted_values import decrypt_line, decrypt_person
from onboarding_worker.core.database.facts import JobsStopped, happened
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.tables import Attempt, Batch, CustomerRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.customers import ACCOUNT_COLUMN, Customer
from onboarding_worker.core.model.endings import Never, NotNow
from onboarding_worker.core.model.sessions import APPLICANT_ID
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rows import pending_details as pending
from onboarding_worker.core.rows import unknown_outcomes
from onboarding_worker.core.rows.row_by_row import hold_jobs
from onboarding_worker.core.rows.suppressions import ANY_SUPPRESSED
from onboarding_worker.core.rows.unknown_outcomes import calls_to_reconcile
from onboarding_worker.core.rules.limits import day_of, end_of
from onboarding_worker.core.rules.reconciliation import UnknownCall
from onboarding_worker.core.work.store import call_costs
from onboarding_worker.core.work.store.gates import (
    AFTER_THE_PACE,
    CALL_GATES,
    GATES,
    ROW_GATES,
    JobClaim,
    is_for_a_message,
    places_of,
)
from onboarding_worker.core.work.store.job_context import ClaimedJob, JobPolicy
from onboarding_worker.core.work.store.record_results import record_results
from onboarding_worker.core.work.store.session_reuse import invite_deferred

# Whether its customer has, or had, any session: of a list of new customers none has one, and nothing more is asked.
_HAD_SESSION = (
    sa.select(sa.literal_column("1"))
    .select_from(SessionRow)
    .where(SessionRow.customer_id == Job.customer_id, SessionRow.purpose == Job.purpose)
    .limit(1)
    .correlate(Job)
    .scalar_subquery()
)
# The provider's reference of the session that the job asks about.
_ASKS_ABOUT = (
    sa.select(SessionRow.reference)
    .where(SessionRow.id == Job.session_id, Job.needs_status_check)
    .correlate(Job)
    .scalar_subquery()
)
# The vendor's id of the customer in the session that is replaced, at the same account. The account is no condition:
# PostgreSQL, while it takes the table for small, would read all sessions of an account by its index, for each row.
_APPLICANT = (
    sa.select(sa.case((SessionRow.account == Job.account, SessionRow.references[APPLICANT_ID].as_string())))
    .where(SessionRow.id == Job.session_id)
    .correlate(Job)
    .scalar_subquery()
)
# What a claim returns. Not all columns: converting unused columns cost more than the query.
_WORKED_FROM = (
    Job.id,
    Job.batch_id,
    Job.row,
    Job.customer_id,
    Job.purpose,
    Job.channel,
    Job.template,
    Job.brand,
    Job.route,
    Job.entity_id,
    Job.consent,
    Job.encrypted.label("line"),
    Job.floor_seconds,
    Job.due_at,
    Job.priority,
    Job.lease_until,
    Job.fence,
    Job.attempts,
    Job.reissues,
    Job.session_id,
    Job.unknown_attempt,
    Job.needs_status_check,
    Job.reason,
    Job.invite_at,
    Job.link_requested_at,
    Job.traceparent,
    CustomerRow.kind,
    CustomerRow.country,
    CustomerRow.locale,
    CustomerRow.timezone,
    CustomerRow.encrypted.label("person"),
    sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).label("cancelled_at"),
    Batch.planned,
    _HAD_SESSION.label("had_session"),
    ANY_SUPPRESSED.label("any_suppressed"),
    pending.ANY.label("any_pending"),
    _ASKS_ABOUT.label("asks_about"),
    _APPLICANT.label("applicant_id"),
)


LEASES: Leases[int] = Leases(
    Job,
    JobState,
    of=Job.account,
    free=sa.or_(Job.unknown_attempt.is_not(None), Job.needs_status_check),
    conditions=(Job.leader_id.is_(None),),
    worked_from=_WORKED_FROM,
    joined=(CustomerRow.customer_id == Job.customer_id,),
    changes=("changed_at",),
    attempts=(
        bulk.among(Attempt.job_id, "ids"),
        Attempt.invitation_id.is_(None),
        Attempt.fence == sa.select(Job.fence).where(Job.id == Attempt.job_id).scalar_subquery(),
    ),
    ended=unknown_outcomes.due,
)


class Jobs(Rows[JobPolicy, ClaimedJob]):
    """The jobs. One whose customer already has a live session reuses this session without a call.

    Those that have ended are claimed too: their calls are looked up (`rows.unknown_outcomes`), and no gate
    concerns them.
    """

    leases = LEASES
    row_gates, call_gates, gates, gates_after_the_pace = ROW_GATES, CALL_GATES, GATES, AFTER_THE_PACE
    is_asked_about = staticmethod(is_for_a_message)
    pace, places_of = batch_pace.SESSIONS, staticmethod(places_of)
    unknown_calls, record = staticmethod(calls_to_reconcile), staticmethod(record_results)

    def __init__(self, database: Database, keyring: Keyring, *, jitter: Callable[[], float] = random.random) -> None:
        super().__init__(database, keyring, jitter=jitter)
        self._queues: dict[str, Queue] = {}

    def passed(
        self, flush: Flush[JobPolicy], rows: Sequence[sa.Row[Any]], leased: Leased
    ) -> tuple[list[ClaimedJob], frozenset[str]]:
        usual = [row for row in rows if row.due_at is not None]  # those that have ended are due at no time
        planned = frozenset(row.batch_id for row in usual if row.planned)
        any_suppressed = any(row.any_suppressed for row in usual)
        policy, this = flush.policy, (flush.connection, flush.keyring, flush.policy, flush.now)
        senders = {
            channel: sender_state(leased.beside[rule.name], rule, now=flush.now)
            for channel, rule in policy.senders.items()
        }
        rooms = Rooms(flush.connection, self._queues, senders, policy.max_age, flush.now)
        claim = JobClaim(*this, rooms, leased, any_suppressed, planned)
        jobs, _ = super().passed(claim, usual, leased)
        if policy.on_click is not None:
            by_message = [job for job in jobs if not job.looks_up and is_for_a_message(claim, job)]
            if by_message:
                claim.reused_channels.update(invite_deferred(claim, policy.on_click, by_message))
            invited = {job.id for job in by_message}
            jobs = [job for job in jobs if job.id not in invited]
        of_plans = [job for job in jobs if job.batch_id in planned]
        if of_plans and (spent := call_costs.beyond(flush.connection, of_plans, now=flush.now)):
            places = self.places_of(claim, [job for job in of_plans if job.id in spent])
            batch_pace.give_back(flush.connection, places, type(self).pace)
            self.leases.keep_back(flush.connection, spent, now=flush.now)
            jobs = [job for job in jobs if job.id not in spent]
        if len(usual) < len(rows):
            calls, unread = self.read(claim, [row for row in rows if row.due_at is None])
            unknown_outcomes.give_up(flush.connection, unread)
            jobs += [replace(job, ended=True, due_at=flush.now) for job in calls]
        return jobs, frozenset(claim.reused_channels)

    def decrypted(self, claim: JobClaim, row: sa.Row[Any], unknown_call: UnknownCall | None) -> ClaimedJob:
        keyring, session_id = claim.keyring, claim.live_sessions.get(row.id, row.session_id)
        line = decrypt_line(keyring, row.batch_id, row.row, row.line)
        number = row.reissues + 1 + (row.session_id is not None)  # a reissue is counted once it is there
        # By position, in the order of their fields: by name the objects cost twice as much.
        customer = Customer(
            row.customer_id,
            row.kind,
            row.purpose,
            decrypt_person(keyring, row.customer_id, row.person),
            row.country,
            row.locale,
            row.timezone,
            row.channel,
            "",  # the account is chosen already
            row.entity_id,
            line.external_ref,
            line.tags,
            row.template,
            row.consent,
            line.parameters,
            row.brand,
        )
        return ClaimedJob(
            customer,
            line.external_ref or str(row.id),
            row.id,
            row.id,
            row.batch_id,
            row.fence,
            row.attempts,
            row.priority,
            row.due_at,
            row.lease_until,
            False,  # it is no probe
            session_id,
            unknown_call,
            row.channel,
            timedelta(seconds=row.floor_seconds),
            row.link_requested_at,
            row.invite_at,
            row.traceparent,
            asks_about=(row.asks_about or "") if row.needs_status_check and unknown_call is None else None,
            entity_id=row.entity_id,
            # Which of the customer's sessions is asked for, and with which call: "" for the first call for the first.
            serial=(f"-{number}" if number > 1 else "") + (f".{row.attempts + 1}" if row.attempts else ""),
            parameters=line.parameters.get(claim.policy.provider, {}),
            applicant_id=row.applicant_id or "",
            origin=line.origin,
            names_account=row.route == ACCOUNT_COLUMN,
        )

    def keep_back(self, claim: JobClaim, _rows: Sequence[sa.Row[Any]], stay: Mapping[int, NotNow]) -> None:
        self.leases.keep_back(claim.connection, stay, now=claim.now)
        if stopped := [job_id for job_id, why in stay.items() if isinstance(why, Never)]:
            happened(claim.connection, JobsStopped(stopped), now=claim.now)

    def open(self, flush: Flush[JobPolicy], items: Sequence[ClaimedJob]) -> list[ClaimedJob]:
        """Fewer than these are opened if the credit cap is reached. A look-up costs no credit."""
        connection, policy, now = flush.connection, flush.policy, flush.now
        calls, rule, opened = sum(not job.looks_up for job in items), policy.rule, list(items)
        if rule.is_capped:
            opened = _allowed(items, budgets.spend_credits(connection, rule, calls, now=now))
        counted = tally.counts_in_bulk(len(opened))
        if counted:
            counts = tally.of(connection)
            for (batch_id, looks_up), number in Counter((job.batch_id, job.looks_up) for job in opened).items():
                counts.add(tally.call(batch_id, "", policy.account, look_up=looks_up), number)
        open_rows(flush, opened, counted=counted)
        day_ends = end_of("day", day_of(now))
        for job in opened:
            job.call_before = None if job.looks_up else day_ends
        if not rule.is_capped:  # last: it locks the budget's row until the commit, and other workers wait for it
            budgets.count_credits(connection, rule, calls, now=now)
        if len(opened) < len(items):
            may_be_made = {job.id for job in opened}
            self.release_leased(flush, [job for job in items if job.id not in may_be_made])
        return opened

    def set_aside(self, connection: sa.Connection, kinds: Mapping[int, str], *, now: datetime) -> None:
        hold_jobs(connection, kinds, states=(JobState.WAITING,), now=now)
        unknown_outcomes.give_up(connection, kinds)

    def uncount(self, flush: Flush[JobPolicy], items: Sequence[ClaimedJob]) -> None:
        ended = [(job.id, job.fence) for job in items if job.ended]
        unknown_outcomes.release(flush.connection, ended, now=flush.now)
        days = Counter(job.day_of_credit for job in items if job.day_of_credit is not None)
        budgets.refund(flush.connection, flush.policy.rule, days, now=flush.now)


def _allowed(jobs: Sequence[ClaimedJob], calls: int) -> list[ClaimedJob]:
    """All look-ups and the first `calls` calls, in their order."""
    kept = []
    for job in jobs:
        if not job.looks_up:
            if not calls:
                continue
            calls -= 1
        kept.append(job)
    return kept
