"""Decides the rights of PostgreSQL's roles: one owns and migrates the tables, one runs, and one only reads.

Given anew after each migration, so that a new table has them too.
"""

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import VERSION, all_tables
from onboarding_worker.core.database.tables import Audit, AuditHead, SessionRow
from onboarding_worker.wiring.store.encrypted_columns import DIGESTS, ENCRYPTED

# Sealing an entry writes these (the feature `audit`); the rest of it is never changed.
SEAL = (Audit.number.key, Audit.hash.key)
# What a person who may not decrypt it need not read, and digests, on which addresses could be tried. Those of the audit
# log's head and of verdicts are signatures, which `onboard audit verify` and `report` read.
_SHOWN = {AuditHead.digest, SessionRow.verdict_digest}
HIDDEN = {column.value for column in ENCRYPTED} | {column.digest for column in DIGESTS if column.digest not in _SHOWN}


def may_write(database: Database) -> bool:
    """False for the role that reports."""
    if database.is_sqlite:
        return True
    return bool(database.value(sa.select(sa.func.has_table_privilege("budget", "INSERT"))))


class NoSuchRole(Exception):
    """The server has no role of this name."""


def grant(database: Database, *, run: str | None, report: str | None, removes_audit: bool = False) -> None:
    """Give these roles their rights on all tables, and take all others from them, as the role that owns the tables.

    `removes_audit`: the role that runs may also remove old entries of the audit log, as `[retention] audit` asks.
    Raises NoSuchRole.
    """
    statements = [*(_run(run, removes_audit) if run else ()), *(_report(report) if report else ())]
    with database.write() as connection:
        quoted = connection.dialect.identifier_preparer.quote
        schema = quoted(connection.execute(sa.select(sa.func.current_schema())).scalar_one())
        for role in filter(None, (run, report)):
            known = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role")
            if connection.execute(known, {"role": role}).first() is None:
                raise NoSuchRole(role)
            for statement in (
                "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
                "REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {role}",
                "GRANT USAGE ON SCHEMA {schema} TO {role}",
            ):
                connection.exec_driver_sql(statement.format(schema=schema, role=quoted(role)))
        for rights, columns, table, role in statements:
            named = f" ({', '.join(map(quoted, columns))})" if columns else ""
            on = f"{schema}.{quoted(table)}"
            connection.exec_driver_sql(f"GRANT {rights}{named} ON {on} TO {quoted(role)}")
        if run:
            connection.exec_driver_sql(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {quoted(run)}")


_Right = tuple[str, tuple[str, ...], str, str]  # what, on which columns (none: on all), of which table, to whom


def _run(role: str, removes_audit: bool) -> list[_Right]:
    """All rows of all tables; entries of the audit log are added and sealed, and its head is never removed."""
    rights: list[_Right] = [("SELECT", (), VERSION.name, role)]
    for table in all_tables():
        if table is Audit.__table__:
            rights += [("SELECT, INSERT", (), table.name, role), ("UPDATE", SEAL, table.name, role)]
            rights += [("DELETE", (), table.name, role)] if removes_audit else []
        elif table is AuditHead.__table__:
            rights.append(("SELECT, UPDATE", (), table.name, role))
        else:
            rights.append(("SELECT, INSERT, UPDATE, DELETE", (), table.name, role))
    return rights


def _report(role: str) -> list[_Right]:
    """Every column that is neither encrypted nor a digest of something encrypted."""
    rights: list[_Right] = [("SELECT", (), VERSION.name, role)]
    for table in all_tables():
        shown = tuple(column.name for column in table.columns if column not in HIDDEN)
        rights.append(("SELECT", () if len(shown) == len(table.columns) else shown, table.name, role))
    return rights
