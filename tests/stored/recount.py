"""What is expected of the kept counts after each test with a database."""

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.tables import BatchCountChange
from trials.kept_counts import untrue_counts


def expect_true_counts(database: Database) -> None:
    """Fail if the kept counts of a batch differ from its rows."""
    with database.read() as connection:
        assert [*untrue_counts(connection)] == []


def forget_calls(connection: sa.Connection) -> None:
    """For a test that removes attempts by itself: only the purge does, which keeps the totals."""
    connection.execute(sa.delete(BatchCountChange).where(BatchCountChange.kind == tally.CountOf.CALL))
