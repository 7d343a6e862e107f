"""The counts of all processes: each adds what it has counted, so that they outlive it and one scrape has them all."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.bulk import insert
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.tables.columns import ColumnOf, column
from onboarding_worker.core.database.tables.types import NAMING, Base
from onboarding_worker.core.model.metrics import Series

TABLES = sa.MetaData(naming_convention=NAMING)

# No label's value has it: they are names of the configuration and words of ours.
BETWEEN = "|"


class MetricCount(Base):
    """One number of `GET /metrics`, which processes add to: a counter, or a bucket or the sum of a histogram."""

    metadata = TABLES
    __tablename__ = "metric_count"

    metric: ColumnOf[str] = column(sa.String(64), primary_key=True, doc="`core.model.metrics`.")
    labels: ColumnOf[str] = column(
        sa.String(200), primary_key=True, doc="The labels' values: names of the configuration and words of ours."
    )
    bucket: ColumnOf[str] = column(
        sa.String(16), primary_key=True, doc="Empty: a counter; sum; or the upper bound of a histogram's bucket."
    )
    value: ColumnOf[float] = column(sa.Double)


def add(database: Database, counts: Mapping[Series, float]) -> None:
    """Add these to what is there, in one transaction. If the answer to its commit is lost, they are added once more: a
    metric may be a little too high then."""
    # Always in the same order, so that two processes cannot deadlock.
    rows: list[dict[str, Any]] = [
        {"metric": metric, "labels": BETWEEN.join(labels), "bucket": bucket, "value": value}
        for (metric, labels, bucket), value in sorted(counts.items())
    ]
    with database.write() as connection:
        new = insert(MetricCount, connection.dialect.name)
        added = {"value": MetricCount.value + new.excluded.value}
        connection.execute(new.on_conflict_do_update(index_elements=["metric", "labels", "bucket"], set_=added), rows)


def all_counts(connection: sa.Connection) -> dict[Series, float]:
    rows = fetch(connection, _ALL)
    return {Series(row.metric, tuple(row.labels.split(BETWEEN)), row.bucket): row.value for row in rows}


_ALL = sa.select(MetricCount.metric, MetricCount.labels, MetricCount.bucket, MetricCount.value)
