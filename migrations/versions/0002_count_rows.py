"""create: the counts of the rows of each batch, kept by triggers, so that no status reads a million rows.

Triggers see every change, whichever statement makes it, and write the difference to `batch_count_change`; so no
transaction waits for a count that another one changes. The sweep adds the differences up in `batch_count`. A statement
that changes many rows at once counts them itself and says so in their column `counted`: it costs less
(`worker/core/database/tally.py`, which knows the same values of a row). Only the purge removes rows, and it keeps the
totals of their batch (`batch.totals`).
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SHORT_LIVED = {"autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 1000}
COLUMNS = ("batch_id", "kind", "state", "channel", "account", "result", "reason")
# A row under a lease is counted as a waiting one: the leases tell them apart.
STATE = "CASE WHEN {row}.state = 'working' THEN 'waiting' ELSE {row}.state END"
LATER = (
    "{row}.state = 'waiting' AND {row}.reason IN"
    " ('quiet_hours', 'waits_for_sender', 'address_spent', 'credits_spent', 'in_review')"
)
UNREACHABLE = "{row}.state = 'failed' AND {row}.reason = 'suppressed'"
# By table: which rows are counted; what of a row is counted, in the order of COLUMNS; whether it has a session; the
# columns whose change may change that.
COUNTED = {
    "job": (
        "{row}.leader_id IS NULL",
        (
            "{row}.batch_id",
            "'job'",
            STATE,
            "{row}.channel",
            "{row}.account",
            "{row}.result",
            f"CASE WHEN {LATER} OR {UNREACHABLE} THEN {{row}}.reason ELSE '' END",
        ),
        "CASE WHEN {row}.session_id IS NULL THEN 0 ELSE 1 END",
        "batch_id, state, channel, account, result, reason, session_id, leader_id",
    ),
    "invitation": (
        "{row}.kind = 'invitation'",
        (
            "{row}.batch_id",
            "'message'",
            STATE,
            "{row}.channel",
            "''",
            "''",
            f"CASE WHEN {LATER} THEN {{row}}.reason ELSE '' END",
        ),
        "0",
        "batch_id, state, channel, reason, kind",
    ),
    "attempt": (
        "{row}.invitation_id IS NULL",
        (
            "{row}.batch_id",
            "CASE WHEN {row}.reconciles IS NULL THEN 'call' ELSE 'look_up' END",
            "coalesce({row}.outcome, '')",
            "''",
            "{row}.account",
            "''",
            "''",
        ),
        "0",
        "batch_id, outcome, account, reconciles, invitation_id",
    ),
}


def upgrade() -> None:
    op.create_table(
        "batch_count",
        sa.Column("batch_id", BigId, sa.ForeignKey("batch.id"), nullable=False),
        *_words(),
        *_numbers(),
        sa.PrimaryKeyConstraint(*COLUMNS),
        postgresql_with=SHORT_LIVED | {"fillfactor": 50},
    )
    op.create_table(
        "batch_count_change",
        sa.Column("id", BigId, primary_key=True),
        sa.Column("batch_id", BigId, nullable=False),
        *_words(),
        *_numbers(),
        postgresql_with=SHORT_LIVED,
    )
    for table in COUNTED:
        op.add_column(table, sa.Column("counted", sa.SmallInteger(), nullable=False, server_default="0"))
    for table, (counted, values, session, columns) in COUNTED.items():
        _count(table, counted, values, session, columns)
        _count_what_is_there(table, counted, values, session)


def downgrade() -> None:
    for table in COUNTED:
        for event in ("insert", "update"):
            name = f"count_{table}_{event}"
            if op.get_bind().dialect.name == "postgresql":
                op.execute(f"DROP TRIGGER {name} ON {table}")
                op.execute(f"DROP FUNCTION {name}")
            else:
                op.execute(f"DROP TRIGGER {name}")
        op.drop_column(table, "counted")
    op.drop_table("batch_count_change")
    op.drop_table("batch_count")


def _words() -> list[sa.Column[str]]:
    sizes = {"kind": 8, "state": 16, "channel": 8, "account": 64, "result": 16, "reason": 40}
    return [sa.Column(name, _text(size), nullable=False) for name, size in sizes.items()]


def _text(longest: int) -> sa.String:
    """As in migration 0001."""
    return sa.String(longest).with_variant(sa.String(longest, collation="C"), "postgresql")


def _numbers() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=False) for name in ("rows", "sessions")]


def _count(table: str, counted: str, values: Sequence[str], session: str, columns: str) -> None:
    """The triggers of a table, each run for a row whose counts change and that nobody has counted."""

    def add(row: str, sign: int) -> str:
        amounts = f"{sign}, {sign} * {session.format(row=row)}"
        chosen = ", ".join(value.format(row=row) for value in values)
        return (
            f"INSERT INTO batch_count_change ({', '.join(COLUMNS)}, rows, sessions)"
            f" SELECT {chosen}, {amounts} WHERE {counted.format(row=row)};"
        )

    differ = " OR ".join(
        f"{what.format(row='OLD')} IS DISTINCT FROM {what.format(row='NEW')}"
        for what in (f"({counted})", *(f"({value})" for value in values), f"({session})")
        if "{row}" in what
    )
    _trigger(table, "INSERT", f"NEW.counted = 0 AND {counted.format(row='NEW')}", add("NEW", 1))
    either = f"({counted.format(row='OLD')} OR {counted.format(row='NEW')})"
    changes = f"NEW.counted = OLD.counted AND {either} AND ({differ})"
    _trigger(table, f"UPDATE OF {columns}", changes, add("OLD", -1) + add("NEW", 1))


def _count_what_is_there(table: str, counted: str, values: Sequence[str], session: str) -> None:
    """The rows from before the triggers. The table has been locked since its column was added."""
    alike = ", ".join(str(number) for number, _ in enumerate(COLUMNS, start=1))
    chosen = ", ".join(value.format(row=table) for value in values)
    op.execute(
        f"INSERT INTO batch_count ({', '.join(COLUMNS)}, rows, sessions)"  # noqa: S608 -- words of this file
        f" SELECT {chosen}, count(*), sum({session.format(row=table)}) FROM {table}"
        f" WHERE {counted.format(row=table)} GROUP BY {alike}"
    )


def _trigger(table: str, event: str, condition: str, does: str) -> None:
    name = f"count_{table}_{event.split()[0].lower()}"
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does} RETURN NULL; END $$")
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {name}()"
        )
    else:
        condition = condition.replace("IS DISTINCT FROM", "IS NOT")
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} WHEN {condition} BEGIN {does} END")
