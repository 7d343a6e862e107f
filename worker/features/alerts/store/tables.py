"""The table of alerts."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.core.database.tables.base import Base
from worker.core.database.tables.types import NAMING

TABLES = sa.MetaData(naming_convention=NAMING)


class AlertRow(Base):
    """What people were told to need a person, by mail or by webhook."""

    metadata = TABLES
    __tablename__ = "alert"

    target: Mapped[str] = mapped_column(sa.String(16), primary_key=True, doc="email or webhook.")
    looked_at: Mapped[datetime]
    seen: Mapped[list[str]] = mapped_column(sa.JSON(), doc="What needed a person at the last look.")
    told: Mapped[list[str]] = mapped_column(sa.JSON(), doc="What people know to need a person.")
