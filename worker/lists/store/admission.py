"""What a new row becomes if other rows have the same customer and purpose: found here, decided by one rule
(`lists.known_customers`).

By the default rule the row joins the leading job. If the customer has finished, the row is skipped. If a call of an
ended job may have opened a session, the row is held. Otherwise the row leads.

And customers whose id a list takes over: from a sender of events, or for another person than the one who had it. Either
way nothing leads to what was opened before: somebody else has its link, and providers take none back.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.job_ids import AS_THEY_CAME, Key
from onboarding_worker.core.database.tables import Batch, CustomerRow, Finished, Inbox, Job, SessionRow
from onboarding_worker.core.database.tables.work import served_by
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import ENDED_JOBS, LIVE_SESSIONS, OPEN_JOBS, JobState, SessionState
from onboarding_worker.core.rows import cancellation, own_links
from onboarding_worker.core.rows.calls_in_doubt import in_doubt
from onboarding_worker.core.rules.given_links import GIVEN_AWAY
from onboarding_worker.lists.known_customers import Becomes, KnownRule, Standing, decide, standing_of
from onboarding_worker.lists.store.batches import DAILY


def take(connection: sa.Connection, customers: Mapping[str, tuple[str, int]], *, batch_id: int, now: datetime) -> None:
    """Take these customers, who are locked, over for rows of this batch: each with its owner and its row. A sender may
    hold the link of a session that lives, and providers take none back. So nothing that the sender has leads the
    customer anywhere: its rows end, which hands out no link any more, no row reuses a session that was opened for them,
    and our own link is made anew. The list's row gets another session, as soon as the provider opens one."""
    if not customers:
        return
    of = {"customers": bulk.keys(customers)}
    cancellation.cancel_open(connection, [row.id for row in fetch(connection, _THEIRS, of)], now=now)
    _lead_nowhere(connection, customers)
    connection.execute(_OURS, of)
    for customer_id, (owner, row) in sorted(customers.items()):
        reason = f"taken over from sender {owner} by batch {batch_id} row {row}"
        note(connection, f"customer {customer_id}", now=now, reason=reason)


def being_called(connection: sa.Connection, customer_ids: Collection[str], *, now: datetime) -> set[str]:
    """Those of these customers, who are locked, for whom a call is under way or in doubt: it may yet bring a session of
    the person who has the id. Their rows are locked."""
    if not customer_ids:
        return set()
    of = {"customers": bulk.keys(customer_ids)}
    cancellation.lock_unsent(connection, [row.id for row in fetch(connection, _OPEN, of)])
    rows = fetch(connection, _OPEN.with_for_update(key_share=True), of)
    unknown = cancellation.with_unknown_calls(connection, [row.id for row in rows])
    found = {row.customer_id for row in rows if row.state is JobState.WORKING or row.id in unknown}
    return found | {row.customer_id for row in in_doubt(connection, customer_ids, now=now)}


def admit(connection: sa.Connection, customer_ids: Collection[str], *, keeps: int | None = None, now: datetime) -> None:
    """Let another person have each of these ids, which are locked; `being_called` has none of them. The rows of the
    first person end in all lists, their sessions are past, and what they finished counts for nobody. `keeps`: the row
    that a report gives to the other person begins anew, if it was open."""
    if not customer_ids:
        return
    of = {"customers": bulk.keys(customer_ids)}
    rows = fetch(connection, _OPEN, of)
    cancellation.cancel_open(connection, [row.id for row in rows], now=now)
    connection.execute(_OVER, of | {"at": now})
    if keeps is not None:
        anew = cancellation.waiting_again(now) if keeps in {row.id for row in rows} else {}
        cancellation.change_jobs(connection, [keeps], anew | {"session_id": None, "cancelled_at": None, "result": ""})
    connection.execute(_PAST, of)
    connection.execute(_NOT_FINISHED, of)
    _lead_nowhere(connection, customer_ids)


def _lead_nowhere(connection: sa.Connection, customer_ids: Collection[str]) -> None:
    of = {"customers": bulk.keys(customer_ids)}
    connection.execute(_LEFT, of)
    connection.execute(_NO_MORE_OFFERED, of)
    own_links.forget(connection, customer_ids)


