"""create: every table of the first release.

`NAMING` (worker/core/database/tables/types.py) names the constraints that have no name here.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only if the key's type is exactly INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)

# PostgreSQL's autovacuum settings by table. Rows change a few times and then never again. So the number of changes
# decides, hardly the number of rows.
VACUUMED = {"autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 5000}
# With statistics from before a large list, the planner reads the whole table where it should look up a few rows.
ANALYZED = {"autovacuum_analyze_scale_factor": 0.02, "autovacuum_analyze_threshold": 5000}
# The rows that wait for a later hour.
WAITS = (
    "state = 'waiting' AND reason IN ('quiet_hours', 'waits_for_sender', 'address_spent', 'credits_spent', 'in_review')"
)
# The few rows that wait for a session's end: a forecast asks for the last of them.
WAITS_FOR_END = (
    "state = 'waiting' AND reason IN"
    " ('conflict', 'orphan', 'session_ends_first', 'session_expired', 'stale_link', 'unknown')"
)
# The rows whose brand the configuration does not have.
BRAND_MISSING = "state = 'waiting' AND reason = 'brand_missing'"
# Short-lived rows: vacuumed sooner.
SHORT_LIVED = {"autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 1000}

TABLES = (
    "batch",
    "batch_plan",
    "dropped_file",
    "uploaded_list",
    "uploaded_part",
    "skipped_line",
    "bounce_count",
    "customer",
    "pending_details",
    "tombstone",
    "finished",
    "renewal",
    "stable_link",
    "suppression",
    "address_place",
    "job",
    "attempt",
    "session",
    "invitation",
    "budget",
    "permit",
    "reissue_count",
    "text_count",
    "inbox",
    "refused_event",
    "outbox",
    "webhook",
    "audit",
    "audit_head",
    "log_in",
    "emergency_stop",
    "alert",
    "metric_count",
    "process",
    "retired_key",
    "timer",
)


def upgrade() -> None:
    _create_lists()
    _create_customers()
    _create_jobs()
    _create_attempts()
    _create_sessions()
    _create_invitations()
    _create_accounts()
    _create_events()
    _create_webhooks()
    _create_audit()
    _create_operating()
    _keep_what_jobs_name()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only")
        op.execute("DROP FUNCTION job_names_customer")
        op.execute("DROP FUNCTION job_joins_job")


def _text(longest: int) -> sa.String:
    """A text, compared by its bytes (docs/decisions/0093-texts-compared-by-bytes.md)."""
    return sa.String(longest).with_variant(sa.String(longest, collation="C"), "postgresql")


def _key(name: str, kind: Any, *more: Any) -> sa.Column[Any]:
    """A column of the primary key."""
    return sa.Column(name, kind, *more, primary_key=True)


def _column(name: str, kind: Any, *more: Any, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind, *more, nullable=False, server_default=default)


def _optional(name: str, kind: Any, *more: Any) -> sa.Column[Any]:
    """A column that may be NULL."""
    return sa.Column(name, kind, *more, nullable=True)


def _index(name: str, table: str, *columns: str, where: str | None = None, unique: bool = False) -> None:
    """An index of the table's rows, or of the rows that match `where`."""
    rows = sa.text(where) if where else None
    op.create_index(name, table, list(columns), unique=unique, postgresql_where=rows, sqlite_where=rows)


def _one_where(name: str, table: str, *columns: str, where: str) -> None:
    """An index of the table's rows. At most one row of each key matches `where`."""
    op.create_index(name, table, [*columns, sa.text(f"(CASE WHEN {where} THEN 1 END)")], unique=True)


