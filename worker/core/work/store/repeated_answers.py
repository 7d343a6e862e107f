"""Answers with what another customer has: a token, or the provider's id. They are not believed.

A cache before the provider, or a connection whose answers are off by one, gives many customers one link. Whose it is
cannot be known then: nothing of the answer is stored or sent, and both rows are held. At the third in an hour the
account stops.

Each session keeps a keyed hash of its token, and no two may have the same: where two processes write one token at the
same moment, the database refuses the second, and the results are written again. An entity that a line names belongs to
that customer: FrankieOne v2 returns an entity's token again to each call that names the entity.
"""

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.claim.flush import Flush
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import TOKEN
from onboarding_worker.core.database.job_ids import batch_of, row_of
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.endings import Ending, Hold
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import EXTERNAL_REF
from onboarding_worker.core.model.states import OPEN_JOBS, InvitationState, JobState
from onboarding_worker.core.rows.cancellation import lock_unsent
from onboarding_worker.core.rows.row_by_row import hold_back
from onboarding_worker.core.rules.call_outcomes import repeating
from onboarding_worker.core.rules.reconciliation import Unmatched
from onboarding_worker.core.work.store.job_context import IssueResult, JobPolicy

log = logging.getLogger(__name__)

# So many answers within this, with what another customer has, are no accident: the account stops.
MOST_REPEATS, PERIOD = 3, timedelta(hours=1)
_ENTITY = "entityId"
# The message of such an invitation may be with the customer.
_LEFT = (InvitationState.SENT, InvitationState.DELIVERED, InvitationState.WORKING, InvitationState.HELD)
_COLUMNS = (
    SessionRow.id,
    SessionRow.customer_id,
    SessionRow.job_id,
    SessionRow.reference,
    SessionRow.references,
    SessionRow.token_digest,
)

_DIGEST, _REFERENCE = bulk.values_of("digests"), bulk.values_of("references")
_HAS_DIGEST: sa.Select[Any] = sa.select(sa.literal_column("1")).where(
    SessionRow.token_digest.is_not(None), SessionRow.token_digest == _DIGEST.c.value
)
_HAS_REFERENCE: sa.Select[Any] = sa.select(sa.literal_column("1")).where(
    SessionRow.account == sa.bindparam("account"), SessionRow.reference == _REFERENCE.c.value
)
# Each flush of results asks this. Value by value, by sub-selects: a planner that knows of no sessions yet reads all
# sessions of the account otherwise, also when they become many.
_TAKEN = sa.union_all(
    sa.select(_DIGEST.c.value).where(_HAS_DIGEST.correlate(_DIGEST).limit(1).scalar_subquery().is_not(None)),
    sa.select(_REFERENCE.c.value).where(_HAS_REFERENCE.correlate(_REFERENCE).limit(1).scalar_subquery().is_not(None)),
)
_KNOWN = sa.union_all(
    sa.select(*_COLUMNS).where(SessionRow.token_digest.is_not(None), bulk.among(SessionRow.token_digest, "digests")),
    sa.select(*_COLUMNS).where(
        SessionRow.account == sa.bindparam("account"), bulk.among(SessionRow.reference, "references")
    ),
)


@dataclass(frozen=True)
class _Holder:
    """Who has a token, or an id of the provider. `session_id` None: the session is among these results."""

    customer_id: str
    job_id: int
    entity_id: str
    session_id: uuid.UUID | None = None


class _Known:
    """Who has these tokens and ids. Tokens are known by their hashes, by whichever key of the ring."""

    def __init__(self, flush: Flush[JobPolicy], results: Sequence[IssueResult]) -> None:
        self._references = {item.row.attempt_id: _references(item) for item in results}
        self.digests = {
            item.row.attempt_id: flush.keyring.digests(TOKEN, item.session.token)
            for item in results
            if item.session is not None and item.session.token
        }
        self._by_token: dict[str, list[_Holder]] = {}
        self._by_reference: dict[str, list[_Holder]] = {}
        references = [one for each in self._references.values() for one in each]
        digests = [one for each in self.digests.values() for one in each]
        asked = {"digests": digests, "references": references}
        given = {"account": flush.policy.account} | {name: bulk.keys(each) for name, each in asked.items()}
        taken = set(flush.connection.execute(_TAKEN, given).scalars()) if digests or references else set()
        rows: list[Any] = []  # the sessions that have one of these: nearly always none
        if taken:
            given |= {name: bulk.keys(one for one in each if one in taken) for name, each in asked.items()}
            rows = fetch(flush.connection, _KNOWN, given)
        for row in rows:
            holder = _Holder(row.customer_id, row.job_id, row.references.get(_ENTITY, ""), row.id)
            self._by_token.setdefault(row.token_digest, []).append(holder)
            self._by_reference.setdefault(row.reference, []).append(holder)
        # So it nearly always is, and must cost little then.
        alone = len(set(references)) == len(references) and len(set(digests)) == len(digests)
        self.nobody_else = alone and not rows

    def others(self, item: IssueResult) -> list[_Holder]:
        """The other customers who have what is in this result."""
        named, customer_id = item.row.entity_id.casefold(), item.row.customer.customer_id
        of_token = [one for one in self._of_token(item) if not named or one.entity_id.casefold() != named]
        references = self._references[item.row.attempt_id]
        of_reference = [one for reference in references for one in self._by_reference.get(reference, ())]
        return [one for one in dict.fromkeys([*of_token, *of_reference]) if one.customer_id != customer_id]

    def digest(self, item: IssueResult) -> str | None:
        """The hash of the token to store; None: there is no token, or a session has it already."""
        digests = self.digests.get(item.row.attempt_id)
        return None if digests is None or self._of_token(item) else digests[0]

    def add(self, item: IssueResult) -> None:
        """Know a result that is believed: another one of this chunk may repeat it."""
        if item.session is None:
            return
        job = item.row
        holder = _Holder(job.customer.customer_id, job.id, item.session.references.get(_ENTITY, ""))
        for digest in self.digests.get(item.row.attempt_id, ())[:1]:
            self._by_token.setdefault(digest, []).append(holder)
        for reference in self._references[item.row.attempt_id]:
            self._by_reference.setdefault(reference, []).append(holder)

    def _of_token(self, item: IssueResult) -> list[_Holder]:
        digests = self.digests.get(item.row.attempt_id, ())
        return [holder for digest in digests for holder in self._by_token.get(digest, ())]