# Not of a person who had the id before, whose rows `admit` has ended; not a row that a person cancelled as it finished.
OF_PRESENT_PERSON = sa.or_(
    Job.cancelled_at.is_(None), sa.exists().where(SessionRow.id == Job.session_id, SessionRow.past.is_(False))
)
_OPEN = (
    sa.select(Job.id, Job.customer_id, Job.state)
    .where(bulk.among(Job.customer_id, "customers"), Job.state.in_(OPEN_JOBS))
    .order_by(Job.id)
)
_OVER = (
    sa.update(Job)
    .where(bulk.among(Job.customer_id, "customers"), Job.state.in_(ENDED_JOBS), Job.cancelled_at.is_(None))
    .values(cancelled_at=sa.bindparam("at"))
)
_OF_SESSIONS = sa.update(SessionRow).where(bulk.among(SessionRow.customer_id, "customers"))
_PAST = _OF_SESSIONS.values(past=True)
_NOT_FINISHED = sa.delete(Finished).where(bulk.among(Finished.customer_id, "customers"))
# The rows of a sender's events. One whose event is kept no more counts as the owner's.
_OTHERS = sa.exists().where(
    Inbox.customer_id == Job.customer_id, Inbox.job_id == Job.id, Inbox.sender != CustomerRow.sender
)
_THEIRS = (
    sa.select(Job.id)
    .join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
    .join(Batch, Batch.id == Job.batch_id)
    .where(bulk.among(Job.customer_id, "customers"), Job.state.in_(OPEN_JOBS), Batch.digest.startswith(DAILY), ~_OTHERS)
    .order_by(Job.id)
)
# As if its link had gone to an address that was corrected.
_LEFT = _OF_SESSIONS.where(SessionRow.state.in_(LIVE_SESSIONS)).values(given_away=GIVEN_AWAY, same_link=False)
_NO_MORE_OFFERED = _OF_SESSIONS.where(SessionRow.state == SessionState.DEFERRED).values(check_at=None)
_OURS = sa.update(CustomerRow).where(bulk.among(CustomerRow.customer_id, "customers")).values(sender="")


def lock_customers(connection: sa.Connection, customer_ids: Collection[str]) -> None:
    """Lock these customers: imports, events and retries of theirs wait until this transaction ends. The end of a
    leading job does not wait, nor does its successor: see `lock_serving`. The locks are taken in the order in which an
    import writes its customers, which prevents deadlocks."""
    fetch(connection, _LOCK_CUSTOMERS, {"customers": bulk.keys(customer_ids)})


def lock_serving(connection: sa.Connection, find: Callable[[], Any | None]) -> Any | None:
    """Lock the job that serves a customer. `find` finds it; returns what it finds under the lock. While this
    transaction waited for the lock, the job may have ended, and its successor may lead: that is locked then."""
    found = find()
    while found is not None:
        fetch(connection, sa.select(Job.id).where(Job.id == found.id).with_for_update(key_share=True))
        now_serves = find()
        if now_serves is None or now_serves.id == found.id:
            return now_serves
        found = now_serves
    return None


def following(
    connection: sa.Connection,
    keys: Collection[Key],
    *,
    now: datetime,
    lock: bool = True,
    rule: KnownRule = KnownRule.REFRESH,
) -> dict[Key, dict[str, Any]]:
    """The values that a new row gets, by key. A key that is not in the result leads, or is left out (`left_out`). The
    leaders are locked, so they cannot end meanwhile: a transaction that ends a leader sees all rows that joined it.
    Without `lock` nothing is, for a forecast. `rule`: what becomes of the rows of known customers."""
    found: dict[Key, dict[str, Any]] = {}

    def add(standing: Standing, rows: Iterable[sa.Row[Any]], values: Callable[[sa.Row[Any]], dict[str, Any]]) -> None:
        if decide(rule, standing).becomes not in (Becomes.LEADS, Becomes.NOTHING):
            for row in rows:
                found.setdefault((row.customer_id, row.purpose), values(row))

    of_keys = _of(keys)
    leaders = _locked_leaders(connection, keys) if lock else fetch(connection, _LEADERS, of_keys)
    add(Standing.OPEN, leaders, _joins)
    add(Standing.FINISHED, fetch(connection, _COMPLETED, of_keys), _finished)
    customer_ids = {customer_id for customer_id, _ in keys}
    purged = finished_in_purged(connection, customer_ids)
    add(Standing.FINISHED, purged, lambda row: _finished(row, ", which was purged"))
    add(Standing.IN_DOUBT, in_doubt(connection, customer_ids, now=now), _held)
    return {key: found[key] for key in keys if key in found}


