"""The texts that went to each country, for reports and forecasts (`[sms] per_country`)."""

from collections import Counter
from datetime import datetime

import sqlalchemy as sa

from worker.core.database.database import Database, fetch
from worker.core.database.tables import TextCount
from worker.core.messages.store.how_many import KEPT
from worker.core.messages.text_numbers import HOUR, hour_of


def at_their_cap(database: Database, *, now: datetime) -> dict[str, tuple[int, int]]:
    """By country that had to wait in this hour or the one before: the texts of that hour, and how often one waited."""
    query = (
        sa.select(TextCount.country, TextCount.count.label("number"), TextCount.refused)
        .where(TextCount.hour >= hour_of(now) - HOUR, TextCount.refused > 0)
        .order_by(TextCount.country, TextCount.hour)
    )
    with database.read() as connection:
        return {row.country: (row.number, row.refused) for row in fetch(connection, query)}


def texts_by_country(database: Database, *, now: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """By country, the texts of the hours that are kept, and those of this hour."""
    query = sa.select(TextCount.country, TextCount.hour, TextCount.count.label("number"))
    kept: Counter[str] = Counter()
    this_hour: dict[str, int] = {}
    with database.read() as connection:
        for row in fetch(connection, query.where(TextCount.hour >= hour_of(now) - KEPT, TextCount.count > 0)):
            kept[row.country] += row.number
            if row.hour == hour_of(now):
                this_hour[row.country] = row.number
    return dict(kept), this_hour
