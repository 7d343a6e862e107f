"""expand: session.verdict_digest, which signs what the provider has decided.

Safe with the previous release running: it does not read the column. A verdict that it applies is not signed; one that
it replaces shows as changed, until the provider's next word.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    text = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.add_column("session", sa.Column("verdict_digest", text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("session", "verdict_digest")
