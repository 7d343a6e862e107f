"""expand: an index, in a revision of its own."""

from worker.core.database import schema
from worker.wiring.concurrent_index import build_index, drop_index

down_revision = f"{int(schema.newest()) + 1:04}"
revision = f"{int(schema.newest()) + 2:04}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index("ix_attempt_opened_at", "attempt", "account", "opened_at", where="status IS NOT NULL")


def downgrade() -> None:
    drop_index("ix_attempt_opened_at", "attempt")
