"""expand: what any number of workers share: breakers, look-ups of calls in doubt, the other accounts of a row.

Expands only: whatever is new has a default, so that workers of the release before go on while it runs, and until
they are replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Retention and a million jobs: what each table tells PostgreSQL's autovacuum, and how full its pages are made.
# Rows are changed a few times and then never again, so it is the changes since that count, hardly the rows there are.
CLEANED = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000"
# Statistics from before a large list make the planner read all of it where it should look a few rows up.
COUNTED = "autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 5000"
STORAGE = {
    "job": f"{CLEANED}, {COUNTED}",
    "invitation": f"{CLEANED}, {COUNTED}",
    "session": COUNTED,
    # An attempt is closed in its own page without a write to any index, while there is room: for each a second one.
    "attempt": f"{CLEANED}, {COUNTED}, fillfactor = 50",
    # A few rows that change many times a second: pages of their own, and cleaned up long before they are many.
    "budget": "fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500",
}
_RATES = ("rate", "good", "refused_from", "trial_rate")
_COUNTS = ("granted", "refused", "trial_share", "habit")
_TIMES = ("counted_at", "refused_at", "lowered_at", "raised_at", "habit_at")


def upgrade() -> None:
    _upgrade_attempt_indexes()  # first, for what it does is not undone when a later step fails
    with op.batch_alter_table("budget") as budget:
        budget.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        budget.add_column(sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True))
        for name in _RATES:
            budget.add_column(sa.Column(f"pace_{name}", sa.Double(), nullable=True))
        for name in _COUNTS:
            budget.add_column(sa.Column(f"pace_{name}", sa.Double(), nullable=False, server_default="0"))
        for name in _TIMES:
            budget.add_column(sa.Column(f"pace_{name}", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "permit",
        sa.Column("budget", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(160), nullable=False),
        sa.Column("permits", sa.Integer(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("budget", "owner", name="pk_permit"),
    )
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("unknown_attempt", sa.Uuid(), nullable=True))
        job.add_column(sa.Column("others", sa.String(400), nullable=False, server_default=""))
        job.add_column(sa.Column("freshness_seconds", sa.Integer(), nullable=True))
    with op.batch_alter_table("attempt") as attempt:
        attempt.add_column(sa.Column("reconcile_at", sa.DateTime(timezone=True), nullable=True))
        attempt.add_column(sa.Column("reconciles", sa.Uuid(), nullable=True))
        attempt.add_column(sa.Column("found", sa.String(400), nullable=False, server_default=""))
    with op.batch_alter_table("invitation") as invitation:
        invitation.add_column(sa.Column("unknown_attempt", sa.Uuid(), nullable=True))

    _upgrade_retention()


def downgrade() -> None:
    # Column by column, on SQLite too: a copy of the whole table cannot take the place of one that others refer to.
    _hold_what_is_in_doubt()
    _downgrade_retention()
    op.drop_column("invitation", "unknown_attempt")
    for name in ("found", "reconciles", "reconcile_at"):
        op.drop_column("attempt", name)
    for name in ("freshness_seconds", "others", "unknown_attempt"):
        op.drop_column("job", name)
    op.drop_table("permit")
    for name in (*(f"pace_{name}" for name in (*_TIMES, *_COUNTS, *_RATES)), "opened_at", "failures"):
        op.drop_column("budget", name)
    _downgrade_attempt_indexes()


def _hold_what_is_in_doubt() -> None:
    """The release before would call plainly for rows that wait to be looked up: a second session, a second text."""
    for table in ("job", "invitation"):
        rows = sa.table(table, *map(sa.column, ("state", "due_at", "lease_until", "reason", "unknown_attempt")))
        doubtful = (rows.c.unknown_attempt.is_not(None), rows.c.state.in_(("waiting", "working")))
        held = {"state": "held", "due_at": None, "lease_until": None, "reason": "unknown"}
        op.execute(sa.update(rows).where(*doubtful).values(held))
    # Where nothing else of a job is still to be sent, a message that is held holds it.
    op.execute(
        "UPDATE job SET state = 'held', reason = 'unknown' WHERE state IN ('issued', 'invited')"
        " AND EXISTS (SELECT 1 FROM invitation WHERE job_id = job.id AND state = 'held')"
        " AND NOT EXISTS (SELECT 1 FROM invitation WHERE job_id = job.id AND state IN ('waiting', 'working'))"
    )


def _upgrade_attempt_indexes() -> None:
    """One index by job for three: each closing of an attempt wrote two of them, and made their entries grow stale."""
    if op.get_context().dialect.name == "sqlite":
        op.create_index("ix_attempt_job_id", "attempt", ["job_id"])
        for name in ("ix_attempt_batch_id", "ix_attempt_open", "ix_attempt_in_doubt"):
            op.drop_index(name, "attempt")
        return
    # Built and dropped beside workers that go on.
    with op.get_context().autocommit_block():
        _build_beside("ix_attempt_job_id", "attempt (job_id)")
        for name in ("ix_attempt_batch_id", "ix_attempt_open", "ix_attempt_in_doubt"):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        _build_beside("ix_customer_kept", "customer (changed_at, customer_id) WHERE sealed IS NOT NULL")


def _build_beside(name: str, rows: str) -> None:
    """What a build that was cut off leaves behind is no index, and begun anew. One that is there stays: a later step
    that is tried again must not take it from those who look by it."""
    valid = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    if not op.get_bind().execute(valid, {"name": name}).scalar():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {rows}")


def _downgrade_attempt_indexes() -> None:
    unknown_attempt, still_open = "invitation_id IS NULL AND outcome IN ('unknown', 'late')", "closed_at IS NULL"
    _partial_index("ix_attempt_in_doubt", "attempt", ["job_id"], unknown_attempt)
    _partial_index("ix_attempt_open", "attempt", ["job_id", "invitation_id"], still_open)
    op.create_index("ix_attempt_batch_id", "attempt", ["batch_id"])
    op.drop_index("ix_attempt_job_id", "attempt")


def _upgrade_retention() -> None:
    op.add_column("batch", sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("batch", sa.Column("totals", sa.JSON(), nullable=True))
    op.create_table(
        "finished",
        sa.Column("customer_id", sa.String(100), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.customer_id"], name="fk_finished_customer_id"),
        sa.PrimaryKeyConstraint("customer_id", "purpose", name="pk_finished"),
    )
    if op.get_context().dialect.name == "sqlite":
        _partial_index("ix_customer_kept", "customer", ["changed_at", "customer_id"], "sealed IS NOT NULL")
        return
    for table, settings in STORAGE.items():
        op.execute(f"ALTER TABLE {table} SET ({settings})")


def _downgrade_retention() -> None:
    if op.get_context().dialect.name != "sqlite":
        for table, settings in STORAGE.items():
            names = ", ".join(setting.split(" = ")[0] for setting in settings.split(", "))
            op.execute(f"ALTER TABLE {table} RESET ({names})")
    op.drop_table("finished")
    op.drop_index("ix_customer_kept", "customer")
    for name in ("totals", "purged_at"):
        op.drop_column("batch", name)


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
