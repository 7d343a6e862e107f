"""Which keys are retired: no process that encrypts or hashes with one of them starts."""

from datetime import datetime

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.tables import RetiredKey


def retired_keys(database: Database) -> dict[str, datetime]:
    """When each was retired."""
    with database.read() as connection:
        return {row.key_id: row.at for row in connection.execute(sa.select(RetiredKey.key_id, RetiredKey.at))}
