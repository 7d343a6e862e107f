"""Customers whose id a list takes over: from a sender of events, or for another person than the one who had it.

Either way nothing leads to what was opened before: somebody else has its link, and providers take none back.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa

from worker.core.customers.store.cancellation import (
    cancel_open,
    change_jobs,
    lock_unsent,
    waiting_again,
    with_unknown_calls,
)
from worker.core.database import bulk
from worker.core.database.audit_entries import note
from worker.core.database.database import fetch
from worker.core.database.tables import Batch, CustomerRow, Finished, Inbox, Job, SessionRow
from worker.core.lifecycle.given_links import GIVEN_AWAY
from worker.core.lifecycle.store import own_links
from worker.core.model.states import ENDED_JOBS, LIVE_SESSIONS, OPEN_JOBS, JobState, SessionState
from worker.core.unknown.store.calls_in_doubt import in_doubt
from worker.lists.store.batches import DAILY


def take(connection: sa.Connection, customers: Mapping[str, tuple[str, int]], *, batch_id: int, now: datetime) -> None:
    """Take these customers, who are locked, over for rows of this batch: each with its owner and its row.

    A sender may hold the link of a session that lives, and providers take none back. So nothing that the sender has
    leads the customer anywhere: its rows end, which hands out no link any more, no row reuses a session that was opened
    for them, and our own link is made anew. The list's row gets another session, as soon as the provider opens one.
    """
    if not customers:
        return
    of = {"customers": bulk.keys(customers)}
    cancel_open(connection, [row.id for row in fetch(connection, _THEIRS, of)], now=now)
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
    lock_unsent(connection, [row.id for row in fetch(connection, _OPEN, of)])
    rows = fetch(connection, _OPEN.with_for_update(key_share=True), of)
    unknown = with_unknown_calls(connection, [row.id for row in rows])
    found = {row.customer_id for row in rows if row.state is JobState.WORKING or row.id in unknown}
    return found | {row.customer_id for row in in_doubt(connection, customer_ids, now=now)}


def admit(connection: sa.Connection, customer_ids: Collection[str], *, keeps: int | None = None, now: datetime) -> None:
    """Let another person have each of these ids, which are locked; `being_called` has none of them.

    The rows of the first person end in all lists, their sessions are past, and what they finished counts for nobody.
    `keeps`: the row that a report gives to the other person begins anew, if it was open.
    """
    if not customer_ids:
        return
    of = {"customers": bulk.keys(customer_ids)}
    rows = fetch(connection, _OPEN, of)
    cancel_open(connection, [row.id for row in rows], now=now)
    connection.execute(_OVER, of | {"at": now})
    if keeps is not None:
        anew = waiting_again(now) if keeps in {row.id for row in rows} else {}
        change_jobs(connection, [keeps], anew | {"session_id": None, "cancelled_at": None, "result": ""})
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
_PAST = sa.update(SessionRow).where(bulk.among(SessionRow.customer_id, "customers")).values(past=True)
_NOT_FINISHED = sa.delete(Finished).where(bulk.among(Finished.customer_id, "customers"))
# The rows of a sender's events. One whose event is kept no more counts as the owner's.
_BY_OTHERS = sa.exists().where(
    Inbox.customer_id == Job.customer_id, Inbox.job_id == Job.id, Inbox.sender != CustomerRow.sender
)
_THEIRS = (
    sa.select(Job.id)
    .join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
    .join(Batch, Batch.id == Job.batch_id)
    .where(
        bulk.among(Job.customer_id, "customers"),
        Job.state.in_(OPEN_JOBS),
        Batch.digest.startswith(DAILY),
        ~_BY_OTHERS,
    )
    .order_by(Job.id)
)
# As if its link had gone to an address that was corrected.
_LEFT = (
    sa.update(SessionRow)
    .where(bulk.among(SessionRow.customer_id, "customers"), SessionRow.state.in_(LIVE_SESSIONS))
    .values(given_away=GIVEN_AWAY, same_link=False)
)
_NO_MORE_OFFERED = (
    sa.update(SessionRow)
    .where(bulk.among(SessionRow.customer_id, "customers"), SessionRow.state == SessionState.UNBOUGHT)
    .values(check_at=None)
)
_OURS = sa.update(CustomerRow).where(bulk.among(CustomerRow.customer_id, "customers")).values(sender="")
