"""The table of notices."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.core.database.tables.types import NAMING, Base

TABLES = sa.MetaData(naming_convention=NAMING)
LONGEST = 200


class Notice(Base):
    """A notice that a person has written. The newest one is shown."""

    metadata = TABLES
    __tablename__ = "notice"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(sa.String(LONGEST))
    written_at: Mapped[datetime]
