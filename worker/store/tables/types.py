"""Column types, constraint names and partial indexes that work on both databases."""

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
    """An aware datetime, stored in UTC. A naive datetime is refused: it is a bug, and would be wrong by hours."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored: times are aware UTC")
        value = value.astimezone(UTC)
        # SQLite has no time zones. It stores text in UTC, which sorts and compares like the times.
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def enum_column(kind: type[Any], length: int = 16) -> sa.Enum:
    """The type of a column with an enumeration's values. It has no CHECK: a new value must not rewrite the table."""
    return sa.Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=length,
        values_callable=lambda members: [member.value for member in members],
    )


def partial(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of some of the rows. Due rows stay cheap to find, however many rows have ended."""
    rows = sa.text(where)
    return sa.Index(name, *columns, unique=unique, postgresql_where=rows, sqlite_where=rows)


# SQLite numbers rows by itself only if the key's type is exactly INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
