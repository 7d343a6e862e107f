"""expand: events of other systems that came in, what others are yet to be told, and invitations that wait for the app.

Expands only: new tables, and columns that may be empty, so that workers of the release before go on beside it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
# Rows that come and go: cleaned up by how many went, not by how many there are.
CLEANED = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000"


def upgrade() -> None:
    op.add_column("batch", sa.Column("last_row", sa.Integer(), nullable=True))
    op.add_column("customer", sa.Column("details_at", TIME, nullable=True))
    op.add_column("job", sa.Column("invite_at", TIME, nullable=True))
    op.add_column("job", sa.Column("cancelled_at", TIME, nullable=True))
    op.create_table(
        "inbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("event_id", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("customer_id", sa.String(100), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("occurred_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", sa.String(400), nullable=False),
        sa.Column("job_id", BigId, nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
        sa.UniqueConstraint("source", "event_id", name="uq_inbox_source_event_id"),
    )
    op.create_index("ix_inbox_customer", "inbox", ["customer_id", "occurred_at"])
    op.create_index("ix_inbox_received", "inbox", ["received_at"])
    op.create_index("ix_inbox_job", "inbox", ["job_id"])
    kept = sa.text("length(sealed) > 0")
    op.create_index("ix_inbox_sealed", "inbox", ["received_at"], postgresql_where=kept, sqlite_where=kept)
    op.create_table(
        "outbox",
        sa.Column("id", BigId, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("customer_id", sa.String(100), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("occurred_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("since", TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("detail", sa.String(400), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        # Else SQLite gives the numbers of rows that are gone to new ones.
        sqlite_autoincrement=True,
    )
    due = sa.text("due_at IS NOT NULL")
    op.create_index("ix_outbox_target", "outbox", ["target", "id"], postgresql_where=due, sqlite_where=due)
    op.create_index("ix_outbox_customer", "outbox", ["customer_id", "target", "id"])
    given_up = sa.text("due_at IS NULL")
    op.create_index("ix_outbox_given_up", "outbox", ["since"], postgresql_where=given_up, sqlite_where=given_up)
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE outbox SET ({CLEANED})")


def downgrade() -> None:
    op.drop_table("outbox")
    op.drop_table("inbox")
    op.drop_column("job", "cancelled_at")
    op.drop_column("job", "invite_at")
    op.drop_column("customer", "details_at")
    op.drop_column("batch", "last_row")
