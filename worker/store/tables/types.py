"""How a column, a name and an index of some rows are said to both databases."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware datetime, kept in UTC. A naive one is refused: it is a bug that would be hours off."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime was to be stored; times are aware UTC")
        value = value.astimezone(UTC)
        # SQLite has no time zones: text in UTC, which sorts and compares as the times do.
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def words(kind: type[Any], length: int = 16) -> sa.Enum:
    """A column of an enumeration's words. No CHECK: a new state must not need the table rewritten."""
    return sa.Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=length,
        values_callable=lambda members: [member.value for member in members],
    )


def partial(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of some of the rows: what is due stays cheap to find, however many rows are done."""
    rows = sa.text(where)
    return sa.Index(name, *columns, unique=unique, postgresql_where=rows, sqlite_where=rows)


# SQLite numbers rows by itself only where the key is exactly INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