def _create_lists() -> None:
    op.create_table(
        "batch",
        _key("id", BigId),
        _column("name", _text(255)),
        _column("digest", _text(64)),
        _column("generation", sa.Integer()),
        _column("created_at", TIME),
        _optional("imported_at", TIME),
        _optional("paused_at", TIME),
        _optional("cancelled_at", TIME),
        _optional("changing_since", TIME),
        _optional("purged_at", TIME),
        _optional("totals", sa.JSON()),
        _column("pause_cause", _text(16), default=""),
        _column("pause_reason", _text(400), default=""),
        _optional("resumed_at", TIME),
        _optional("last_row", sa.Integer()),
        sa.Column("planned", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.UniqueConstraint("digest", "generation"),
    )
    op.create_table(
        "batch_plan",
        sa.Column("batch_id", BigId, sa.ForeignKey("batch.id"), primary_key=True, autoincrement=False),
        _optional("start_at", TIME),
        _optional("per_hour", sa.Integer()),
        _optional("most_credits", sa.Integer()),
        _optional("deadline", TIME),
        _optional("issue_next_at", TIME),
        _optional("send_next_at", TIME),
        _column("first", _text(16)),
        _column("condition", _text(400)),
        _optional("last_row", sa.Integer()),
        _optional("released_at", TIME),
        _optional("sent_at", TIME),
        _column("verdict", _text(16)),
        _optional("verdict_at", TIME),
        _column("numbers", _text(400)),
        _optional("check_at", TIME),
    )
    _index("ix_batch_plan_check", "batch_plan", "check_at", where="check_at IS NOT NULL")
    op.create_table(
        "dropped_file",
        _key("folder", _text(64)),
        _key("name", _text(255)),
        _column("stamp", _text(120)),
        _column("seen_at", TIME),
        _column("state", _text(16)),
        _column("reason", _text(400)),
        _column("digest", _text(64)),
        _optional("batch_id", BigId, sa.ForeignKey("batch.id")),
        _column("reported", _text(16)),
        _column("tries", sa.Integer()),
        _optional("until", TIME),
        _column("owner", _text(80)),
    )
    op.create_table(
        "uploaded_list",
        _key("id", BigId),
        _column("name", _text(255)),
        _column("digest", _text(64)),
        _column("size", sa.Integer()),
        _column("state", _text(16)),
        _column("uploaded_by", _text(200)),
        _column("uploaded_at", TIME),
        _column("version", sa.Integer()),
        _column("agreed", sa.JSON()),
        _column("encrypted", sa.LargeBinary()),
        _column("reason", _text(400)),
        _optional("batch_id", BigId, sa.ForeignKey("batch.id")),
        _column("tries", sa.Integer()),
        _optional("until", TIME),
        _column("owner", _text(80)),
    )
    op.create_table(
        "uploaded_part",
        _key("id", BigId),
        _column("list_id", BigId, sa.ForeignKey("uploaded_list.id")),
        _column("what", _text(16)),
        _column("number", sa.Integer()),
        _column("encrypted", sa.LargeBinary()),
        sa.UniqueConstraint("list_id", "what", "number"),
    )
    op.create_table(
        "skipped_line",
        _key("batch_id", BigId, sa.ForeignKey("batch.id")),
        _key("row", sa.Integer()),
        _optional("duplicate_of", sa.Integer()),
        _optional("known", _text(200)),
        _optional("customer_id", _text(100)),
        _column("problems", sa.JSON()),
    )
    op.create_table(
        "bounce_count",
        _key("batch_id", BigId, sa.ForeignKey("batch.id")),
        _key("minute", TIME),
        _column("tried", sa.Integer()),
        _column("refused", sa.Integer()),
        _column("bounced", sa.Integer()),
        postgresql_with=SHORT_LIVED,
    )


def _create_customers() -> None:
    op.create_table(
        "customer",
        _key("customer_id", _text(100)),
        sa.Column("sender", _text(64), nullable=True, server_default=""),
        _column("kind", _text(16)),
        _column("country", _text(2)),
        _column("locale", _text(35)),
        _column("timezone", _text(64)),
        _optional("encrypted", sa.LargeBinary()),
        _optional("details_at", TIME),
        _column("created_at", TIME),
        _column("changed_at", TIME),
        _optional("email_digest", _text(64)),
        _optional("phone_digest", _text(64)),
    )
    _index("ix_customer_kept", "customer", "changed_at", "customer_id", where="encrypted IS NOT NULL")
    _index("ix_customer_email", "customer", "email_digest", where="email_digest IS NOT NULL")
    _index("ix_customer_phone", "customer", "phone_digest", where="phone_digest IS NOT NULL")
    op.create_table(
        "pending_details",
        sa.Column("job_id", BigId, primary_key=True, autoincrement=False),
        _column("customer_id", _text(100)),
        _column("kind", _text(16)),
        _column("country", _text(2)),
        _column("locale", _text(35)),
        _column("timezone", _text(64)),
        _optional("encrypted", sa.LargeBinary()),
        _column("given_at", TIME),
        _optional("due_at", TIME),
        postgresql_with=VACUUMED | ANALYZED,
    )
    _index("ix_pending_details_customer_id", "pending_details", "customer_id")
    _index("ix_pending_details_due", "pending_details", "due_at", where="due_at IS NOT NULL")
    op.create_table("tombstone", _key("digest", _text(64)), _column("erased_at", TIME), _column("final", sa.Boolean()))
    op.create_table(
        "finished",
        _key("customer_id", _text(100), sa.ForeignKey("customer.customer_id")),
        _key("purpose", _text(64)),
        _column("result", _text(16)),
        _column("batch_id", BigId),
        _column("row", sa.Integer()),
    )
    op.create_table(
        "stable_link",
        _key("id", sa.Uuid()),
        _column("customer_id", _text(100)),
        _column("purpose", _text(64)),
        _column("digest", _text(64)),
        _column("encrypted", sa.LargeBinary()),
        _column("created_at", TIME),
        _column("ends_at", TIME),
        _optional("opened_at", TIME),
        _optional("visited_at", TIME),
        _optional("visited_session", sa.Uuid()),
        _optional("revoked_at", TIME),
        sa.UniqueConstraint("customer_id", "purpose"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "suppression",
        _key("digest", _text(64)),
        _column("encrypted", sa.LargeBinary()),
        _column("channel", _text(8)),
        _column("reason", _text(16)),
        _column("source", _text(80)),
        _column("created_at", TIME),
        _optional("manual_by", _text(80)),
        _optional("manual_at", TIME),
    )
    op.create_table(
        "address_place",
        _key("digest", _text(64)),
        _key("number", sa.SmallInteger()),
        _column("job_id", BigId),
        _optional("invitation_id", sa.Uuid()),
        _column("taken_at", TIME),
        _column("version", sa.Integer()),
        postgresql_with=SHORT_LIVED,
    )
    _index("ix_address_place_taken", "address_place", "taken_at")


def _create_jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", BigId, primary_key=True, autoincrement=False),
        _column("batch_id", BigId),
        _column("row", sa.Integer()),
        _column("customer_id", _text(100)),
        _column("purpose", _text(64)),
        _column("channel", _text(8)),
        _column("template", _text(64), default=""),
        _column("brand", _text(64), default=""),
        _column("entity_id", _text(100), default=""),
        _optional("consent", sa.Boolean()),
        _optional("encrypted", sa.LargeBinary()),
        _column("account", _text(64)),
        _column("route", _text(200)),
        _column("floor_seconds", sa.Integer()),
        _column("state", _text(16)),
        _optional("due_at", TIME),
        _column("priority", sa.SmallInteger()),
        _optional("lease_until", TIME),
        _column("lease_owner", _text(64), default=""),
        _column("fence", sa.Integer(), default="0"),
        _column("attempts", sa.Integer(), default="0"),
        _column("waits", sa.Integer(), default="0"),
        _column("reissues", sa.Integer(), default="0"),
        _column("reason", _text(40), default=""),
        _column("detail", _text(400), default=""),
        _column("result", _text(16), default=""),
        _optional("session_id", sa.Uuid()),
        _optional("unknown_attempt", sa.Uuid()),
        _optional("refused_session", sa.Uuid()),
        sa.Column("needs_status_check", sa.Boolean(), nullable=False, server_default=sa.false()),
        _column("fallback_accounts", _text(400)),
        _optional("freshness_seconds", sa.Integer()),
        _optional("invite_at", TIME),
        _optional("link_requested_at", TIME),
        _optional("cancelled_at", TIME),
        _optional("leader_id", BigId),
        _optional("traceparent", _text(55)),
        _column("created_at", TIME),
        _column("changed_at", TIME),
        postgresql_with=VACUUMED | ANALYZED,
    )
    waiting = "state = 'waiting' AND leader_id IS NULL"
    _index("ix_job_due", "job", "account", "priority", "due_at", "id", "batch_id", where=waiting)
    _index(
        "ix_job_backed", "job", "account", "priority", "due_at", "id", where=f"{waiting} AND fallback_accounts <> ''"
    )
    _index("ix_job_lease", "job", "lease_until", where="lease_until IS NOT NULL")
    open_states = "state IN ('waiting', 'working', 'issued', 'invited', 'held')"
    _one_where("uq_job_leading", "job", "customer_id", "purpose", where=f"leader_id IS NULL AND {open_states}")
    _index("ix_job_leader", "job", "leader_id", where="leader_id IS NOT NULL")
    _index("ix_job_followers", "job", "id", where="leader_id IS NOT NULL")
    _index("ix_job_waits", "job", "batch_id", "reason", "due_at", where=WAITS)
    _index("ix_job_waits_for_end", "job", "batch_id", "due_at", where=WAITS_FOR_END)
    invited_later = "invite_at IS NOT NULL AND state IN ('waiting', 'working', 'issued')"
    _index("ix_job_invite_at", "job", "batch_id", "invite_at", where=invited_later)
    _index("ix_job_unknown", "job", "batch_id", where="unknown_attempt IS NOT NULL")
    _index("ix_job_asks", "job", "account", where="needs_status_check")
    rare_states = "state IN ('held', 'lapsed', 'failed', 'cancelled')"
    _index("ix_job_rare", "job", "state", "id", where=rare_states)
    is_held = "state = 'held' AND leader_id IS NULL"
    _index("ix_job_held", "job", "batch_id", "changed_at", where=is_held)
    _index("ix_job_brand_missing", "job", "brand", "batch_id", where=BRAND_MISSING)
    _index("ix_job_undecrypted", "job", "changed_at", where=f"{is_held} AND reason = 'cannot_open'")


def _keep_what_jobs_name() -> None:
    """Refuse to delete a customer whom a job names, and a job that another one joins.

    A foreign key would refuse it too. It also looks up and locks a row for each new job, which is a quarter of what
    an import costs PostgreSQL, and a new job needs neither: see `core/database/tables/work.py`.
    """
    named = "EXISTS (SELECT 1 FROM job WHERE customer_id = OLD.customer_id)"
    _refuse_deletes("job_names_customer", "customer", named, "a job names the customer")
    # SQLite runs the trigger of a row at once, while jobs that go by the same statement are still there.
    if op.get_bind().dialect.name == "postgresql":
        named = "EXISTS (SELECT 1 FROM job WHERE leader_id = OLD.id)"
        _refuse_deletes("job_joins_job", "job", named, "another job joins this one")


def _refuse_deletes(name: str, table: str, named: str, why: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        # After the row is locked and gone: a transaction that adds such a job is over, and its job is seen.
        refuse = f"RAISE EXCEPTION '{why}' USING ERRCODE = 'foreign_key_violation'"
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN IF {named} THEN {refuse}; END IF; RETURN NULL; END $$"
        )
        op.execute(f"CREATE TRIGGER {name} AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")
    else:
        refuse = f"SELECT RAISE(ABORT, '{why}')"
        op.execute(f"CREATE TRIGGER {name} BEFORE DELETE ON {table} WHEN {named} BEGIN {refuse}; END")


def _create_attempts() -> None:
    op.create_table(
        "attempt",
        _key("id", sa.Uuid()),
        _column("batch_id", BigId),
        _column("job_id", BigId),
        _optional("invitation_id", sa.Uuid()),
        _column("account", _text(64)),
        _column("fence", sa.Integer()),
        _column("repeatable", sa.Boolean()),
        _optional("reconcile_at", TIME),
        _optional("reconciles", sa.Uuid()),
        _column("opened_at", TIME),
        _optional("closed_at", TIME),
        _optional("outcome", _text(16)),
        _optional("status", sa.Integer()),
        _optional("code", _text(64)),
        _column("detail", _text(400)),
        _optional("encrypted", sa.LargeBinary()),
        _column("found", _text(400), default=""),
        # While a page has room, PostgreSQL closes an attempt in its own page and writes no index. Half of each page is
        # left free: one more version for each row.
        postgresql_with=VACUUMED | ANALYZED | {"fillfactor": 50},
    )
    _index("ix_attempt_job_id", "attempt", "job_id")
    _index("ix_attempt_reconciles", "attempt", "reconciles", where="reconciles IS NOT NULL")
    _index("ix_attempt_found", "attempt", "job_id", where="found <> ''")


def _create_sessions() -> None:
    op.create_table(
        "session",
        _key("id", sa.Uuid()),
        _column("customer_id", _text(100)),
        _column("purpose", _text(64)),
        _column("job_id", BigId),
        _column("account", _text(64)),
        _column("reference", _text(100)),
        _column("references", sa.JSON()),
        _column("vendor", _text(64)),
        _column("encrypted", sa.LargeBinary()),
        _column("sms_sent", sa.Boolean()),
        _column("state", _text(16)),
        _column("issued_at", TIME),
        _column("expires_at", TIME),
        _column("expiry_source", _text(16)),
        _optional("replaces", sa.Uuid()),
        _optional("check_at", TIME),
        _optional("asked_at", TIME),
        _column("result", _text(16), default=""),
        _column("update_rank", sa.SmallInteger(), default="0"),
        _optional("update_at", TIME),
        _column("update_weight", sa.Integer(), default="0"),
        _column("reasons", _text(588), default=""),
        _column("note", _text(400), default=""),
        _column("company_id", _text(100)),
        _optional("token_digest", _text(64)),
        sa.Column("past", sa.Boolean(), nullable=False, server_default=sa.false()),
        _column("given_away", _text(16), default=""),
        sa.Column("same_link", sa.Boolean(), nullable=False, server_default=sa.false()),
        postgresql_with=ANALYZED,
    )
    live = "state IN ('waiting', 'started')"
    _one_where("uq_session_live", "session", "customer_id", "purpose", where=live)
    _index("ix_session_job_id", "session", "job_id")
    _index("ix_session_check", "session", "check_at", "id", where="check_at IS NOT NULL")
    _index("ix_session_link", "session", "expires_at", where="length(encrypted) > 0")
    _index("ix_session_reference", "session", "account", "reference")
    _index("ix_session_company", "session", "company_id", where="company_id <> ''")
    _index("uq_session_token", "session", "token_digest", where="token_digest IS NOT NULL", unique=True)
    _index("ix_session_review", "session", "job_id", "update_at", where="result = 'review'")


def _create_invitations() -> None:
    op.create_table(
        "invitation",
        _key("id", sa.Uuid()),
        _column("session_id", sa.Uuid()),
        _column("job_id", BigId),
        _column("batch_id", BigId),
        _column("channel", _text(8)),
        _column("kind", _text(16)),
        _column("state", _text(16)),
        _optional("due_at", TIME),
        _column("priority", sa.SmallInteger()),
        _optional("lease_until", TIME),
        _column("lease_owner", _text(64)),
        _column("fence", sa.Integer()),
        _column("attempts", sa.Integer()),
        _column("waits", sa.Integer()),
        _column("reason", _text(40)),
        _column("detail", _text(400)),
        _column("reference", _text(100)),
        _optional("unknown_attempt", sa.Uuid()),
        _column("created_at", TIME),
        _optional("sent_at", TIME),
        sa.Column("new_link", sa.Boolean(), nullable=False, server_default=sa.false()),
        _column("template", _text(16), default=""),
        _column("segments", sa.SmallInteger(), default="1"),
        _optional("delivery_at", TIME),
        _column("unknown_handovers", sa.SmallInteger(), default="0"),
        sa.UniqueConstraint("session_id", "channel", "kind"),
        postgresql_with=VACUUMED | ANALYZED,
    )
    _index("ix_invitation_batch_id", "invitation", "batch_id")
    _index("ix_invitation_job_id", "invitation", "job_id")
    due = ("channel", "priority", "due_at", "id", "batch_id")
    _index("ix_invitation_due", "invitation", *due, where="state = 'waiting'")
    _index("ix_invitation_lease", "invitation", "lease_until", where="state = 'working'")
    _index("ix_invitation_reference", "invitation", "reference", where="channel <> 'email' AND reference <> ''")
    _index("ix_invitation_waits", "invitation", "batch_id", "reason", "due_at", where=WAITS)
    _index("ix_invitation_brand_missing", "invitation", "job_id", where=BRAND_MISSING)
    _index("ix_invitation_unknown", "invitation", "batch_id", where="unknown_attempt IS NOT NULL")


CREDITS = ("credits_today", "credits_week", "credits_month")


def _create_accounts() -> None:
    op.create_table(
        "budget",
        _key("name", _text(64)),
        _optional("counted_in", _text(64)),
        _optional("next_at", TIME),
        _optional("left_at", TIME),
        _optional("even_at", TIME),
        _optional("ahead_at", TIME),
        _optional("last_at", TIME),
        _optional("blocked_until", TIME),
        _column("pause_reason", _text(400)),
        _optional("paused_at", TIME),
        _column("pauses", sa.Integer()),
        _optional("probe_until", TIME),
        _optional("stopped_at", TIME),
        _column("stop_reason", _text(400)),
        _optional("asks_again_at", TIME),
        _column("credits_used", sa.Integer()),
        _optional("credits_day", sa.Date()),
        *(sa.Column(name, sa.Integer(), nullable=False, server_default="0") for name in CREDITS),
        _column("failures", sa.Integer()),
        _optional("opened_at", TIME),
        _column("unproven", sa.Boolean()),
        _optional("pace_rate", sa.Double()),
        _optional("pace_good", sa.Double()),
        _optional("pace_refused_from", sa.Double()),
        _column("pace_granted", sa.Double()),
        _column("pace_refused", sa.Double()),
        _optional("pace_counted_at", TIME),
        _optional("pace_refused_at", TIME),
        _optional("pace_lowered_at", TIME),
        _optional("pace_raised_at", TIME),
        _optional("pace_trial_rate", sa.Double()),
        _column("pace_trial_share", sa.Double()),
        _column("pace_habit", sa.Double()),
        _optional("pace_habit_at", TIME),
        _column("measured_calls", sa.Double()),
        _column("measured_seconds", sa.Double()),
        _optional("measured_until", TIME),
        _optional("ramp_from", TIME),
        # A few rows that change many times a second: each gets pages of its own, and is vacuumed after few changes.
        postgresql_with={"fillfactor": 10, "autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 500},
    )
    op.create_table(
        "permit",
        _key("budget", _text(64)),
        _key("owner", _text(160)),
        _column("permits", sa.Integer()),
        _column("until", TIME),
    )
    op.create_table("reissue_count", _key("account", _text(64)), _key("day", sa.Date()), _column("count", sa.Integer()))
    op.create_table(
        "text_count",
        _key("country", _text(8)),
        _key("hour", TIME),
        _column("count", sa.Integer()),
        _column("refused", sa.Integer()),
    )


def _create_events() -> None:
    op.create_table(
        "inbox",
        _key("id", sa.Uuid()),
        _column("sender", _text(64)),
        _column("every_customer", sa.Boolean()),
        _column("source", _text(200)),
        _column("event_id", _text(200)),
        _column("digest", _text(64)),
        _column("kind", _text(32)),
        _column("customer_id", _text(100)),
        _column("purpose", _text(64)),
        _column("occurred_at", TIME),
        _column("received_at", TIME),
        _optional("signed_at", TIME),
        _column("outcome", _text(16)),
        _column("detail", _text(400)),
        _optional("job_id", BigId),
        _optional("encrypted", sa.LargeBinary()),
        sa.UniqueConstraint("sender", "source", "event_id"),
    )
    _index("ix_inbox_customer", "inbox", "customer_id", "occurred_at")
    _index("ix_inbox_received", "inbox", "received_at")
    _index("ix_inbox_job", "inbox", "job_id")
    _index("ix_inbox_encrypted", "inbox", "received_at", where="length(encrypted) > 0")
    op.create_table(
        "refused_event",
        _key("id", sa.Uuid()),
        _column("queue", _text(255)),
        _column("reason", _text(400)),
        _column("kind", _text(32)),
        _column("event", _text(64)),
        _column("size", sa.Integer()),
        _optional("customer_digest", _text(64)),
        _column("refusals", sa.Integer()),
        _column("refused_at", TIME),
        _column("due_at", TIME),
        _optional("encrypted", sa.LargeBinary()),
    )
    _index("ix_refused_event_refused", "refused_event", "refused_at")
    _index("ix_refused_event_due", "refused_event", "due_at")
    _index("ix_refused_event_customer", "refused_event", "customer_digest", where="customer_digest IS NOT NULL")
    op.create_table(
        "outbox",
        _key("id", BigId),
        _column("event_id", sa.Uuid()),
        _column("target", _text(64)),
        _column("kind", _text(32)),
        _column("customer_id", _text(100)),
        _column("data", sa.JSON()),
        _column("occurred_at", TIME),
        _optional("due_at", TIME),
        _column("since", TIME),
        _column("attempts", sa.Integer()),
        _column("detail", _text(400)),
        # Without this, SQLite would give the numbers of removed rows to new rows.
        sqlite_autoincrement=True,
        postgresql_with=SHORT_LIVED,
    )
    _index("ix_outbox_target", "outbox", "target", "id", where="due_at IS NOT NULL")
    _index("ix_outbox_customer", "outbox", "customer_id", "target", "id")
    _index("ix_outbox_given_up", "outbox", "since", where="due_at IS NULL")


def _create_webhooks() -> None:
    op.create_table(
        "webhook",
        _key("id", sa.Uuid()),
        _column("source", _text(80)),
        _column("digest", _text(64)),
        _column("event", _text(64)),
        _column("received_at", TIME),
        _column("state", _text(16)),
        _optional("due_at", TIME),
        _column("attempts", sa.Integer()),
        _column("detail", _text(400)),
        _optional("encrypted", sa.LargeBinary()),
        _optional("session_id", sa.Uuid()),
        _optional("invitation_id", sa.Uuid()),
        sa.UniqueConstraint("source", "digest"),
        postgresql_with=SHORT_LIVED,
    )
    _index("ix_webhook_due", "webhook", "due_at", "id", where="due_at IS NOT NULL")
    _index("ix_webhook_listed", "webhook", "received_at", where="state IN ('unknown', 'alert', 'broken')")
    _index("ix_webhook_received", "webhook", "received_at")
    _index("ix_webhook_session", "webhook", "session_id", where="session_id IS NOT NULL")


# What may be changed of an entry, once: it gets its place in the chain.
SEALS = """OLD.number IS NULL AND OLD.hash IS NULL AND NEW.number IS NOT NULL AND NEW.hash IS NOT NULL
    AND NEW.id = OLD.id AND NEW.at = OLD.at AND NEW.actor = OLD.actor AND NEW.action = OLD.action
    AND NEW.subject = OLD.subject AND NEW.count = OLD.count AND NEW.reason = OLD.reason"""
# What may be removed: the entries that retention has marked as removed, in the head that it signs.
REMOVES = "coalesce(OLD.number <= (SELECT removed_to FROM audit_head), false)"
REFUSED = "the audit log is append-only"


def _create_audit() -> None:
    op.create_table(
        "audit",
        _key("id", BigId),
        _column("at", TIME),
        _column("actor", _text(200)),
        _column("action", _text(64)),
        _column("subject", _text(200)),
        _column("count", sa.Integer()),
        _column("reason", _text(200)),
        _optional("number", BigId),
        _optional("hash", _text(64)),
        # Without this, SQLite would give the number of a removed entry to a new one.
        sqlite_autoincrement=True,
        postgresql_with=VACUUMED | ANALYZED,
    )
    _index("uq_audit_number", "audit", "number", where="number IS NOT NULL", unique=True)
    _index("ix_audit_unsealed", "audit", "id", where="number IS NULL")
    _index("ix_audit_subject", "audit", "subject", "id")
    op.create_index("ix_audit_at", "audit", ["at"], postgresql_using="brin")
    op.create_table(
        "audit_head",
        _key("id", sa.SmallInteger()),
        _column("number", BigId),
        _column("hash", _text(64)),
        _column("removed_to", BigId),
        _column("removed_hash", _text(64)),
        _optional("digest", _text(64)),
        postgresql_with=SHORT_LIVED,
    )
    nothing = f"0, '{'0' * 64}'"
    op.execute(f"INSERT INTO audit_head VALUES (1, {nothing}, {nothing}, NULL)")  # noqa: S608 -- words of ours
    if op.get_bind().dialect.name == "postgresql":
        _refuse_changes_on_postgresql()
    else:
        _refuse_changes_on_sqlite()


def _refuse_changes_on_postgresql() -> None:
    op.execute(
        f"""CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF {SEALS} THEN RETURN NEW; END IF;
    ELSIF TG_OP = 'DELETE' THEN
        IF {REMOVES} THEN RETURN OLD; END IF;
    END IF;
    RAISE EXCEPTION '{REFUSED}' USING ERRCODE = 'integrity_constraint_violation';
END $$"""
    )
    does = "EXECUTE FUNCTION audit_is_append_only()"
    op.execute(f"CREATE TRIGGER audit_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW {does}")
    op.execute(f"CREATE TRIGGER audit_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT {does}")


def _refuse_changes_on_sqlite() -> None:
    refuses = f"BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END"
    op.execute(f"CREATE TRIGGER audit_update BEFORE UPDATE ON audit WHEN NOT ({SEALS}) {refuses}")
    op.execute(f"CREATE TRIGGER audit_delete BEFORE DELETE ON audit WHEN NOT {REMOVES} {refuses}")
    # INSERT OR REPLACE removes a row without a trigger.
    replaces = "EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)"
    op.execute(f"CREATE TRIGGER audit_replace BEFORE INSERT ON audit WHEN {replaces} {refuses}")


def _create_operating() -> None:
    op.create_table(
        "log_in",
        _key("digest", _text(64)),
        _column("name", _text(80)),
        _column("entry", _text(64)),
        _column("started_at", TIME),
        _column("seen_at", TIME),
    )
    op.create_table(
        "emergency_stop",
        sa.Column("id", sa.SmallInteger(), primary_key=True, autoincrement=False),
        _column("at", TIME),
        _column("by", _text(200)),
        _column("reason", _text(200)),
    )
    op.create_table(
        "alert",
        _key("target", _text(16)),
        _column("looked_at", TIME),
        _column("seen", sa.JSON()),
        _column("told", sa.JSON()),
    )
    op.create_table(
        "renewal",
        _key("customer_id", _text(100)),
        _key("purpose", _text(64)),
        _column("session_id", sa.Uuid()),
        _column("approved_at", TIME),
        _optional("over_at", TIME),
        _column("why", _text(40), default=""),
        _optional("job_id", sa.BigInteger()),
        _optional("next_at", TIME),
    )
    _index("ix_renewal_due", "renewal", "approved_at", "customer_id", where="over_at IS NULL")
    _index("ix_renewal_over", "renewal", "over_at", where="over_at IS NOT NULL")
    op.create_table(
        "metric_count",
        _key("metric", _text(64)),
        _key("labels", _text(200)),
        _key("bucket", _text(16)),
        _column("value", sa.Double()),
    )
    op.create_table(
        "process",
        _key("id", _text(64)),
        _column("kind", _text(16)),
        _column("host", _text(64)),
        _column("pid", sa.Integer()),
        _column("release", _text(32)),
        _optional("batch_id", BigId),
        _column("first_keys", _text(32)),
        _column("started_at", TIME),
        _column("seen_at", TIME),
        postgresql_with=SHORT_LIVED,
    )
    op.create_table("retired_key", _key("key_id", _text(8)), _column("at", TIME))
    op.create_table("timer", _key("name", _text(16)), _column("at", TIME), postgresql_with=SHORT_LIVED)
