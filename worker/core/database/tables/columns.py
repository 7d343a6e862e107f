"""How a class of columns is a table: `Job.state` is a column, and a statement takes `Job` where it takes a table.

It is not SQLAlchemy's ORM: rows are never loaded as objects here. The ORM's mappers would cost each short command a
quarter of its time: they are loaded, map each table, and have each statement compiled through them.
"""

from collections.abc import Iterator
from inspect import get_annotations
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar, get_args

import sqlalchemy as sa

Class = TypeVar("Class", bound="TableClass")
Value = TypeVar("Value")


class ColumnOf(Generic[Value]):
    """The annotation of a column: of a class it is the column. `sa.Column` itself may not annotate one."""

    if TYPE_CHECKING:

        def __get__(self, row: None, table: Any) -> sa.Column[Value]: ...


class _Said(NamedTuple):
    arguments: tuple[Any, ...]
    options: dict[str, Any]


def column(*arguments: Any, **options: Any) -> Any:
    """What `sa.Column` takes behind the name. Without a type or a foreign key, the annotation says the type."""
    return _Said(arguments, options)


class TableClass:
    """The base of tables: a class with `__tablename__` is one. `__table_args__` are its indexes and constraints, and
    its options, if the last is a dictionary. `due_at: ColumnOf[datetime | None]` is a column that may be NULL.
    """

    metadata: ClassVar[sa.MetaData]
    type_annotation_map: ClassVar[dict[Any, Any]]  # each Python type of an annotation, and the type of the column
    __tablename__: ClassVar[str]
    __table_args__: ClassVar[tuple[Any, ...]] = ()
    __table__: ClassVar[sa.Table]

    def __init_subclass__(cls) -> None:
        if "__tablename__" in vars(cls):
            options = [one for one in cls.__table_args__ if isinstance(one, dict)]
            parts = [one for one in cls.__table_args__ if not isinstance(one, dict)]
            cls.__table__ = sa.Table(
                cls.__tablename__, cls.metadata, *cls._columns(), *parts, **(options[0] if options else {})
            )
            for one in cls.__table__.columns:
                setattr(cls, one.key, one)

    @classmethod
    def _columns(cls) -> Iterator[sa.Column[Any]]:
        for name, annotation in get_annotations(cls).items():
            (said,) = get_args(annotation)
            kinds = [one for one in get_args(said) if one is not NoneType] if NoneType in get_args(said) else [said]
            arguments, options = vars(cls).get(name, _Said((), {}))
            if not arguments:
                arguments = (cls.type_annotation_map[kinds[0]],)
            yield sa.Column(name, *arguments, **{"nullable": kinds != [said], **options})

    @classmethod
    def __clause_element__(cls) -> sa.FromClause:  # what SQLAlchemy asks an object that stands for a table
        return cls.__table__


def aliased(table: type[Class]) -> type[Class]:
    """The table once more in one statement, under a name of its own."""
    alias = table.__table__.alias()
    return type(table.__name__, (TableClass,), {"__table__": alias, **alias.columns})
