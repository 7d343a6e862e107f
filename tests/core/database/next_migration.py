"""expand: attempt.region, the region of the provider that was called; NULL: not known.

No release has this migration. The tests add it to a copy of the migrations, with `next_index_migration`, which makes a
next release to upgrade to (`next_release` in conftest.py).
"""

import sqlalchemy as sa
from alembic import op

from onboarding_worker.core.database import schema

down_revision = schema.newest()
revision = f"{int(down_revision) + 1:04}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("region", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("attempt", "region")
