"""Column types, constraint names and partial indexes that work on both databases.

The base class of all tables, with the column type of each Python type.
"""

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from enum import Enum, StrEnum
from functools import cache
from typing import Any, ClassVar, Self, TypeVar, cast

import sqlalchemy as sa

from onboarding_worker.core.database.tables.columns import TableClass
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel, CustomerKind
from onboarding_worker.core.model.incoming import EventKind, Outcome
from onboarding_worker.core.model.sessions import ExpirySource
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState

Kind = TypeVar("Kind", bound=StrEnum)
Member = TypeVar("Member", bound=Enum)
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
# What a `detail` holds, of a job, a message, a call, an event. A longer text is cut: it is for people, and whatever
# another side answers, its row is written.
DETAIL_LENGTH = 400
REFERENCE_LENGTH = 100  # of a service's id of a message


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
        return value and value.replace(tzinfo=UTC)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        # PostgreSQL's times come aware and in UTC, as each connection asks for (`postgresql_engine`).
        return super().result_processor(dialect, coltype) if dialect.name == "sqlite" else None


class UnknownWord(str):
    """A word that is none of its enumeration's: a newer release wrote it, or a person. It equals no member.

    A row with such a word can be read, shown and counted. Work on it raises (`database.known`).
    """

    __slots__ = ()
    any_made: ClassVar[bool] = False  # in this process; mostly none is, and then no row need be looked through

    def __new__(cls, text: str) -> Self:
        UnknownWord.any_made = True
        return super().__new__(cls, text)

    @property
    def value(self) -> str:
        return str(self)


class NotKnown(Exception):
    """A row has a word that this release does not know, so it cannot be worked."""


def word_of(kind: type[Kind], text: str) -> Kind:
    """The enumeration's member, or an UnknownWord: every reader of a member must let it through, or raise."""
    return cast(Kind, reader(kind)(text))


def member_of(kind: type[Member], stored: Any) -> Member:
    """The enumeration's member, for a column without an enumeration. Raises NotKnown."""
    try:
        return kind(stored)
    except ValueError:
        raise NotKnown("a newer release wrote a word or a number that this release does not know") from None


class _Read(dict[str | None, Any]):
    """By stored word: the enumeration's member, or an UnknownWord."""

    def __missing__(self, text: str) -> UnknownWord:
        return UnknownWord(text)


@cache
def reader(kind: type[StrEnum]) -> Callable[[str | None], Any]:
    """What reads a stored word of this enumeration, or NULL. No Python code runs for a known word."""
    return _Read({None: None} | {word.value: word for word in kind}).__getitem__


class Words(sa.TypeDecorator[Any]):
    """An enumeration, stored as its words. It has no CHECK: a new word must not rewrite the table.

    An unknown word is read as an UnknownWord: the rows that are read with this one are worked. `sa.Enum` raises then,
    for all of them, and before the row's id is known.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, kind: type[StrEnum], length: int = 16) -> None:
        super().__init__(length)
        self.kind = kind

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        if value is None or isinstance(value, UnknownWord):  # read from a row, and written as it was
            return value and str(value)
        return self.kind(value).value

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        return reader(self.kind)


OPTIONS = "options"  # of an index's information: what `schema.all_metadata` says of it to each database


def index(name: str, *columns: str, unique: bool = False, **options: Any) -> sa.Index:
    """An index with options of a database's dialect. It gets them when a schema is compared: to take them, SQLAlchemy
    loads PostgreSQL's dialect, which is a twentieth of a command's time on SQLite."""
    return sa.Index(name, *columns, unique=unique, info={OPTIONS: options})


def partial(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of some of the rows. Due rows stay cheap to find, however many rows have ended."""
    rows = sa.text(where)
    return index(name, *columns, unique=unique, postgresql_where=rows, sqlite_where=rows)


def one_where(name: str, *columns: str, where: str) -> sa.Index:
    """An index of all rows, in which at most one row of each key matches `where`.

    A partial unique index would need a second index for the other rows, and each new version of a row would write both.
    The last part is NULL where the row does not match, and NULLs are never equal to each other.
    """
    return sa.Index(name, *columns, sa.text(f"(CASE WHEN {where} THEN 1 END)"), unique=True)


# SQLite numbers rows by itself only if the key's type is exactly INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Base(TableClass):
    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 -- read when the classes are made, and never changed
        int: sa.Integer(),
        str: sa.String(),
        bool: sa.Boolean(),
        float: sa.Float(),
        date: sa.Date(),
        datetime: UtcDateTime(),
        dict[str, Any]: sa.JSON(),
        list[dict[str, Any]]: sa.JSON(),
        bytes: sa.LargeBinary(),
        uuid.UUID: sa.Uuid(),
        JobState: Words(JobState),
        InvitationState: Words(InvitationState),
        SessionState: Words(SessionState),
        CustomerKind: Words(CustomerKind),
        Channel: Words(Channel, 8),
        ExpirySource: Words(ExpirySource),
        EventKind: Words(EventKind, 32),
        Outcome: Words(Outcome),
        SuppressionReason: Words(SuppressionReason),
    }