def check(flush: Flush[JobPolicy], results: Sequence[IssueResult]) -> Sequence[IssueResult]:
    """These results, with the hashes of their tokens. Those that are not believed hold their rows instead."""
    known = _Known(flush, results)
    if known.nobody_else:
        for item in results:
            item.token_digest = next(iter(known.digests.get(item.row.attempt_id, ())), None)
        return results
    checked = []
    for item in results:
        if others := known.others(item):
            item = replace(item, ending=_hold(item, others[0]), problem=None, repeats=True)
        else:
            item.token_digest = known.digest(item)
            known.add(item)
        checked.append(item)
    return checked


def _references(item: IssueResult) -> Sequence[str]:
    """The provider's ids in a result that no other customer may have: of a new session, or of those in a list."""
    job, session = item.row, item.session
    if session is None:
        return item.found.references if isinstance(item.found, Unmatched) and not job.ended else ()
    # What was sent may be another customer's too: a line's entity_id; its external_ref, which iDenfy KYB returns.
    reference = session.reference
    if reference in (job.customer.customer_id, session.references.get(EXTERNAL_REF)):
        return ()
    return () if job.entity_id and reference.casefold() == job.entity_id.casefold() else (reference[:100],)


def _hold(item: IssueResult, other: _Holder) -> Ending:
    call = item.row.unknown_call
    if item.session is None and call is not None:  # what became of the call is still unknown
        return Hold(Reason(call.kind), f"the list of the customer's sessions has that of {_place(other.job_id)}")
    return Hold(Reason.ANSWER_REPEATED, f"the answer has the token, or the id, of {_place(other.job_id)}")


def _place(job_id: int) -> str:
    return f"batch {batch_of(job_id)}, row {row_of(job_id)}"


def hold_firsts(flush: Flush[JobPolicy], written: Iterable[IssueResult]) -> bool:
    """Hold the rows whose answers these written results repeat. False if there is no such result."""
    repeats = [item for item in written if item.repeats]
    if not repeats:
        return False
    connection, known = flush.connection, _Known(flush, repeats)
    firsts: dict[uuid.UUID, int] = {}  # by session, the job whose answer repeats it
    customers = set()
    for item in repeats:
        log.warning("%s: the answer for %s was not believed", flush.policy.account, _place(item.row.id))
        for other in known.others(item) if item.session is not None else ():
            if other.session_id is not None:
                firsts.setdefault(other.session_id, item.row.id)
                customers.add(other.customer_id)
    leads = (Job.customer_id.in_(customers), Job.state.in_(OPEN_JOBS), Job.leader_id.is_(None))
    which = (*leads, Job.session_id.in_(firsts))
    lock_unsent(connection, sa.select(Job.id).where(*which))
    left = sa.exists().where(InvitationRow.session_id == Job.session_id, InvitationRow.state.in_(_LEFT))
    query = sa.select(Job.id, Job.state, Job.session_id, left.label("left")).where(*which).order_by(Job.id)
    rows = fetch(connection, query.with_for_update(key_share=True))
    details = {
        row.id: f"the answer for {_place(firsts[row.session_id])} has its token, or its id; its message "
        + ("may have left" if row.left else "has not left")
        for row in rows
    }
    hold_back(connection, rows, Reason.ANSWER_REPEATED, details, now=flush.now)
    return True


def stop_if_many(flush: Flush[JobPolicy]) -> None:
    """Stop the account if too many of its held rows had an answer that was not believed."""
    connection, rule, now = flush.connection, flush.policy.rule, flush.now
    many = sa.select(sa.func.count(sa.distinct(Attempt.id))).join(Job, Job.id == Attempt.job_id)
    many = many.where(Job.state == bulk.fixed(JobState.HELD), Attempt.code == Reason.ANSWER_REPEATED.value)
    count = connection.execute(
        many.where(Attempt.account == flush.policy.account, Attempt.closed_at > now - PERIOD)
    ).scalar_one()
    if count >= MOST_REPEATS:
        before = budgets.read(connection, rule.name, lock=True)
        budgets.save_turn(connection, rule, before, repeating(before, count, now=now))
