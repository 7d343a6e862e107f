"""A visitor says that the link is for another person: nothing more is sent until a person has decided.

One transaction under the customer's lock. The link is removed, not marked: who has it is not the customer, and a
later message to the right address makes another one.
"""

from datetime import datetime
from enum import StrEnum
from functools import partial

import sqlalchemy as sa

from worker.core.customers.store.cancellation import lock_unsent
from worker.core.database.audit_entries import Act, note
from worker.core.database.database import Database, fetch
from worker.core.database.outages import outlive_deadlocks
from worker.core.database.tables import Job, StableLink
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store.own_links import digests_of
from worker.core.model.reasons import Reason
from worker.core.model.states import OPEN_JOBS, JobState
from worker.core.unknown.store.held_rows import hold_back
from worker.lists.store.admission import lock_customers, lock_serving

ACT = Act("customer", "link.not-me")


class Outcome(StrEnum):
    STOPPED = "stopped"
    MOMENT = "moment"  # a call for the customer is being made: ask again in a moment
    GONE = "gone"  # there is no such link


def stop(database: Database, keyring: Keyring, secret: str, *, now: datetime) -> Outcome:
    """Hold the customer's row, end its session, its messages and its link."""
    digests = digests_of(keyring, secret)
    return outlive_deadlocks(partial(_stop, database, digests, now=now)) if digests else Outcome.GONE


def _stop(database: Database, digests: tuple[str, ...], *, now: datetime) -> Outcome:
    query = sa.select(StableLink).where(StableLink.digest.in_(digests))
    with database.write() as connection:
        found = fetch(connection, query)
        if not found:
            return Outcome.GONE
        link = found[0]
        lock_customers(connection, [link.customer_id])
        if not fetch(connection, query.where(StableLink.revoked_at.is_(None))):
            return Outcome.GONE
        of_customer = (Job.customer_id == link.customer_id, Job.purpose == link.purpose)
        leads = (*of_customer, Job.state.in_(OPEN_JOBS), Job.leader_id.is_(None))
        lock_unsent(connection, sa.select(Job.id).where(*leads))
        jobs = sa.select(Job.id, Job.state, Job.session_id).where(*leads)
        job = lock_serving(connection, lambda: connection.execute(jobs).first())
        if job is not None and job.state is JobState.WORKING:
            return Outcome.MOMENT
        if job is not None:
            hold_back(connection, [job], Reason.NOT_ME, now=now)
        connection.execute(sa.delete(StableLink).where(StableLink.id == link.id))
        note(connection, f"customer {link.customer_id}", now=now, reason="the link is for another person", act=ACT)
    return Outcome.STOPPED
