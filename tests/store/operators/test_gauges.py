"""What a scrape reads from the database."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.conftest import NOON
from worker.core.database.database import Database
from worker.core.database.outages import reason
from worker.features.metrics.store import gauges


def test_a_scrape_that_takes_too_long_says_so_and_blames_no_setting_of_the_server(empty_postgresql_url, monkeypatch):
    monkeypatch.setattr(gauges, "MOST_TIME", timedelta(seconds=1))
    database, other = Database(empty_postgresql_url), Database(empty_postgresql_url)
    try:
        with other.write() as connection:
            connection.execute(sa.text("LOCK TABLE outbox"))
            with pytest.raises(sa.exc.OperationalError) as caught:
                gauges.read(database, accounts=[], channels=[], targets=["bus"], now=NOON)
    finally:
        database.close()
        other.close()
    assert reason(caught.value) == "reading them takes longer than 1 s"