def _locked_leaders(connection: sa.Connection, keys: Collection[Key]) -> list[sa.Row[Any]]:
    """The leaders of these keys, locked. PostgreSQL checks a row again after it has waited for its lock: a leader that
    ended meanwhile is left out. So those that are missing are looked for again: a successor may lead."""
    found: list[sa.Row[Any]] = []
    missing = set(keys)
    while missing:
        found += fetch(connection, _LOCK_LEADERS, _of(missing))
        missing -= {(row.customer_id, row.purpose) for row in found}
        if missing:
            missing &= {(row.customer_id, row.purpose) for row in fetch(connection, _LEADERS, _of(missing))}
    return found


def left_out(connection: sa.Connection, keys: Collection[Key], *, rule: KnownRule) -> dict[Key, str]:
    """Those of these keys that get no row of work at all under this rule, and why; `following` has none of them. Only
    rows that have ended are looked for: their customers are known, and nothing serves them."""
    ended = {state: standing_of([state]) for state in (JobState.FAILED, JobState.LAPSED, JobState.CANCELLED)}
    states = [state for state, standing in ended.items() if decide(rule, standing).becomes is Becomes.NOTHING]
    if not states or not keys:
        return {}
    rows = fetch(connection, _jobs(states).add_columns(Job.state).order_by(*AS_THEY_CAME), _of(keys))
    found = {(row.customer_id, row.purpose): f"{row.state.value} in {_where(row)}; left out" for row in rows}
    return {key: found[key] for key in keys if key in found}


def _joins(row: sa.Row[Any]) -> dict[str, Any]:
    detail = served_by(row.batch_id, row.row)
    return {"leader_id": row.id, "due_at": None, "reason": Reason.JOINED_JOB, "detail": detail}


def _finished(row: sa.Row[Any], purged: str = "") -> dict[str, Any]:
    skipped = {"state": JobState.COMPLETED, "due_at": None, "result": row.result, "reason": Reason.ALREADY_FINISHED}
    return skipped | {"detail": f"the customer finished in {_where(row)}{purged}"}


def _held(row: sa.Row[Any]) -> dict[str, Any]:
    why = f"a call for {_where(row)} may have opened a session; `onboard resolve --repeat` calls anyway"
    return {"state": JobState.HELD, "due_at": None, "reason": Reason.UNKNOWN, "detail": why}


def _of(keys: Collection[Key]) -> dict[str, Any]:
    """The parameter of the queries below: the customers of these keys."""
    return {"customers": bulk.keys({customer_id for customer_id, _ in keys})}


def finished_in_purged(connection: sa.Connection, customer_ids: Collection[str]) -> list[Any]:
    """What these customers finished in batches that were purged since."""
    return fetch(connection, _FINISHED_IN_PURGED, {"customers": bulk.keys(customer_ids)})


# Each import and each event asks these: they are built once.


def _jobs(states: Iterable[JobState]) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(Job.id, Job.batch_id, Job.row, Job.customer_id, Job.purpose, Job.result).where(
        bulk.among(Job.customer_id, "customers"), Job.leader_id.is_(None), Job.state.in_(states)
    )


_LOCK_CUSTOMERS = sa.select(CustomerRow.customer_id).where(bulk.among(CustomerRow.customer_id, "customers"))
_LOCK_CUSTOMERS = _LOCK_CUSTOMERS.order_by(CustomerRow.customer_id).with_for_update(key_share=True)
_LEADERS = _jobs(sorted(OPEN_JOBS)).order_by(Job.id)
_LOCK_LEADERS = _LEADERS.with_for_update(read=True)
_COMPLETED = _jobs([JobState.COMPLETED]).where(OF_PRESENT_PERSON)
_FINISHED_IN_PURGED = sa.select(Finished.__table__).where(bulk.among(Finished.customer_id, "customers"))
_FINISHED_IN_PURGED = _FINISHED_IN_PURGED.order_by(Finished.customer_id, Finished.purpose)


def _where(row: sa.Row[Any]) -> str:
    return f"batch {row.batch_id}, row {row.row}"
