"""Takes customers over from the senders of events who named them first: from now on they are the lists'.

A sender may hold the link of a session that lives, and providers take none back. So nothing that the sender has leads
the customer anywhere: its rows end, which hands out no link any more, no row adopts a session that was opened for
them, and our own link is made anew. The list's row gets another session, as soon as the provider opens one.
"""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from worker.core.customers.store.cancellation import cancel_open
from worker.core.customers.store.daily_batch import DAILY
from worker.core.database import bulk
from worker.core.database.audit_entries import note
from worker.core.database.database import fetch
from worker.core.database.tables import Batch, CustomerRow, Inbox, Job, SessionRow
from worker.core.lifecycle.given_links import written
from worker.core.lifecycle.store import own_links
from worker.core.model.channels import ADDRESSES
from worker.core.model.states import LIVE_SESSIONS, OPEN_JOBS, SessionState


def take(connection: sa.Connection, customers: Mapping[str, tuple[str, int]], *, batch_id: int, now: datetime) -> None:
    """Take these customers, who are locked, over for rows of this batch: each with its owner and its row."""
    if not customers:
        return
    of = {"customers": bulk.keys(customers)}
    cancel_open(connection, [row.id for row in fetch(connection, _THEIRS, of)], now=now)
    connection.execute(_LEFT, of)
    connection.execute(_NO_MORE_OFFERED, of)
    own_links.forget(connection, set(customers))
    connection.execute(_OURS, of)
    for customer_id, (owner, row) in sorted(customers.items()):
        reason = f"taken over from sender {owner} by batch {batch_id} row {row}"
        note(connection, f"customer {customer_id}", now=now, reason=reason)


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
    .values(given_away=written(ADDRESSES), same_link=False)
)
_NO_MORE_OFFERED = (
    sa.update(SessionRow)
    .where(bulk.among(SessionRow.customer_id, "customers"), SessionRow.state == SessionState.UNBOUGHT)
    .values(check_at=None)
)
_OURS = sa.update(CustomerRow).where(bulk.among(CustomerRow.customer_id, "customers")).values(sender="")
