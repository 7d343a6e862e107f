"""The INSERT that says what becomes of a row that is there already: ON CONFLICT."""

from typing import Any, cast

from sqlalchemy.dialects import postgresql, sqlite


def insert(model: type[Any], dialect: str) -> postgresql.Insert:
    """An INSERT with `on_conflict_do_nothing`, `on_conflict_do_update` and `excluded`. `dialect`: a connection's.

    Both databases have these. In SQLAlchemy each has a class of its own for them, with no class in common.
    """
    return cast(postgresql.Insert, sqlite.insert(model)) if dialect == "sqlite" else postgresql.insert(model)
