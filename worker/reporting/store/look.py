"""What is due, and what the sweep has to do: one small query each second, whose cost does not grow with what waits."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.budgets.budgets import EVERYTHING_IS_STOPPED
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import THERE_IS, Database
from onboarding_worker.core.database.tables import Audit, Batch, BatchPlan, InvitationRow, Job, SessionRow, Webhook
from onboarding_worker.core.model.states import PRIORITIES, InvitationState, JobState
from onboarding_worker.core.rows import pending_details as pending
from onboarding_worker.core.rows import unknown_outcomes
from onboarding_worker.lists.store.batches import CUT_OFF_AFTER, IS_CHANGING, IS_MARKED
from onboarding_worker.reporting.store.counting import MANY_CHANGES


class Step(StrEnum):
    """A step of the sweep that is made only if there is something to do."""

    LEASES = "leases"
    PAUSES = "pauses"
    PILOTS = "pilots"
    DETAILS = "details"
    WEBHOOKS = "webhooks"
    SESSIONS = "sessions"
    AUDIT = "audit"
    COUNTS = "counts"


class Looked(NamedTuple):
    """The accounts and channels that have rows due now, and the steps that have something to do. While a person has
    stopped everything, no account and no channel is due."""

    accounts: frozenset[str]
    channels: frozenset[str]
    steps: frozenset[str]


class Looks:
    def __init__(self, database: Database) -> None:
        self._database = database

    def look(
        self, *, accounts: Iterable[str], channels: Iterable[str], only_batch: int | None = None, now: datetime
    ) -> Looked:
        """`only_batch`: only rows of this batch are due. The steps are for all."""
        query = _query(tuple(accounts), tuple(channels), one_batch=only_batch is not None)
        given: dict[str, Any] = {"now": now, "cut_off": now - CUT_OFF_AFTER}
        given |= {} if only_batch is None else {"batch": only_batch}
        found = self._database.rows(query, given)
        names = {what: frozenset(name for its, name in found if its == what) for what in (_ACCOUNT, _CHANNEL, _STEP)}
        if _STOPPED in names[_STEP]:
            return Looked(frozenset(), frozenset(), names[_STEP] - {_STOPPED})
        return Looked(names[_ACCOUNT], names[_CHANNEL], names[_STEP])


_ACCOUNT, _CHANNEL, _STEP, _STOPPED = "account", "channel", "step", "stopped"
_NOW = sa.bindparam("now", type_=Job.created_at.type)
_BATCH = sa.bindparam("batch", type_=Job.batch_id.type)
_STEPS = {
    Step.LEASES: sa.or_(
        THERE_IS.where(
            Job.lease_until.is_not(None), Job.lease_until < _NOW, Job.lease_owner != unknown_outcomes.NO_OWNER
        ),
        THERE_IS.where(InvitationRow.state == bulk.fixed(InvitationState.WORKING), InvitationRow.lease_until < _NOW),
    ),
    Step.PAUSES: sa.or_(
        THERE_IS.where(IS_MARKED, Batch.cancelled_at.is_(None)),
        THERE_IS.where(IS_CHANGING, Batch.changing_since <= sa.bindparam("cut_off", type_=Batch.changing_since.type)),
    ),
    Step.PILOTS: THERE_IS.where(BatchPlan.check_at <= _NOW),
    Step.DETAILS: pending.is_due(_NOW),
    Step.WEBHOOKS: THERE_IS.where(Webhook.due_at <= _NOW),
    Step.SESSIONS: THERE_IS.where(SessionRow.check_at <= _NOW),
    Step.AUDIT: THERE_IS.where(Audit.number.is_(None)),
    Step.COUNTS: MANY_CHANGES,
}


@lru_cache(maxsize=16)
def _query(accounts: tuple[str, ...], channels: tuple[str, ...], *, one_batch: bool) -> sa.CompoundSelect[Any]:
    def waiting(model: type[Job] | type[InvitationRow], *which: sa.ColumnElement[bool]) -> sa.Exists:
        waits = (model.priority.in_(PRIORITIES), model.state == bulk.fixed(JobState.WAITING), model.due_at <= _NOW)
        return THERE_IS.where(*which, *waits, *([model.batch_id == _BATCH] if one_batch else []))

    parts = [_part(_STEP, step.value, there) for step, there in _STEPS.items()]
    parts.append(_part(_STEP, _STOPPED, EVERYTHING_IS_STOPPED))
    for account in accounts:
        its = waiting(Job, Job.account == account, Job.leader_id.is_(None))
        ended = THERE_IS.where(*unknown_outcomes.due(account, _NOW, _BATCH if one_batch else None))
        parts.append(_part(_ACCOUNT, account, sa.or_(its, ended)))
    for channel in channels:
        parts.append(_part(_CHANNEL, channel, waiting(InvitationRow, InvitationRow.channel == channel)))
    return sa.union_all(*parts)


def _part(what: str, name: str, there: sa.ColumnElement[bool]) -> sa.Select[str, str]:
    return sa.select(sa.literal(what).label("what"), sa.literal(name).label("name")).where(there)
