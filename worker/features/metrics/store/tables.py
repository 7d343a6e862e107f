"""The table of metrics."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from worker.core.database.tables.base import Base
from worker.core.database.tables.types import NAMING

TABLES = sa.MetaData(naming_convention=NAMING)


class MetricCount(Base):
    """One number of `GET /metrics`, which processes add to: a counter, or a bucket or the sum of a histogram."""

    metadata = TABLES
    __tablename__ = "metric_count"

    metric: Mapped[str] = mapped_column(sa.String(64), primary_key=True, doc="`core.model.metrics`.")
    labels: Mapped[str] = mapped_column(
        sa.String(200), primary_key=True, doc="The labels' values: names of the configuration and words of ours."
    )
    bucket: Mapped[str] = mapped_column(
        sa.String(16), primary_key=True, doc="Empty: a counter; sum; or the upper bound of a histogram's bucket."
    )
    value: Mapped[float] = mapped_column(sa.Double)
