"""expand: job.sets, the columns by which a row sets what needs a right; and two indexes, of such rows and of
those without the right.

Safe with the previous release running: it neither reads nor writes the column, and its own rows, whose column is empty,
are judged by their values all the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_job_right_missing": (["account", "batch_id"], "state = 'waiting' AND reason = 'right_missing'"),
    "ix_job_sets": (["batch_id", "sets"], "sets <> ''"),
}


def upgrade() -> None:
    text = sa.String(1000).with_variant(sa.String(1000, collation="C"), "postgresql")
    op.add_column("job", sa.Column("sets", text, nullable=False, server_default=""))
    for name, (columns, rows) in INDEXES.items():
        op.create_index(name, "job", columns, postgresql_where=sa.text(rows), sqlite_where=sa.text(rows))


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "job")
    op.drop_column("job", "sets")
