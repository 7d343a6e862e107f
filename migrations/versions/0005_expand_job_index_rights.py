"""expand: the indexes of rows that set what needs a right, and of those that may not, built while workers go on.

On PostgreSQL a build waits for every older transaction and blocks none, and so has no lock_timeout. One that is
interrupted leaves an invalid index, which the next run drops.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_job_right_missing": (["account", "batch_id"], "state = 'waiting' AND reason = 'right_missing'"),
    "ix_job_sets": (["batch_id", "sets"], "sets <> ''"),
}


def upgrade() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    with op.get_context().autocommit_block():
        before = op.get_bind().execute(sa.text("SHOW lock_timeout")).scalar_one() if on_postgresql else ""
        if on_postgresql:
            op.execute("SET lock_timeout = 0")
        for name, (columns, rows) in INDEXES.items():
            where = {"postgresql_where": sa.text(rows), "sqlite_where": sa.text(rows)}
            op.drop_index(name, "job", if_exists=True, postgresql_concurrently=True)
            op.create_index(name, "job", columns, postgresql_concurrently=True, **where)
        if on_postgresql:
            op.execute(f"SET lock_timeout = '{before}'")


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "job", if_exists=True)
