"""expand: job.sets, the columns by which a row sets what needs a right.

Safe with the previous release running: it neither reads nor writes the column, and its own rows, whose column is empty,
are judged by their values all the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    text = sa.String(1000).with_variant(sa.String(1000, collation="C"), "postgresql")
    op.add_column("job", sa.Column("sets", text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("job", "sets")
