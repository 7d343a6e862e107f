"""expand: an index of the waiting rows that another account could serve.

By itself, because on PostgreSQL it is built beside workers that go on, which needs its columns to be there for good.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROWS = "state = 'waiting' AND joins IS NULL AND others <> ''"
COLUMNS = ["account", "priority", "due_at", "id"]


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        op.create_index("ix_job_backed", "job", COLUMNS, sqlite_where=sa.text(ROWS))
        return
    with op.get_context().autocommit_block():
        # What a build that was cut off leaves behind is no index: begun anew.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_job_backed")
        op.execute(f"CREATE INDEX CONCURRENTLY ix_job_backed ON job ({', '.join(COLUMNS)}) WHERE {ROWS}")


def downgrade() -> None:
    op.drop_index("ix_job_backed", "job")
