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

BACKED = "state = 'waiting' AND joins IS NULL AND others <> ''"
BOUND = (
    "invitation_id IS NULL AND (outcome IN ('unknown', 'late', 'conflict') OR (outcome = 'transient' AND repeatable))"
)


def upgrade() -> None:
    with op.batch_alter_table("budget") as budget:
        budget.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        budget.add_column(sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("in_doubt", sa.Uuid(), nullable=True))
        job.add_column(sa.Column("others", sa.String(400), nullable=False, server_default=""))
        job.add_column(sa.Column("freshness_seconds", sa.Integer(), nullable=True))
        job.create_index(
            "ix_job_backed",
            ["account", "priority", "due_at", "id"],
            postgresql_where=sa.text(BACKED),
            sqlite_where=sa.text(BACKED),
        )
    with op.batch_alter_table("attempt") as attempt:
        attempt.add_column(sa.Column("look_up_at", sa.DateTime(timezone=True), nullable=True))
        attempt.create_index(
            "ix_attempt_bound", ["job_id"], postgresql_where=sa.text(BOUND), sqlite_where=sa.text(BOUND)
        )
    with op.batch_alter_table("invitation") as invitation:
        invitation.add_column(sa.Column("in_doubt", sa.Uuid(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("invitation") as invitation:
        invitation.drop_column("in_doubt")
    with op.batch_alter_table("attempt") as attempt:
        attempt.drop_index("ix_attempt_bound")
        attempt.drop_column("look_up_at")
    with op.batch_alter_table("job") as job:
        job.drop_index("ix_job_backed")
        job.drop_column("freshness_seconds")
        job.drop_column("others")
        job.drop_column("in_doubt")
    with op.batch_alter_table("budget") as budget:
        budget.drop_column("opened_at")
        budget.drop_column("failures")
