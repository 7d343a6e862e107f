"""What operating leaves to do, and to answer for."""

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.store.tables.base import Base
from worker.store.tables.types import BigId


class Leftover(Base):
    """What a migration has left to do with the rows that were there before it; removed once it is done."""

    __tablename__ = "leftover"

    name: Mapped[str] = mapped_column(sa.String(40), primary_key=True, doc="What is left to do.")
    since: Mapped[datetime] = mapped_column(doc="When the migration was made.")
    after: Mapped[uuid.UUID | None] = mapped_column(doc="The last row that was done; NULL: none was.")


class Audit(Base):
    """Who looked at, or changed, what is not everybody's to see."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(sa.String(64))
    action: Mapped[str] = mapped_column(sa.String(40))
    subject: Mapped[str] = mapped_column(sa.String(200))
