"""The table of notices."""

from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.database.tables.columns import ColumnOf, column
from onboarding_worker.core.database.tables.types import NAMING, Base

TABLES = sa.MetaData(naming_convention=NAMING)
LONGEST = 200


class Notice(Base):
    """A notice that a person has written. The newest one is shown."""

    metadata = TABLES
    __tablename__ = "notice"

    id: ColumnOf[int] = column(primary_key=True)
    text: ColumnOf[str] = column(sa.String(LONGEST))
    written_at: ColumnOf[datetime]
