"""How many refused messages of the bus wait for a person."""

import sqlalchemy as sa

from worker.store.base.database import Database
from worker.store.tables import RefusedEvent

_COUNTED = sa.select(RefusedEvent.queue, sa.func.count()).group_by(RefusedEvent.queue).order_by(RefusedEvent.queue)


def refused_events(database: Database) -> dict[str, int]:
    """How many refused messages each queue has; queues without one are not named."""
    with database.read() as connection:
        return refused_by_queue(connection)


def refused_by_queue(connection: sa.Connection) -> dict[str, int]:
    """As `refused_events`, in a transaction."""
    return {queue: number for queue, number in connection.execute(_COUNTED)}
