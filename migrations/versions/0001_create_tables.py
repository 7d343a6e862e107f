"""create: every table of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only where the key is exactly INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", BigId, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_table(
        "batch",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
        sa.UniqueConstraint("digest", "generation", name="uq_batch_digest_generation"),
    )
    op.create_table(
        "budget",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_reason", sa.String(400), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pauses", sa.Integer(), nullable=False),
        sa.Column("probe_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stop_reason", sa.String(400), nullable=False),
        sa.Column("credits_used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_budget"),
    )
    op.create_table(
        "customer",
        sa.Column("customer_id", sa.String(100), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("locale", sa.String(35), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", name="pk_customer"),
    )
    op.create_table(
        "job",
        sa.Column("id", BigId, nullable=False),
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(100), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("template", sa.String(64), nullable=False),
        sa.Column("entity_id", sa.String(100), nullable=False),
        sa.Column("consent", sa.Boolean(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("floor_seconds", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(64), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("waits", sa.Integer(), nullable=False),
        sa.Column("reissues", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("detail", sa.String(400), nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("joins", BigId, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name="fk_job_batch_id"),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.customer_id"], name="fk_job_customer_id"),
        sa.ForeignKeyConstraint(["joins"], ["job.id"], name="fk_job_joins"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("batch_id", "row", name="uq_job_batch_id_row"),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_customer", ["customer_id"], unique=False)
        batch_op.create_index(
            "ix_job_due",
            ["account", "priority", "due_at", "id"],
            unique=False,
            postgresql_where=sa.text("state = 'waiting' AND joins IS NULL"),
            sqlite_where=sa.text("state = 'waiting' AND joins IS NULL"),
        )
        batch_op.create_index(
            "ix_job_joins",
            ["joins"],
            unique=False,
            postgresql_where=sa.text("joins IS NOT NULL"),
            sqlite_where=sa.text("joins IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_job_lease",
            ["lease_until"],
            unique=False,
            postgresql_where=sa.text("state = 'working'"),
            sqlite_where=sa.text("state = 'working'"),
        )
        batch_op.create_index(
            "uq_job_leads",
            ["customer_id", "purpose"],
            unique=True,
            postgresql_where=sa.text("joins IS NULL AND state IN ('waiting', 'working', 'issued', 'invited', 'held')"),
            sqlite_where=sa.text("joins IS NULL AND state IN ('waiting', 'working', 'issued', 'invited', 'held')"),
        )

    op.create_table(
        "refusal",
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("duplicate_of", sa.Integer(), nullable=True),
        sa.Column("customer_id", sa.String(100), nullable=True),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name="fk_refusal_batch_id"),
        sa.PrimaryKeyConstraint("batch_id", "row", name="pk_refusal"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("job_id", BigId, nullable=False),
        sa.Column("invitation_id", sa.Uuid(), nullable=True),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("repeatable", sa.Boolean(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("code", sa.String(64), nullable=True),
        sa.Column("detail", sa.String(400), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name="fk_attempt_batch_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_attempt_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_batch_id", ["batch_id"], unique=False)
        batch_op.create_index(
            "ix_attempt_in_doubt",
            ["job_id"],
            unique=False,
            postgresql_where=sa.text("invitation_id IS NULL AND outcome IN ('unknown', 'late')"),
            sqlite_where=sa.text("invitation_id IS NULL AND outcome IN ('unknown', 'late')"),
        )
        batch_op.create_index(
            "ix_attempt_open",
            ["job_id", "invitation_id"],
            unique=False,
            postgresql_where=sa.text("closed_at IS NULL"),
            sqlite_where=sa.text("closed_at IS NULL"),
        )

    op.create_table(
        "session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.String(100), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("job_id", BigId, nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("reference", sa.String(100), nullable=False),
        sa.Column("references", sa.JSON(), nullable=False),
        sa.Column("vendor", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("sms_sent", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expiry_source", sa.String(16), nullable=False),
        sa.Column("replaces", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.customer_id"], name="fk_session_customer_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_session_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
    )
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.create_index(
            "ix_session_expires",
            ["expires_at"],
            unique=False,
            postgresql_where=sa.text("state IN ('waiting', 'started')"),
            sqlite_where=sa.text("state IN ('waiting', 'started')"),
        )
        batch_op.create_index("ix_session_job_id", ["job_id"], unique=False)
        batch_op.create_index("ix_session_reference", ["account", "reference"], unique=False)
        batch_op.create_index(
            "uq_session_live",
            ["customer_id", "purpose"],
            unique=True,
            postgresql_where=sa.text("state IN ('waiting', 'started')"),
            sqlite_where=sa.text("state IN ('waiting', 'started')"),
        )

    op.create_table(
        "invitation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", BigId, nullable=False),
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(64), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("waits", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("detail", sa.String(400), nullable=False),
        sa.Column("reference", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name="fk_invitation_batch_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_invitation_job_id"),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_invitation_session_id"),
        sa.PrimaryKeyConstraint("id", name="pk_invitation"),
        sa.UniqueConstraint("session_id", "channel", "kind", name="uq_invitation_session_id_channel_kind"),
    )
    with op.batch_alter_table("invitation", schema=None) as batch_op:
        batch_op.create_index("ix_invitation_batch_id", ["batch_id"], unique=False)
        batch_op.create_index(
            "ix_invitation_due",
            ["channel", "priority", "due_at", "id"],
            unique=False,
            postgresql_where=sa.text("state = 'waiting'"),
            sqlite_where=sa.text("state = 'waiting'"),
        )
        batch_op.create_index("ix_invitation_job_id", ["job_id"], unique=False)
        batch_op.create_index(
            "ix_invitation_lease",
            ["lease_until"],
            unique=False,
            postgresql_where=sa.text("state = 'working'"),
            sqlite_where=sa.text("state = 'working'"),
        )


def downgrade() -> None:
    with op.batch_alter_table("invitation", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_invitation_lease",
            postgresql_where=sa.text("state = 'working'"),
            sqlite_where=sa.text("state = 'working'"),
        )
        batch_op.drop_index("ix_invitation_job_id")
        batch_op.drop_index(
            "ix_invitation_due",
            postgresql_where=sa.text("state = 'waiting'"),
            sqlite_where=sa.text("state = 'waiting'"),
        )
        batch_op.drop_index("ix_invitation_batch_id")

    op.drop_table("invitation")
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_session_live",
            postgresql_where=sa.text("state IN ('waiting', 'started')"),
            sqlite_where=sa.text("state IN ('waiting', 'started')"),
        )
        batch_op.drop_index("ix_session_reference")
        batch_op.drop_index("ix_session_job_id")
        batch_op.drop_index(
            "ix_session_expires",
            postgresql_where=sa.text("state IN ('waiting', 'started')"),
            sqlite_where=sa.text("state IN ('waiting', 'started')"),
        )

    op.drop_table("session")
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_attempt_open", postgresql_where=sa.text("closed_at IS NULL"), sqlite_where=sa.text("closed_at IS NULL")
        )
        batch_op.drop_index(
            "ix_attempt_in_doubt",
            postgresql_where=sa.text("invitation_id IS NULL AND outcome IN ('unknown', 'late')"),
            sqlite_where=sa.text("invitation_id IS NULL AND outcome IN ('unknown', 'late')"),
        )
        batch_op.drop_index("ix_attempt_batch_id")

    op.drop_table("attempt")
    op.drop_table("refusal")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_job_leads",
            postgresql_where=sa.text("joins IS NULL AND state IN ('waiting', 'working', 'issued', 'invited', 'held')"),
            sqlite_where=sa.text("joins IS NULL AND state IN ('waiting', 'working', 'issued', 'invited', 'held')"),
        )
        batch_op.drop_index(
            "ix_job_lease", postgresql_where=sa.text("state = 'working'"), sqlite_where=sa.text("state = 'working'")
        )
        batch_op.drop_index(
            "ix_job_joins", postgresql_where=sa.text("joins IS NOT NULL"), sqlite_where=sa.text("joins IS NOT NULL")
        )
        batch_op.drop_index(
            "ix_job_due",
            postgresql_where=sa.text("state = 'waiting' AND joins IS NULL"),
            sqlite_where=sa.text("state = 'waiting' AND joins IS NULL"),
        )
        batch_op.drop_index("ix_job_customer")

    op.drop_table("job")
    op.drop_table("customer")
    op.drop_table("budget")
    op.drop_table("batch")
    op.drop_table("audit")
