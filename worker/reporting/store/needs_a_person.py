"""What needs a person, as the rows say it: batches, keys, accounts and channels, webhooks, refused messages."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from worker.core.database import bulk
from worker.core.database.database import Database, fetch
from worker.core.database.fast.tally import CountOf
from worker.core.database.tables import Batch, InvitationRow, Job, RefusedEvent, Webhook
from worker.core.foundation.keyring import KEY_ID_DIGITS, NEEDS_THE_KEY
from worker.core.model.channels import CHANNELS
from worker.core.model.reasons import Reason
from worker.core.model.states import LISTED_WEBHOOKS, WEBHOOKS_TO_CHECK, InvitationState, JobState, PauseCause
from worker.lists.store.batches import BATCH_FACTS, BatchFacts
from worker.reporting.store.counting import COUNTED, ROWS
from worker.reporting.store.unsent import jobs_in

_REFUSED = sa.select(RefusedEvent.queue, sa.func.count()).group_by(RefusedEvent.queue).order_by(RefusedEvent.queue)
# In the words of the index, as IS_LIVE is of its own.
IS_LISTED = Webhook.state.in_([bulk.fixed(state) for state in LISTED_WEBHOOKS])
_TO_CHECK = sa.select(sa.func.count(Webhook.id)).where(
    IS_LISTED, Webhook.state.in_([bulk.fixed(state) for state in WEBHOOKS_TO_CHECK])
)


def cut_off(database: Database) -> list[BatchFacts]:
    """The batches whose import is not complete, and that no person stopped, the oldest first."""
    return _batches(database, Batch.imported_at.is_(None), Batch.pause_cause == "")


def paused_themselves(database: Database) -> list[BatchFacts]:
    """The batches that paused themselves and were not resumed, the oldest first: also those with nothing left to send,
    whose failed rows would wait for the resume."""
    return _batches(database, Batch.pause_cause == PauseCause.ITSELF.value)


def _batches(database: Database, *conditions: sa.ColumnElement[bool]) -> list[BatchFacts]:
    query = sa.select(*BATCH_FACTS).where(*conditions, Batch.cancelled_at.is_(None), Batch.purged_at.is_(None))
    with database.read() as connection:
        return [BatchFacts(**row._asdict()) for row in connection.execute(query.order_by(Batch.id))]


def of_other_accounts(database: Database, accounts: Collection[str]) -> dict[str, tuple[int, int]]:
    """The accounts of waiting rows that are not among these accounts: how many rows wait, and in which batch first."""
    waits = (COUNTED.kind == CountOf.JOB, COUNTED.state == JobState.WAITING.value, COUNTED.account.not_in(accounts))
    return _by_name(database, COUNTED.account, COUNTED.batch_id, ROWS, *waits)


def of_other_channels(database: Database, channels: Collection[str]) -> dict[str, tuple[int, int]]:
    """The channels of waiting messages, reminders among them, that are not among these, as `of_other_accounts`."""
    others = [channel for channel in CHANNELS if channel not in channels]
    if not others:
        return {}
    waits = (InvitationRow.channel.in_(others), InvitationRow.state == bulk.fixed(InvitationState.WAITING))
    return _by_name(database, InvitationRow.channel, InvitationRow.batch_id, sa.func.count(), *waits)


def _by_name(
    database: Database,
    name: sa.ColumnElement[str] | InstrumentedAttribute[str],
    batch_id: sa.ColumnElement[int] | InstrumentedAttribute[int],
    number: sa.ColumnElement[int],
    *conditions: sa.ColumnElement[bool],
) -> dict[str, tuple[int, int]]:
    query = sa.select(name.label("name"), batch_id.label("batch_id"), number.label("rows")).where(*conditions)
    with database.read() as connection:
        rows_of = fetch(connection, query.group_by(name, batch_id).having(number > 0).order_by(batch_id))
    found: dict[str, tuple[int, int]] = {}
    for row in rows_of:
        rows, first = found.get(row.name, (0, row.batch_id))
        found[row.name] = (rows + row.rows, first)
    return found


def held(database: Database) -> list[tuple[BatchFacts, int]]:
    """The batches with held rows, the oldest first, and how many."""
    held_rows = jobs_in(JobState.HELD).subquery()
    query = sa.select(*BATCH_FACTS, held_rows.c.rows).join(held_rows, held_rows.c.batch_id == Batch.id)
    with database.read() as connection:
        found = [row._asdict() for row in connection.execute(query.order_by(Batch.id))]
    return [(BatchFacts(**{name: row[name] for name in row if name != "rows"}), row["rows"]) for row in found]


def missing_keys(database: Database, known: Collection[str]) -> dict[str, int]:
    """How many held rows wait for each key that is not among these.

    From the reason of the held rows, which names the key: `onboard keys status` reads every row.
    """
    place = sa.func.instr if database.is_sqlite else sa.func.strpos
    begins = place(Job.detail, NEEDS_THE_KEY)
    key_id = sa.func.substr(Job.detail, begins + len(NEEDS_THE_KEY), KEY_ID_DIGITS)
    waiting = sa.select(key_id, sa.func.count()).where(
        Job.state == JobState.HELD, Job.leader_id.is_(None), Job.reason == Reason.CANNOT_DECRYPT, begins > 0
    )
    with database.read() as connection:
        found = connection.execute(waiting.group_by(sa.text("1")).order_by(sa.text("1")))
        return {id_: number for id_, number in found if id_ not in known}


def refused_events(database: Database) -> dict[str, int]:
    """How many refused messages each queue has; queues without one are not named."""
    with database.read() as connection:
        return {queue: number for queue, number in connection.execute(_REFUSED)}


def webhooks_to_check(database: Database) -> int:
    """How many webhooks a person is to check."""
    with database.read() as connection:
        return to_check(connection)


def to_check(connection: sa.Connection) -> int:
    """As `webhooks_to_check`, in a transaction."""
    return connection.execute(_TO_CHECK).scalar_one()
