"""expand: budget.lost and lost_since, how the losses that a sender has reported in a row weigh;
invitation.lost_handovers, those of a message; and unread_code, the codes that no table of ours has.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("budget", sa.Column("lost", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("budget", sa.Column("lost_since", TIME, nullable=True))
    op.add_column("invitation", sa.Column("lost_handovers", sa.SmallInteger(), nullable=False, server_default="0"))
    op.create_table(
        "unread_code",
        sa.Column("budget", _text(64), primary_key=True),
        sa.Column("code", _text(48), primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("unread_code")
    op.drop_column("invitation", "lost_handovers")
    op.drop_column("budget", "lost_since")
    op.drop_column("budget", "lost")


def _text(longest: int) -> sa.String:
    """As in migration 0001."""
    return sa.String(longest).with_variant(sa.String(longest, collation="C"), "postgresql")
