"""expand: attempt.region, the region of the provider that was called; NULL: not known.

No release has this migration. The tests add it to a copy of the migrations, which makes a next release to upgrade to
(`next_release` in conftest.py).
"""

import sqlalchemy as sa
from alembic import op

from worker.store.base import schema
from worker.store.base.concurrent_index import build_index, drop_index

down_revision = schema.newest()
revision = f"{int(down_revision) + 1:04}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index("ix_attempt_opened_at", "attempt", "account", "opened_at", where="status IS NOT NULL")
    op.add_column("attempt", sa.Column("region", sa.String(16), nullable=True))


def downgrade() -> None:
    drop_index("ix_attempt_opened_at", "attempt")
    op.drop_column("attempt", "region")
