"""expand: indexes of the waiting rows that another account could serve, and of the few calls that were ever looked up.

By themselves, because on PostgreSQL they are built beside workers that go on, which needs their columns to be there
for good. Each reads its whole table once: with the tables locked, everybody would wait for that.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = (
    (
        "ix_job_backed",
        "job",
        ["account", "priority", "due_at", "id"],
        "state = 'waiting' AND joins IS NULL AND others <> ''",
    ),
    ("ix_attempt_reconciles", "attempt", ["reconciles"], "reconciles IS NOT NULL"),
    ("ix_attempt_found", "attempt", ["job_id"], "found <> ''"),
)


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        for name, table, columns, rows in INDEXES:
            op.create_index(name, table, columns, sqlite_where=sa.text(rows))
        return
    with op.get_context().autocommit_block():
        for name, table, columns, rows in INDEXES:
            valid = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
            if op.get_bind().execute(valid, {"name": name}).scalar():
                continue
            # What a build that was cut off leaves behind is no index: begun anew.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {table} ({', '.join(columns)}) WHERE {rows}")


def downgrade() -> None:
    for name, table, _, _ in reversed(INDEXES):
        op.drop_index(name, table)
