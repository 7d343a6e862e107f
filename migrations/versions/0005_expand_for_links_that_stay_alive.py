"""expand: what providers and senders tell us afterwards, sessions to be looked at again, suppressed addresses, tallies.

Expands only: new tables, and columns with defaults, so that workers of the release before go on beside it. The one
index that goes was read by nobody.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
# Rows that change a lot, or come and go: cleaned up by how many did, not by how many there are.
CLEANED = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000"
# Of tables that workers use: built beside them.
INDEXES = (
    ("ix_session_look", "session", ["look_at", "id"], "look_at IS NOT NULL"),
    ("ix_session_customer", "session", ["customer_id"], None),
    ("ix_session_company", "session", ["company_id"], "company_id <> ''"),
    ("ix_session_token", "session", ["token_digest"], "token_digest IS NOT NULL"),
    ("ix_invitation_reference", "invitation", ["reference"], "channel = 'sms' AND reference <> ''"),
)
LIVE = "state IN ('waiting', 'started')"


def upgrade() -> None:
    op.add_column("session", sa.Column("look_at", TIME, nullable=True))
    op.add_column("session", sa.Column("result", sa.String(16), nullable=False, server_default=""))
    op.add_column("session", sa.Column("heard_rank", sa.SmallInteger(), nullable=False, server_default="0"))
    op.add_column("session", sa.Column("heard_at", TIME, nullable=True))
    op.add_column("session", sa.Column("heard_weight", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("session", sa.Column("note", sa.String(400), nullable=False, server_default=""))
    op.add_column("session", sa.Column("company_id", sa.String(100), nullable=False, server_default=""))
    op.add_column("session", sa.Column("token_digest", sa.String(64), nullable=True))
    op.add_column("invitation", sa.Column("told_at", TIME, nullable=True))
    op.add_column("batch", sa.Column("pause_reason", sa.String(400), nullable=False, server_default=""))
    op.add_column("batch", sa.Column("resumed_at", TIME, nullable=True))
    _make_tables()
    if op.get_context().dialect.name == "sqlite":
        op.drop_index("ix_session_expires", "session")
        for name, table, columns, rows in INDEXES:
            op.create_index(name, table, columns, sqlite_where=None if rows is None else sa.text(rows))
        return
    for table in ("tally", "webhook"):
        op.execute(f"ALTER TABLE {table} SET ({CLEANED})")
    with op.get_context().autocommit_block():
        for name, table, columns, rows in INDEXES:
            valid = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
            if op.get_bind().execute(valid, {"name": name}).scalar():
                continue
            # What a build that was cut off leaves behind is no index: begun anew.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            where = f" WHERE {rows}" if rows is not None else ""
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {table} ({', '.join(columns)}){where}")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_session_expires")


def _make_tables() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("detail", sa.String(400), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("invitation_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook"),
        sa.UniqueConstraint("source", "digest", name="uq_webhook_source_digest"),
    )
    due, listed = sa.text("due_at IS NOT NULL"), sa.text("state IN ('unknown', 'alert', 'broken')")
    op.create_index("ix_webhook_due", "webhook", ["due_at", "id"], postgresql_where=due, sqlite_where=due)
    op.create_index("ix_webhook_listed", "webhook", ["received_at"], postgresql_where=listed, sqlite_where=listed)
    op.create_index("ix_webhook_received", "webhook", ["received_at"])
    op.create_table(
        "suppression",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(8), nullable=False),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("source", sa.String(80), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_suppression"),
    )
    op.create_table(
        "tally",
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("minute", TIME, nullable=False),
        sa.Column("tried", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("bounced", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "minute", name="pk_tally"),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name="fk_tally_batch_id_batch"),
    )
    op.create_table(
        "reissued",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account", "day", name="pk_reissued"),
    )
    op.create_table(
        "leftover",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("after", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_leftover"),
    )
    # Done by the sweep, in lots (`store.maintenance.backfill`): here it would keep the migration waiting for its rows.
    op.execute(
        "INSERT INTO leftover (name, since)"
        " SELECT 'session.look_at', CURRENT_TIMESTAMP WHERE EXISTS (SELECT 1 FROM session)"
    )


def downgrade() -> None:
    live = sa.text(LIVE)
    op.create_index("ix_session_expires", "session", ["expires_at"], postgresql_where=live, sqlite_where=live)
    for name, table, _, _ in reversed(INDEXES):
        op.drop_index(name, table)
    for table in ("leftover", "reissued", "tally", "suppression", "webhook"):
        op.drop_table(table)
    op.drop_column("batch", "resumed_at")
    op.drop_column("batch", "pause_reason")
    op.drop_column("invitation", "told_at")
    for name in (
        "token_digest",
        "company_id",
        "note",
        "heard_weight",
        "heard_at",
        "heard_rank",
        "result",
        "look_at",
    ):
        op.drop_column("session", name)
