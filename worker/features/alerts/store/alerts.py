"""What was sent to people, so that several processes send each thing once, and a restart repeats nothing."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database.bulk import insert
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.tables.columns import ColumnOf, column
from onboarding_worker.core.database.tables.types import NAMING, Base

TABLES = sa.MetaData(naming_convention=NAMING)

APART = timedelta(seconds=50)  # two looks: an alert is sent in less


class AlertRow(Base):
    """What was sent to people as needing a person, by mail or by webhook."""

    metadata = TABLES
    __tablename__ = "alert"

    target: ColumnOf[str] = column(sa.String(16), primary_key=True, doc="email or webhook.")
    looked_at: ColumnOf[datetime]
    seen: ColumnOf[list[str]] = column(sa.JSON(), doc="What needed a person at the last look.")
    told: ColumnOf[list[str]] = column(sa.JSON(), doc="What people know to need a person.")


class News(NamedTuple):
    began: list[str]
    ended: list[str]
    known: list[str]  # afterwards


def look(database: Database, target: str, needs: Collection[str], *, now: datetime) -> News:
    """Write down what needs a person now, and return what the target is to get. Nothing if another process has just
    looked. Only what two looks in a row show is sent: a restart is no alert."""
    new = insert(AlertRow, database.engine.dialect.name).values(target=target, looked_at=now, seen=[], told=[])
    with database.write() as connection:
        is_new = connection.execute(new.on_conflict_do_nothing().returning(AlertRow.target)).first() is not None
        (row,) = fetch(connection, sa.select(AlertRow.__table__).where(AlertRow.target == target).with_for_update())
        if now - row.looked_at < APART and not is_new:
            return News([], [], row.told)
        here = sa.update(AlertRow).where(AlertRow.target == target)
        connection.execute(here.values(looked_at=now, seen=sorted(needs)))
    current, seen, told = set(needs), set(row.seen), set(row.told)
    began, ended = current & seen - told, told - current - seen
    return News(sorted(began), sorted(ended), sorted((told | began) - ended))


def tell(database: Database, target: str, news: News) -> None:
    """Write down that the target has it."""
    database.change(sa.update(AlertRow).where(AlertRow.target == target).values(told=news.known))
