"""expand: suppression.manual_by and manual_at, a person's own entry beneath what was said since; NULL: there is none.

Safe with the release before running: it neither reads nor writes them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("suppression", sa.Column("manual_by", sa.String(80), nullable=True))
    op.add_column("suppression", sa.Column("manual_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("suppression", "manual_at")
    op.drop_column("suppression", "manual_by")
