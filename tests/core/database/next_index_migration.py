"""expand: an index, in a revision of its own, built while workers use the table (see CONTRIBUTING.md).

On PostgreSQL the build waits for every transaction that is older than itself, whatever that does, and so has no
lock_timeout; it blocks none of them. One that is interrupted leaves an invalid index, which the next run drops.
"""

import sqlalchemy as sa
from alembic import op

from onboarding_worker.core.database import schema

down_revision = f"{int(schema.newest()) + 1:04}"
revision = f"{int(schema.newest()) + 2:04}"
branch_labels = None
depends_on = None

NAME, ROWS = "ix_attempt_opened_at", sa.text("status IS NOT NULL")


def upgrade() -> None:
    on_postgresql = op.get_context().dialect.name == "postgresql"
    with op.get_context().autocommit_block():
        before = op.get_bind().execute(sa.text("SHOW lock_timeout")).scalar_one() if on_postgresql else ""
        if on_postgresql:
            op.execute("SET lock_timeout = 0")
        op.drop_index(NAME, "attempt", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            NAME,
            "attempt",
            ["account", "opened_at"],
            postgresql_where=ROWS,
            sqlite_where=ROWS,
            postgresql_concurrently=True,
        )
        if on_postgresql:
            op.execute(f"SET lock_timeout = '{before}'")


def downgrade() -> None:
    op.drop_index(NAME, "attempt", if_exists=True)
